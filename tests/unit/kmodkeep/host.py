# SPDX-License-Identifier: GPL-2.0-or-later
"""A host in a folder, keys and module files, to ask kmodkeep about.

As a program: writes the EFI variable that lists one certificate.
"""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[2]
OUT = TOP / "build" / "unit" / "kmodkeep"
PROGRAM = OUT / "prefix/sbin/kmodkeep"
KERNEL = "6.1.0-30-amd64"

SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
X509_LIST = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
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
        self.path = path
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
        return self.put(f"sys/firmware/efi/efivars/{name}-{guid}", content)

    def secure_boot(self, on=True):
        self.variable("SecureBoot", b"\x06\0\0\0" + bytes([on]), GLOBAL)

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
