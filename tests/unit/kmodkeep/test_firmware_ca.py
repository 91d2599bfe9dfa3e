# SPDX-License-Identifier: GPL-2.0-or-later
"""Microsoft's authorities of 2011 and 2023: what a host's firmware trusts, and who signed what it starts."""

import hashlib
import json
import re
import struct
import subprocess
from pathlib import Path

import pytest

from tests.qemu import variables
from tests.unit.kmodkeep.host import GLOBAL, siglist
from tests.unit.kmodkeep.test_varstore import virt_firmware

SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
SHA256_LIST = bytes.fromhex("2616c4c14c509240aca941f936934328")
CA_2011, CA_2023 = "Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023"
KEK_2011, KEK_2023 = "Microsoft Corporation KEK CA 2011", "Microsoft Corporation KEK 2K CA 2023"
WINDOWS_2011 = "Microsoft Windows Production PCA 2011"
CERTS = "usr/lib/python3/dist-packages/virt/firmware/certs"
STORE = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
SOURCE = Path(__file__).parents[3] / "guard/trust/firmware_ca.c"


def openssl(*words, **options):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, **options).stdout


def common_name(der):
    said = openssl("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "multiline,utf8", input=der)
    return re.search(r"commonName += (.*)", said.decode())[1]


def key_hash(der):
    """The SHA-256 of its SubjectPublicKeyInfo."""
    pem = openssl("x509", "-inform", "DER", "-noout", "-pubkey", input=der)
    return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=pem)).hexdigest()


def real_certificates():
    """Microsoft's own, by name."""
    files = (virt_firmware() / CERTS).glob("*.pem")
    ders = [openssl("x509", "-in", path, "-outform", "DER") for path in files]
    return {common_name(der): der for der in ders}


class Authority:
    """Certificates by name; each can sign an EFI program by way of a leaf."""

    def __init__(self, path):
        self.path, self.made = path, {}

    def subject(self, name):
        return f"/CN={name}"

    def __getitem__(self, name):
        if name not in self.made:
            stem = self.path / str(len(self.made))
            subprocess.run(
                ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", self.subject(name),
                 "-days", "9", "-keyout", f"{stem}.key", "-out", f"{stem}.pem"], check=True, capture_output=True)  # fmt: skip
            self.made[name] = stem
        return self.made[name]

    def der(self, name):
        return subprocess.run(["openssl", "x509", "-in", f"{self[name]}.pem", "-outform", "DER"],
                              check=True, capture_output=True).stdout  # fmt: skip

    def leaf(self, name, ca):
        if name not in self.made:
            stem = self.path / f"leaf{len(self.made)}"
            subprocess.run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                            "-keyout", f"{stem}.key", "-out", f"{stem}.csr"], check=True, capture_output=True)  # fmt: skip
            subprocess.run(["openssl", "x509", "-req", "-in", f"{stem}.csr", "-CA", f"{self[ca]}.pem", "-CAkey",
                            f"{self[ca]}.key", "-CAcreateserial", "-days", "9", "-out", f"{stem}.pem"],
                           check=True, capture_output=True)  # fmt: skip
            self.made[name] = stem
        return name

    def signature(self, signer):
        data = self.path / "data"
        data.write_bytes(b"a hash")
        return subprocess.run(
            ["openssl", "smime", "-sign", "-binary", "-outform", "DER", "-signer", f"{self[signer]}.pem",
             "-inkey", f"{self[signer]}.key", "-in", data], check=True, capture_output=True).stdout  # fmt: skip


class Microsoft(Authority):
    """Firmware lists have Microsoft's real certificates; what is signed in their names is only named so."""

    def __init__(self, path):
        super().__init__(path)
        self.real = real_certificates()

    def subject(self, name):
        if name not in self.real:
            return super().subject(name)
        said = openssl("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253,-dn_rev",
                       input=self.real[name]).decode()  # fmt: skip
        return "/" + said.strip().removeprefix("subject=").replace(",", "/")

    def der(self, name):
        return self.real.get(name) or super().der(name)

    def impostor(self, name):
        """Of the same name, with another key."""
        return super().der(name)


def program(*signatures):
    """A PE image that has nothing but signatures."""
    table = b""
    for der in signatures:
        entry = struct.pack("<IHH", 8 + len(der), 0x200, 2) + der
        table += entry + bytes(-len(entry) % 8)
    head = bytearray(0x200)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    head[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<H", head, 0x98, 0x20B)
    struct.pack_into("<I", head, 0x98 + 108, 16)
    struct.pack_into("<II", head, 0x98 + 112 + 32, len(head) if table else 0, len(table))
    return bytes(head) + table


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return Microsoft(tmp_path_factory.mktemp("authorities"))


@pytest.fixture
def host(tree, ca):
    """A host that was started from shim on its EFI partition."""
    tree.secure_boot()
    path = "\\EFI\\debian\\shimx64.efi".encode("utf-16-le") + b"\0\0"
    node = struct.pack("<BBH", 4, 4, 4 + len(path)) + path + struct.pack("<BBH", 0x7F, 0xFF, 4)
    tree.variable("BootCurrent", b"\7\0\0\0\1\0", GLOBAL)
    tree.variable("Boot0001", b"\7\0\0\0" + struct.pack("<IH", 1, len(node)) + b"d\0\0\0" + node, GLOBAL)
    tree.esp()

    def lists(db, kek=(), dbx=()):
        tree.variable("db", siglist(*map(ca.der, db)), SECURITY)
        tree.variable("KEK", siglist(*map(ca.der, kek)), GLOBAL)
        tree.variable("dbx", siglist(*map(ca.der, dbx)), SECURITY)

    tree.lists = lists
    tree.shim = lambda *signers: tree.put("boot/efi/EFI/debian/shimx64.efi",
                                          program(*map(ca.signature, signers)))  # fmt: skip
    tree.firmware = lambda: json.loads(tree.run("key", "status", "--json").out)["firmware_ca"]
    return tree


@pytest.mark.parametrize("db, kek, words, said", [
    ([CA_2011], [KEK_2011], ("2011", "2011"), "a shim that is signed by Microsoft's authority of 2023 alone"),
    ([CA_2011, CA_2023], [KEK_2011], ("both", "2011"), "updates of db and dbx"),
    ([CA_2011, CA_2023], [KEK_2011, KEK_2023], ("both", "both"), None),
    ([CA_2023], [KEK_2023], ("2023", "2023"), None),
    (["Owner"], ["Owner"], ("own", "own"), None),
])  # fmt: skip
def test_which_authorities(host, ca, db, kek, words, said):
    host.lists(db, kek)
    host.shim(ca.leaf("old leaf", CA_2011) if CA_2011 in db else
              ca.leaf("new leaf", CA_2023) if CA_2023 in db else "Owner")  # fmt: skip
    found = host.firmware()
    assert (found["db"], found["kek"]) == words and found["first"]["boots"] == "yes"
    if said:
        assert said in found["message"] and found["next_step"]
    else:
        assert found["message"] is None and found["next_step"] is None
    page = " ".join(host.run("key", "status").out.split())
    assert f"Microsoft's authorities of {words[0]} in db, of {words[1]} in KEK" in page
    assert said is None or said in page


def test_the_keys_are_the_real_ones(ca):
    table = dict(re.findall(r'/\* (Microsoft [^*]*) \*/\n\t\w+\[\] = "([0-9a-f]{64})"', SOURCE.read_text()))
    wanted = [CA_2011, CA_2023, KEK_2011, KEK_2023, WINDOWS_2011]
    assert table == {name: key_hash(ca.real[name]) for name in wanted}
    stored = {common_name(der): key_hash(der) for name in ("db", "KEK") for der in variables.certificates(STORE, name)}
    assert {CA_2011, KEK_2011, WINDOWS_2011} <= set(stored)
    assert {name: key for name, key in stored.items() if name in table}.items() <= table.items()


def test_a_name_is_not_enough(host, ca):
    """Certificates of Microsoft's names with other keys are none of Microsoft's."""
    for name in (CA_2011, CA_2023, KEK_2011, KEK_2023, WINDOWS_2011):
        assert common_name(ca.impostor(name)) == name and ca.impostor(name) != ca.der(name)
    host.lists([], [], [CA_2011])
    assert host.firmware()["dbx_2011"]
    host.lists([], [], [WINDOWS_2011])
    assert host.firmware()["dbx_2011"]
    host.variable("db", siglist(ca.impostor(CA_2011), ca.impostor(CA_2023)), SECURITY)
    host.variable("KEK", siglist(ca.impostor(KEK_2011), ca.impostor(KEK_2023)), GLOBAL)
    host.variable("dbx", siglist(ca.impostor(CA_2011), ca.impostor(WINDOWS_2011)), SECURITY)
    found = host.firmware()
    assert (found["db"], found["kek"], found["dbx_2011"]) == ("own", "own", False)
    host.variable("db", siglist(ca.impostor(CA_2011), ca.der(CA_2023)), SECURITY)
    assert host.firmware()["db"] == "2023"


@pytest.mark.parametrize("signers, db, dbx, boots, named", [
    (["old"], [CA_2011], [], "yes", CA_2011), (["new"], [CA_2011], [], "no", CA_2023),
    (["old"], [CA_2023], [], "no", CA_2011), (["old", "new"], [CA_2023], [], "yes", f"{CA_2011}, {CA_2023}"),
    (["old"], [CA_2011, CA_2023], [CA_2011], "no", CA_2011), ([], [CA_2011], [], "no", None),
    (["Owner"], [CA_2011, "Owner"], [], "yes", "Owner"),
], ids=str)  # fmt: skip
def test_will_the_firmware_start_it(host, ca, signers, db, dbx, boots, named):
    leaves = {"old": ca.leaf("old leaf", CA_2011), "new": ca.leaf("new leaf", CA_2023), "Owner": "Owner"}
    host.lists(db, dbx=dbx)
    host.shim(*(leaves[s] for s in signers))
    first = host.firmware()["first"]
    assert (first["boots"], first["signers"]) == (boots, named)
    assert first["path"].endswith("/boot/efi/EFI/debian/shimx64.efi")
    said = "the firmware trusts none of those who signed what it starts"
    assert (said in " ".join(host.run("status").out.split())) == (boots == "no")
    state = json.loads(host.run("state").out)
    assert state["firmware_ca"]["first"]["boots"] == boots


def test_a_loader_that_the_firmware_may_refuse_is_not_safe(host, ca):
    """That shim was told not to check does not change what the firmware does before it."""
    host.lists([CA_2011])
    host.shim(ca.leaf("new leaf", CA_2023))
    for off in (b"\0", b"\1"):
        host.variable("MokSBStateRT", b"\7\0\0\0" + off)
        result = host.run("status")
        page = " ".join(result.out.split())
        assert result.code == 3 and "CANNOT TELL next boot: cannot tell: Secure Boot is on" in page
        assert f"({CA_2023})" in page and "before the reboot, install the boot loader that was there" in page
    state = json.loads(host.run("state").out)
    assert state["safe"] == "unknown" and "install the boot loader" in state["next_step"]
    host.secure_boot(False)
    assert host.run("status").code == 0
    host.secure_boot()
    host.shim(ca.leaf("old leaf", CA_2011))
    assert host.run("status").code == 0


def test_db_may_have_the_signer_itself(host, ca):
    leaf = ca.leaf("new leaf", CA_2023)
    host.lists([leaf])
    host.shim(leaf)
    assert host.firmware()["first"]["boots"] == "yes" and host.run("status").code == 0


def test_what_comes_after_shim_is_named(host, ca):
    host.lists([CA_2011])
    host.shim(ca.leaf("old leaf", CA_2011))
    host.put("boot/efi/EFI/debian/grubx64.efi", program(ca.signature(ca.leaf("grub leaf", "Debian CA"))))
    second = host.firmware()["second"]
    assert second["signers"] == "Debian CA" and second["boots"] == "unknown"
    assert re.search(r"then .*grubx64.efi\n +signed by Debian CA", host.run("key", "status").out)


def test_what_cannot_be_read_is_unknown(host, ca):
    good = program(ca.signature(ca.leaf("old leaf", CA_2011)))
    for image in (b"", b"MZ", b"shim", good[:-9], good[:0x210], good.replace(b"PE\0\0", b"PX\0\0"),
                  good[:0x200] + struct.pack("<IHH", 1 << 31, 0x200, 2) + good[0x208:]):  # fmt: skip
        host.lists([CA_2023])
        host.put("boot/efi/EFI/debian/shimx64.efi", image)
        assert host.firmware()["first"]["boots"] == "unknown", image[:16]
    # An entry of db that is a hash may be this program's.
    host.shim(ca.leaf("old leaf", CA_2011))
    assert host.firmware()["first"]["boots"] == "no"
    hash_list = SHA256_LIST + struct.pack("<III", 76, 0, 48) + b"O" * 16 + bytes(32)
    host.variable("db", siglist(ca.der(CA_2023)) + hash_list, SECURITY)
    assert host.firmware()["first"]["boots"] == "unknown"
    host.variable("db", siglist(ca.der(CA_2023))[:-5], SECURITY)
    found = host.firmware()
    assert found["db"] == "unknown" and "could not be read" in found["message"]
    (host.path / "boot/efi/EFI/debian/shimx64.efi").unlink()
    assert host.firmware()["first"] == {"path": None, "signers": None, "boots": "unknown"}


def test_no_efi(tree):
    assert json.loads(tree.run("key", "status", "--json").out)["firmware_ca"]["db"] == "not-applicable"
    assert "Firmware:" not in tree.run("key", "status").out


def test_metrics(host, ca):
    host.lists([CA_2011], [KEK_2011, KEK_2023])
    host.shim(ca.leaf("new leaf", CA_2023))
    host.put("etc/kmodkeep/guard.conf", "prometheus = /kmodkeep.prom\n")
    host.run("state", "--write")
    [text] = [p.read_text() for p in host.path.rglob("kmodkeep-host.prom")]
    assert 'kmodkeep_firmware_ca{db="2011",kek="both"} 1' in text and "kmodkeep_firmware_boots 0" in text
