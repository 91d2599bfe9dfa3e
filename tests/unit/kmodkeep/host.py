# SPDX-License-Identifier: GPL-2.0-or-later
"""A host in a folder, keys and module files, to ask kmodkeep about.

As a program: writes the EFI variable that lists one certificate.
"""

import hashlib
import shutil
import struct
import subprocess
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[2]
OUT = TOP / "build" / "unit" / "kmodkeep"
PROGRAM = OUT / "prefix/sbin/kmodkeep"
KERNEL = "6.1.0-30-amd64"

SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
X509_LIST = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
SHA256 = "c1c41626-504c-4092-aca9-41f936934328"
FALLBACK = "boot/efi/EFI/BOOT/BOOTX64.EFI"
MACHINE = "0123456789abcdef0123456789abcdef"

# A request is a list, and the password that MokManager asks for; mokutil writes them in this order.
REQUESTS = {"MokNew": "MokAuth", "MokDel": "MokDelAuth", "MokXNew": "MokXAuth"}

# What mokutil does, seen from outside: it reads the password twice and leaves a
# request. It writes down what it was told.
MOKUTIL = """#!/bin/sh
set -eu
variables={tree}/sys/firmware/efi/efivars
case "$*" in
"--mokx --import"*) list=MokXNew password=MokXAuth; shift ;;
--import*) list=MokNew password=MokAuth ;;
--delete*) list=MokDel password=MokDelAuth ;;
--revoke-import) exec rm -f $variables/MokNew-{shim} $variables/MokAuth-{shim} ;;
"--mokx --revoke-import") exec rm -f $variables/MokXNew-{shim} $variables/MokXAuth-{shim} ;;
--revoke-delete) exec rm -f $variables/MokDel-{shim} $variables/MokDelAuth-{shim} ;;
*) exit 1 ;;
esac
# What is in the list already is passed over.
if /usr/bin/python3 {host} "$2" | cmp -s - $variables/$list-{shim}; then exit 0; fi
read -r first; read -r second
[ "$first" = "$second" ] || exit 1
printf '%s' "$first" >{tree}/password
/usr/bin/python3 {host} "$2" >$variables/$list-{shim}
[ ! -e {tree}/dies ] || kill -9 $$
echo hash >$variables/$password-{shim}
"""


def siglist(*certificates):
    """An EFI signature list variable, with its attributes."""
    lists = [
        X509_LIST + struct.pack("<III", 44 + len(c), 0, 16 + len(c)) + b"O" * 16 + c
        for c in certificates
    ]
    return b"\x07\0\0\0" + b"".join(lists)


def program(*signatures):
    """A PE image of two sections, the second one first in the file, with these PKCS#7 messages."""
    table = b""
    for der in signatures:
        entry = struct.pack("<IHH", 8 + len(der), 0x200, 2) + der
        table += entry + bytes(-len(entry) % 8)
    head = bytearray(0x200)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    struct.pack_into("<4sHHIIIHH", head, 0x80, b"PE\0\0", 0x8664, 2, 0, 0, 0, 0xF0, 0x22E)
    struct.pack_into("<H", head, 0x98, 0x20B)
    struct.pack_into("<II", head, 0x98 + 32, 0x1000, 0x200)
    struct.pack_into("<II", head, 0x98 + 56, 0x3000, 0x200)
    struct.pack_into("<H", head, 0x98 + 68, 10)
    struct.pack_into("<I", head, 0x98 + 108, 16)
    for number, (name, at) in enumerate(((b".text", 0x400), (b".data", 0x200))):
        struct.pack_into("<8sIIII", head, 0x188 + 40 * number, name, 0x200, 0x1000 * (number + 1), 0x200, at)
    body = bytes(head) + b"data" * 0x80 + b"text" * 0x80
    head[0x98 + 112 + 32 : 0x98 + 112 + 40] = struct.pack("<II", len(body) if table else 0, len(table))
    return bytes(head) + body[0x200:] + table


def hash_list(kind, *entries):
    """An EFI signature list of entries that are no certificates."""
    each = 16 + len(entries[0])
    return uuid.UUID(kind).bytes_le + struct.pack("<III", 28 + each * len(entries), 0, each) + b"".join(
        b"O" * 16 + e for e in entries)  # fmt: skip


def sha256_of(image):
    """That of a program without a signature, as firmware compares it."""
    checksum, entry = 0x98 + 64, 0x98 + 112 + 32
    return hashlib.sha256(image[:checksum] + image[checksum + 4 : entry] + image[entry + 8 :]).digest()


class Result:
    """What a run of kmodkeep gave."""

    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        self.text = done.stdout + done.stderr


class Tree:
    """A host in a folder: run() asks kmodkeep about it with --root."""

    def __init__(self, path):
        self.path, self.firmware = path, None
        self.put("etc/machine-id", MACHINE + "\n")
        self.put("etc/hostname", "host.example\n")
        self.put("var/lib/dpkg/status", "")
        self.put("etc/kmodkeep-test-root")  # for key enroll, see there
        self.boot(1)

    def put(self, name, content=""):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def boot(self, number):
        self.put("proc/sys/kernel/random/boot_id", f"boot-{number}\n")

    @property
    def keys(self):
        return self.path / "var/lib/kmodkeep/keys"

    def variable(self, name, content, guid=SHIM):
        """One of the firmware, which starts the fallback of a disk where none says what else."""
        if not self.firmware:
            self.firmware = self.put(FALLBACK, program())
        return self.put(f"sys/firmware/efi/efivars/{name}-{guid}", content)

    def no_fallback(self):
        self.firmware.unlink()
        self.firmware.parent.rmdir()
        (self.path / f"sys/firmware/efi/efivars/db-{SECURITY}").unlink(missing_ok=True)

    def secure_boot(self, on=True):
        self.variable("SecureBoot", b"\x06\0\0\0" + bytes([on]), GLOBAL)
        if not (self.path / f"sys/firmware/efi/efivars/db-{SECURITY}").exists():
            self.variable("db", b"\7\0\0\0" + hash_list(SHA256, sha256_of(program())), SECURITY)

    def enrol(self, *certificates):
        self.variable("MokListRT", siglist(*[c.read_bytes() for c in certificates]))

    def own_key(self, pair, machine=MACHINE):
        pair.copy_to(self.keys / "signing.key", self.keys / "signing.der")
        self.put("var/lib/kmodkeep/keys/machine-id", machine + "\n")

    def request(self, *certificates, name="MokNew"):
        """What mokutil leaves for MokManager."""
        self.variable(name, siglist(*certificates))
        self.variable(REQUESTS[name], b"\7\0\0\0hash")

    def forget_request(self, name="MokNew"):
        """What MokManager does to a request that nobody confirms."""
        variables = self.path / "sys/firmware/efi/efivars"
        (variables / f"{name}-{SHIM}").unlink()
        (variables / f"{REQUESTS.get(name)}-{SHIM}").unlink(missing_ok=True)

    def add_mokutil(self):
        script = MOKUTIL.format(tree=self.path, host=Path(__file__), shim=SHIM)
        self.put("usr/bin/mokutil", script).chmod(0o755)

    def esp(self, mokmanager=True):
        self.put("boot/efi/EFI/debian/shimx64.efi", "shim")
        if mokmanager:
            self.put("boot/efi/EFI/debian/mmx64.efi", "MokManager")

    def run(self, *words, root=True, **kwargs):
        """kmodkeep WORDS; `--root` goes behind the verb."""
        command = [PROGRAM, *words, *(["--root", self.path] if root else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return Result(done)


class Pair:
    """A key and its certificate, as files."""

    def __init__(self, directory, name, usage="codeSigning,1.3.6.1.4.1.2312.16.1.2", extra=()):
        self.key = directory / f"{name}.key"
        self.cert = directory / f"{name}.der"
        subprocess.run(
            ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-days", "10",
             "-subj", f"/CN={name}", "-addext", f"extendedKeyUsage={usage}",
             "-keyout", self.key, "-outform", "DER", "-out", self.cert, *(extra or ["-nodes"])],
            check=True, capture_output=True,
        )  # fmt: skip
        self.key.chmod(0o600)

    def copy_to(self, key, cert):
        for source, target in ((self.key, key), (self.cert, cert)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def certificate(directory, name, *words):
    """A key and its certificate, in PEM."""
    key, cert = directory / f"{name}.key", directory / f"{name}.pem"
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", f"/CN={name}", "-keyout", key, "-out", cert, *(words or ("-days", "10"))],
                   check=True, capture_output=True)  # fmt: skip
    return key, cert


def unpacked(path):
    """The bytes of a module file, by the tools that a host has."""
    tools = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
    if path.suffix not in tools:
        return path.read_bytes()
    return subprocess.run(
        [tools[path.suffix], "-dc", path], check=True, capture_output=True
    ).stdout


if __name__ == "__main__":
    sys.stdout.buffer.write(siglist(Path(sys.argv[1]).read_bytes()))
