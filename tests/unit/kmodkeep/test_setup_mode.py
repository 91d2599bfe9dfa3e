# SPDX-License-Identifier: GPL-2.0-or-later
"""key enroll --via setup-mode: what is written, in which order, and when it is refused.

The signed updates are taken apart and verified here by openssl. That firmware takes them
is shown in tests/secureboot/test_setup_mode.py.
"""

import datetime
import hashlib
import struct
import subprocess
import uuid

import pytest

from tests.unit.kmodkeep.host import GLOBAL, KERNEL, siglist
from tests.unit.kmodkeep.test_firmware_ca import CA_2011, CA_2023, KEK_2011, SECURITY, SHA256_LIST, Authority, program

ATTRIBUTES = 0x27
GUIDS = {"PK": GLOBAL, "KEK": GLOBAL, "db": SECURITY, "dbx": SECURITY}
PKCS7 = uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # its object identifier


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authorities"))


@pytest.fixture
def host(tree, ca, pair):
    """In Setup Mode, with the vendor's lists, started from a shim that db's authority has signed."""
    path = "\\EFI\\debian\\shimx64.efi".encode("utf-16-le") + b"\0\0"
    node = struct.pack("<BBH", 4, 4, 4 + len(path)) + path + struct.pack("<BBH", 0x7F, 0xFF, 4)
    tree.variable("BootCurrent", b"\7\0\0\0\1\0", GLOBAL)
    tree.variable("Boot0001", b"\7\0\0\0" + struct.pack("<IH", 1, len(node)) + b"d\0\0\0" + node, GLOBAL)
    tree.secure_boot(False)
    tree.setup_mode = lambda on: tree.variable("SetupMode", b"\6\0\0\0" + bytes([on]), GLOBAL)
    tree.setup_mode(True)
    tree.esp()
    tree.put("boot/efi/EFI/debian/shimx64.efi", ca.signed(ca.leaf("leaf", CA_2011)))
    tree.variable("db", siglist(ca.der(CA_2011), ca.der("Vendor")), SECURITY)
    tree.variable("KEK", siglist(ca.der(KEK_2011)), GLOBAL)
    tree.variable("dbx", hashes(1, 2), SECURITY)
    tree.put(f"boot/vmlinuz-{KERNEL}")
    tree.put("proc/sys/kernel/osrelease", KERNEL + "\n")
    tree.own_key(pair)
    tree.auth = tree.path / "auth"
    return tree


def hashes(*numbers):
    body = b"".join(b"V" * 16 + bytes([n] * 32) for n in numbers)
    return b"\x27\0\0\0" + SHA256_LIST + struct.pack("<III", 28 + len(body), 0, 48) + body


def enroll(tree, *words):
    return tree.run("key", "enroll", "--via", "setup-mode", *words)


def updates(tree, *words):
    """What is written into a folder: {name: (signature lists, signer's certificate)}, each verified."""
    result = enroll(tree, "--output", tree.auth, *words)
    assert result.code == 0, result.text
    return {path.stem: verified(path) for path in tree.auth.iterdir()}


def verified(path):
    data = path.read_bytes()
    year, month, day, hour, minute, second, *rest = struct.unpack_from("<HBBBBBBIhBB", data)
    assert rest == [0, 0, 0, 0, 0]
    then = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()) < 3600
    length, revision, kind = struct.unpack_from("<IHH", data, 16)
    assert (revision, kind) == (0x200, 0xEF1) and data[24:40] == PKCS7.bytes_le
    signature, lists = data[40 : 16 + length], data[16 + length :]
    # SignedData alone: the wrapper that openssl wants is added here.
    assert SIGNED_DATA not in signature
    inner = b"\xa0\x82" + struct.pack(">H", len(signature)) + signature
    whole = b"\x30\x82" + struct.pack(">H", len(SIGNED_DATA + inner)) + SIGNED_DATA + inner
    signed = path.stem.encode("utf-16-le") + uuid.UUID(GUIDS[path.stem]).bytes_le
    signed += struct.pack("<I", ATTRIBUTES) + data[:16] + lists
    files = {end: path.with_name(f".{path.stem}.{end}") for end in ("p7", "bytes", "signer")}
    files["p7"].write_bytes(whole)
    files["bytes"].write_bytes(signed)
    subprocess.run(["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", files["p7"], "-content",
                    files["bytes"], "-noverify", "-signer", files["signer"], "-out", "/dev/null"],
                   check=True, capture_output=True)  # fmt: skip
    der = subprocess.run(["openssl", "x509", "-in", files["signer"], "-outform", "DER"], check=True,
                         capture_output=True).stdout  # fmt: skip
    for file in files.values():
        file.unlink()
    return lists, der


def entries(lists):
    found = []
    while lists:
        size, header, each = struct.unpack_from("<III", lists, 16)
        found += [lists[at + 16 : at + each] for at in range(28 + header, size, each)]
        lists = lists[size:]
    return found


def test_lists_keep_the_vendors_and_are_signed_by_the_new_platform_key(host, ca, pair):
    found = updates(host)
    assert set(found) == {"db", "PK"}  # the others are as they shall be
    db, signer = found["db"]
    assert entries(db) == [ca.der(CA_2011), ca.der("Vendor"), pair.cert.read_bytes()]
    [pk] = entries(found["PK"][0])
    assert signer == found["PK"][1] == pk
    # That platform key is nowhere: another run makes another.
    assert entries(updates(host)["PK"][0]) != [pk]
    assert not list(host.path.rglob("*platform*"))


def test_platform_key_of_the_owner(host, ca):
    key, cert = (f"{ca['Owner']}.{end}" for end in ("key", "pem"))
    subprocess.run(["chmod", "600", key], check=True)
    found = updates(host, "--platform-key", key, "--platform-cert", cert)
    assert set(found) == {"db", "KEK", "PK"}
    assert entries(found["KEK"][0]) == [ca.der(KEK_2011), ca.der("Owner")]
    assert entries(found["PK"][0]) == [ca.der("Owner")]
    assert {signer for _, signer in found.values()} == {ca.der("Owner")}
    result = enroll(host, "--platform-key", key, "--platform-cert", f"{ca['Vendor']}.pem", "--dry-run")
    assert result.code == 1 and "nothing changed" in result.err


def test_lists_that_are_empty_begin_with_what_the_firmware_has_for_new_ones(host, ca, pair):
    for name, guid in (("db", SECURITY), ("KEK", GLOBAL), ("dbx", SECURITY)):
        variable = host.path / f"sys/firmware/efi/efivars/{name}-{guid}"
        variable.rename(variable.with_name(f"{name}Default-{GLOBAL}"))
    found = updates(host)
    assert set(found) == {"dbx", "db", "KEK", "PK"}
    assert entries(found["dbx"][0]) == [bytes([1] * 32), bytes([2] * 32)]
    assert entries(found["KEK"][0]) == [ca.der(KEK_2011)]
    assert entries(found["db"][0])[-1] == pair.cert.read_bytes() and len(entries(found["db"][0])) == 3


def test_nothing_to_keep_is_refused(host, ca, pair):
    """A graphics card's own program, and shim, would not start."""
    (host.path / f"sys/firmware/efi/efivars/db-{SECURITY}").unlink()
    result = enroll(host, "--force")
    assert result.code == 1 and "no list of its vendor to keep" in result.err and "--db-cert FILE" in result.err
    found = updates(host, "--db-cert", f"{ca[CA_2011]}.pem")
    assert entries(found["db"][0]) == [pair.cert.read_bytes(), ca.der(CA_2011)]
    junk = host.put("junk", "junk")
    result = enroll(host, "--db-cert", junk)
    assert result.code == 1 and "junk is not a certificate" in result.err


def test_without_the_vendors(host, ca, pair):
    result = enroll(host, "--without-vendor", "--dry-run")
    assert result.code == 1 and f"is signed by {CA_2011}, whom its list db would not have" in result.err
    found = updates(host, "--without-vendor", "--force")
    assert entries(found["db"][0]) == [pair.cert.read_bytes()] and found["KEK"][0] == b""
    assert "dbx" not in found  # what is revoked stays so


@pytest.mark.parametrize("image, code, said", [
    (CA_2023, 1, f"is signed by {CA_2023}, whom its list db would not have"),
    (b"MZ", 3, "its signers were not read"), (None, 3, "it was not found")], ids=["other", "junk", "gone"])  # fmt: skip
def test_firmware_that_would_not_start_what_it_starts_is_refused(host, ca, image, code, said):
    shim = host.path / "boot/efi/EFI/debian/shimx64.efi"
    if image is None:
        shim.unlink()
    else:
        shim.write_bytes(image if isinstance(image, bytes) else ca.signed(ca.leaf("new leaf", image)))
    result = enroll(host, "--output", host.auth)
    assert result.code == code and said in result.err and "nothing changed" in result.err
    assert not host.auth.exists()
    assert enroll(host, "--dry-run", "--force").code == 0


def test_plan_is_said_first_and_a_dry_run_writes_nothing(host, pair):
    efivars = sorted((p, p.read_bytes()) for p in (host.path / "sys").rglob("*") if p.is_file())
    result = enroll(host, "--dry-run")
    assert result.code == 0, result.text
    for line in ("To enrol the key 'one' the firmware would be given:", "  dbx  as it is, 2 entries",
                 "  db   2 entries that are kept, and this key", "  KEK  as it is, 1 entries",
                 f"  kernel {KERNEL} takes modules that a key in db has signed",
                 "Warning: the firmware starts whatever a key in db has signed"):  # fmt: skip
        assert line in result.out, result.out
    assert efivars == sorted((p, p.read_bytes()) for p in (host.path / "sys").rglob("*") if p.is_file())
    # Of a certificate whose key is elsewhere there is nothing to warn of.
    assert "Warning" not in enroll(host, "--dry-run", "--cert", pair.cert).out


def test_only_in_setup_mode_and_only_what_is_needed(host, pair, ca):
    host.setup_mode(False)
    for words in ((), ("--dry-run",), ("--output", host.auth), ("--force",)):
        result = enroll(host, *words)
        assert result.code == 1 and "not in Setup Mode; nothing changed" in result.err
    host.variable("db", siglist(ca.der(CA_2011), pair.cert.read_bytes()), SECURITY)
    result = enroll(host)
    assert result.code == 0 and "is in the firmware's list db" in result.out
    (host.path / f"sys/firmware/efi/efivars/SetupMode-{GLOBAL}").unlink()
    assert enroll(host).code == 3
    host.setup_mode(True)
    host.variable("db", siglist(ca.der(CA_2011))[:-3], SECURITY)
    result = enroll(host)
    assert result.code == 3 and "list db cannot be read: it is not well formed" in result.err
    host.variable("db", siglist(ca.der(CA_2011)), SECURITY)
    host.variable("dbx", siglist(pair.cert.read_bytes()), SECURITY)
    result = enroll(host)
    assert result.code == 1 and "dbx revokes the key 'one'" in result.err


def test_run_that_was_ended_is_gone_on_with(host, pair, ca):
    """Up to the platform key, which is written last, the firmware stays in Setup Mode."""
    done = siglist(ca.der(CA_2011), ca.der("Vendor"))
    db = updates(host)["db"][0]
    host.variable("db", b"\x27\0\0\0" + db, SECURITY)
    assert len(db) > len(done)
    for path in host.auth.iterdir():
        path.unlink()
    assert set(updates(host)) == {"PK"}
    host.setup_mode(False)
    assert enroll(host).code == 0


def test_what_the_firmware_makes_of_it_is_read_back(host):
    """A file keeps the descriptor, which no firmware does: nothing later is written."""
    result = enroll(host)
    assert result.code == 1 and "list db: it took something else; it is still in Setup Mode" in result.err
    assert not list((host.path / "sys/firmware/efi/efivars").glob("PK-*"))


def test_variable_is_kept_from_a_mistaken_rm_afterwards(host):
    variable = host.path / f"sys/firmware/efi/efivars/db-{SECURITY}"
    before = variable.read_bytes()
    if subprocess.run(["chattr", "+i", variable], capture_output=True).returncode:
        pytest.skip("this file system keeps no flags of files, so there is none to put back")
    try:
        assert enroll(host).code == 1  # a file is no firmware
        flags = subprocess.run(["lsattr", variable], check=True, capture_output=True, text=True).stdout.split()[0]
    finally:
        subprocess.run(["chattr", "-i", variable], check=True)
    assert "i" in flags and variable.read_bytes() != before


@pytest.mark.parametrize("of", ["image", "signer of one signature"])
def test_shim_that_is_revoked_would_not_start(host, ca, of):
    """Setup Mode has started it all the same; Secure Boot will not."""
    if of == "image":
        image = program()
        checksum, entry = 0x98 + 64, 0x98 + 112 + 32
        digest = hashlib.sha256(image[:checksum] + image[checksum + 4 : entry] + image[entry + 8 :]).digest()
        body = b"V" * 16 + digest
        host.variable("dbx", b"\x27\0\0\0" + SHA256_LIST + struct.pack("<III", 28 + len(body), 0, 48) + body, SECURITY)
    else:
        two = ca.signed(ca.leaf("leaf", CA_2011), ca.leaf("second leaf", "Vendor"))
        (host.path / "boot/efi/EFI/debian/shimx64.efi").write_bytes(two)
        assert enroll(host, "--dry-run").code == 0
        host.variable("dbx", siglist(ca.der("Vendor")), SECURITY)
    result = enroll(host, "--dry-run")
    assert result.code == 1 and "its list dbx revokes it" in result.err, result.text


def test_no_key_no_firmware_no_such_options(host, tree):
    assert enroll(host, "--db-cert").code == 2 and enroll(host, "--frob").code == 2
    assert enroll(host, "--platform-key", "x").code == 2 and enroll(host, "more").code == 2
    result = enroll(host, *["--db-cert", "x"] * 9)
    assert result.code == 2 and "8 times" in result.err
    assert "usage" in tree.run("key", "enroll", "--via", "setup-mode", "--help", root=False).out.lower()
    (host.keys / "signing.key").unlink()
    assert enroll(host).code == 1
