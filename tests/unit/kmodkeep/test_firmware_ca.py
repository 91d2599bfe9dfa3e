# SPDX-License-Identifier: GPL-2.0-or-later
"""Microsoft's authorities of 2011 and 2023: what a host's firmware trusts, and who signed what it starts."""

import hashlib
import json
import random
import re
import struct
import subprocess
from pathlib import Path

import pytest

from tests.lib import apt
from tests.lib.cache import cached
from tests.lib.rsa import rsa_key
from tests.qemu import esp, variables
from tests.unit.kmodkeep.host import GLOBAL, SECURITY, SHA256, certificate, hash_list, program, siglist
from tests.unit.kmodkeep.test_varstore import virt_firmware

SHA256_LIST = bytes.fromhex("2616c4c14c509240aca941f936934328")
CA_2011, CA_2023 = "Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023"
KEK_2011, KEK_2023 = "Microsoft Corporation KEK CA 2011", "Microsoft Corporation KEK 2K CA 2023"
WINDOWS_2011 = "Microsoft Windows Production PCA 2011"
OLD, NEW = "Old CA", "New CA"
SHA1 = "826ca512-cf10-4ac9-b187-be01496631bd"
SHA384, SHA512 = "ff3e5307-9fd0-48c9-85f1-8ad56c701e01", "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a"
CERT_SHA256, CERT_SHA384 = "3bd2a492-96c0-4079-b420-fcf98ef103ed", "7076876e-80c2-4ee6-aad2-28b349a6865b"
CERT_SHA512 = "446dbf63-2502-4cda-bcfa-2465d2b0fe9d"
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
    """Certificates by name, each with a key that can sign EFI programs."""

    def __init__(self, path):
        self.path, self.made, self.programs = path, {}, {}

    def subject(self, name):
        return f"/CN={name}"

    def __getitem__(self, name):
        if name not in self.made:
            stem = self.path / str(len(self.made))
            subprocess.run(
                ["openssl", "req", "-new", "-x509", "-key", rsa_key(Path(f"{stem}.key")), "-subj", self.subject(name),
                 "-days", "9", "-out", f"{stem}.pem"], check=True, capture_output=True)  # fmt: skip
            self.made[name] = stem
        return self.made[name]

    def der(self, name):
        return subprocess.run(["openssl", "x509", "-in", f"{self[name]}.pem", "-outform", "DER"],
                              check=True, capture_output=True).stdout  # fmt: skip

    def leaf(self, name, ca, *words):
        if name not in self.made:
            stem = self.path / f"leaf{len(self.made)}"
            subprocess.run(["openssl", "req", "-new", "-key", rsa_key(Path(f"{stem}.key")), "-subj", f"/CN={name}",
                            "-out", f"{stem}.csr"], check=True, capture_output=True)  # fmt: skip
            subprocess.run(["openssl", "x509", "-req", "-in", f"{stem}.csr", "-CA", f"{self[ca]}.pem", "-CAkey",
                            f"{self[ca]}.key", "-CAcreateserial", "-days", "9", "-out", f"{stem}.pem", *words],
                           check=True, capture_output=True)  # fmt: skip
            self.made[name] = stem
        return name

    def authority(self, name, ca):
        """One that another has made an authority."""
        self.path.joinpath("authority.cnf").write_text("basicConstraints = critical,CA:TRUE\n")
        return self.leaf(name, ca, "-extfile", self.path / "authority.cnf")

    def curve(self, name):
        """With a key that not all firmware knows."""
        if name not in self.made:
            stem = self.path / str(len(self.made))
            certificate(self.path, stem.name)[1].rename(f"{stem}.pem")
            self.made[name] = stem
        return name

    def signed(self, *signers, image=None, more=()):
        """A program with a signature by each of these, as sbsign makes them; MORE goes with each."""
        key = (signers, image, more)
        if key not in self.programs:
            path = self.path / "program.efi"
            path.write_bytes(image or program())
            for stem in map(self.__getitem__, signers):
                subprocess.run(["sbsign", "--key", f"{stem}.key", "--cert", f"{stem}.pem", "--output", path,
                                *(w for name in more for w in ("--addcert", f"{self[name]}.pem")), path],
                               check=True, capture_output=True)  # fmt: skip
            self.programs[key] = path.read_bytes()
        return self.programs[key]


class Microsoft(Authority):
    """Firmware lists have Microsoft's real certificates; what is signed here in their names, others have signed."""

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


def real(path):
    """A program as Debian signed it."""
    return (esp.signed_files() / path).read_bytes()


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return Microsoft(tmp_path_factory.mktemp("authorities"))


@pytest.fixture
def host(tree, ca):
    """A host that was started from shim on its EFI partition."""
    tree.secure_boot()
    tree.no_fallback()
    tree.variable("BootCurrent", b"\7\0\0\0\1\0", GLOBAL)
    tree.esp()

    def starts(file):
        path = file.encode("utf-16-le") + b"\0\0"
        node = struct.pack("<BBH", 4, 4, 4 + len(path)) + path if file else b""
        node += struct.pack("<BBH", 0x7F, 0xFF, 4)
        tree.variable("Boot0001", b"\7\0\0\0" + struct.pack("<IH", 1, len(node)) + b"d\0\0\0" + node, GLOBAL)

    def lists(db, kek=(), dbx=()):
        tree.variable("db", siglist(*map(ca.der, db)), SECURITY)
        tree.variable("KEK", siglist(*map(ca.der, kek)), GLOBAL)
        tree.variable("dbx", siglist(*map(ca.der, dbx)), SECURITY)

    starts("\\EFI\\debian\\shimx64.efi")
    tree.starts, tree.lists = starts, lists
    tree.image = lambda image: tree.put("boot/efi/EFI/debian/shimx64.efi", image)
    tree.shim = lambda *signers, **more: tree.image(ca.signed(*signers, **more))
    tree.boots = lambda: tree.authorities()["first"]["boots"]
    tree.authorities = lambda: json.loads(tree.run("key", "status", "--json").out)["firmware_ca"]
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
    if "Owner" in db:
        host.shim("Owner")
    else:
        host.image(real(esp.SHIM))
    found = host.authorities()
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
    assert host.authorities()["dbx_2011"]
    host.lists([], [], [WINDOWS_2011])
    assert host.authorities()["dbx_2011"]
    host.variable("db", siglist(ca.impostor(CA_2011), ca.impostor(CA_2023)), SECURITY)
    host.variable("KEK", siglist(ca.impostor(KEK_2011), ca.impostor(KEK_2023)), GLOBAL)
    host.variable("dbx", siglist(ca.impostor(CA_2011), ca.impostor(WINDOWS_2011)), SECURITY)
    found = host.authorities()
    assert (found["db"], found["kek"], found["dbx_2011"]) == ("own", "own", False)
    host.variable("db", siglist(ca.impostor(CA_2011), ca.der(CA_2023)), SECURITY)
    assert host.authorities()["db"] == "2023"


@pytest.mark.parametrize("signers, db, dbx, boots, named", [
    (["old"], [OLD], [], "yes", OLD), (["new"], [OLD], [], "no", NEW),
    (["old"], [NEW], [], "no", OLD), (["old", "new"], [NEW], [], "yes", f"{OLD}, {NEW}"),
    (["old"], [OLD, NEW], [OLD], "no", OLD), (["old", "new"], [OLD, NEW], [OLD], "no", f"{OLD}, {NEW}"),
    ([], [OLD], [], "no", None), (["Owner"], [OLD, "Owner"], [], "yes", "Owner"),
], ids=str)  # fmt: skip
def test_will_the_firmware_start_it(host, ca, signers, db, dbx, boots, named):
    leaves = {"old": ca.leaf("old leaf", OLD), "new": ca.leaf("new leaf", NEW), "Owner": "Owner"}
    host.lists(db, dbx=dbx)
    host.shim(*(leaves[s] for s in signers))
    first = host.authorities()["first"]
    assert (first["boots"], first["signers"]) == (boots, named)
    assert first["path"].endswith("/boot/efi/EFI/debian/shimx64.efi")
    said = "the firmware trusts none of those who signed what it starts"
    assert (said in " ".join(host.run("status").out.split())) == (boots == "no")
    state = json.loads(host.run("state").out)
    assert state["firmware_ca"]["first"]["boots"] == boots
    assert state["safe"] == ("yes" if boots == "yes" else "unknown")


def test_a_signer_of_the_same_name_is_not_the_one_in_db(host, ca):
    """Microsoft's name, and another key."""
    leaf = ca.leaf("leaf in Microsoft's name", CA_2011)
    host.shim(leaf, more=(CA_2011,))
    host.lists([CA_2011])
    first = host.authorities()["first"]
    assert (first["boots"], first["signers"]) == ("no", CA_2011)
    assert host.run("status").code == 3
    # One that dbx only names is not revoked.
    host.variable("db", siglist(ca.impostor(CA_2011)), SECURITY)
    host.variable("dbx", siglist(ca.der(CA_2011)), SECURITY)
    assert host.boots() == "yes"


def test_programs_as_debian_signed_them(host, ca):
    """shim by Microsoft, twice; all else by Debian."""
    shim = real(esp.SHIM)
    host.image(shim)
    for db, dbx, boots in (([CA_2011], [], "yes"), ([CA_2023], [], "yes"), ([WINDOWS_2011], [], "no"),
                           ([CA_2011, CA_2023], [CA_2011], "no")):  # fmt: skip
        host.lists(db, dbx=dbx)
        assert host.boots() == boots, (db, dbx)
    host.lists([CA_2011])
    host.put("boot/efi/EFI/debian/grubx64.efi", real(esp.GRUB))
    assert host.authorities()["second"]["signers"] == "Debian Secure Boot CA"
    fwupd = cached("unpacked", "fwupd-amd64-signed", lambda path: [
        apt.extract(deb, path) for deb in apt.download("bookworm", ["fwupd-amd64-signed"]).glob("fwupd-*.deb")])  # fmt: skip
    [updater] = fwupd.rglob("fwupdx64.efi.signed")
    for image in (real(esp.GRUB), real(esp.MOK_MANAGER), updater.read_bytes()):
        host.image(image)
        first = host.authorities()["first"]
        assert (first["boots"], first["signers"]) == ("no", "Debian Secure Boot CA")
        # The signature is good: with its hash in db, or its signer, it is started.
        signer = signer_of(image)
        host.variable("db", siglist(signer), SECURITY)
        assert host.boots() == "yes"
        host.image(image[:0x1234] + bytes([image[0x1234] ^ 1]) + image[0x1235:])
        assert host.boots() == "no"
        host.lists([CA_2011])


def signer_of(image):
    """The one certificate in the one signature of a program."""
    (head,) = struct.unpack_from("<I", image, 0x3C)
    at, size = struct.unpack_from("<II", image, head + 0x18 + 112 + 32)
    pem = openssl("pkcs7", "-inform", "DER", "-print_certs", input=image[at + 8 : at + size])
    return openssl("x509", "-outform", "DER", input=pem)


def test_what_a_signature_is_about(host, ca):
    host.lists(["Owner"])
    good = ca.signed("Owner")
    checksum, body = 0x98 + 64, len(program())
    host.image(good[:checksum] + b"abcd" + good[checksum + 4 :])
    assert host.boots() == "yes"
    # A byte of a header, of each section, and behind them.
    for at in (0x98 + 16, 0x300, 0x500):
        host.image(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert host.boots() == "no", at
    host.image(good + bytes(8))
    assert host.boots() == "no"
    # The signature of another program, alone, and beside a good one.
    other = ca.signed("Owner", image=program().replace(b"text", b"TEXT"))
    host.image(good[:body] + other[body:])
    assert host.boots() == "no"
    host.image(with_table(other[body:] + good[body:]))
    assert host.boots() == "yes"


def with_table(table):
    """The program with this table of signatures."""
    image, where = program(), 0x98 + 112 + 32
    return image[:where] + struct.pack("<II", len(image), len(table)) + image[where + 8 :] + table


def test_signature_that_is_not_good_beside_a_good_one(host, ca):
    """Firmware looks for its signer in dbx all the same, and reads a kind of entry that is not read here."""
    body = len(program())
    good = ca.signed("Owner")[body:]
    bad = ca.signed("Other", image=program().replace(b"text", b"TEXT"))[body:]
    host.lists(["Owner"])
    host.image(with_table(bad + good))
    assert host.boots() == "yes"
    entry = hashlib.sha256(tbs(ca.der("Other"))).digest() + bytes(16)
    host.variable("dbx", b"\7\0\0\0" + hash_list(CERT_SHA256, entry), SECURITY)
    assert host.boots() == "no"
    host.lists(["Owner"])
    # Its certificate is of another number than the one that signed.
    serial = bytes.fromhex(openssl("x509", "-in", f"{ca['Other']}.pem", "-noout", "-serial").decode().split("=")[1])
    host.image(with_table(bad.replace(serial, serial[:-1] + bytes([serial[-1] ^ 1]), 1) + good))
    assert host.boots() == "unknown"
    host.image(with_table(good + struct.pack("<IHH", 16, 0x200, 0x0EF1) + bytes(8)))
    assert host.boots() == "unknown"


def test_entry_without_a_file(host, ca):
    """As of virtual machines: the firmware takes the file for removable disks."""
    host.starts("")
    host.lists(["Owner"])
    assert host.authorities()["first"]["path"] is None
    for signer, boots in (("Owner", "yes"), ("Other", "no")):
        host.put("boot/efi/EFI/BOOT/BOOTX64.EFI", ca.signed(signer))
        assert host.boots() == boots and host.run("status").code == (0 if boots == "yes" else 3)


def test_systemd_boot_beside_a_grub_that_nobody_signed(host, ca):
    """In the place of removable disks it is not shim, which would start that GRUB."""
    host.starts("\\EFI\\BOOT\\BOOTX64.EFI")
    host.lists(["Owner"])
    host.put("boot/efi/EFI/BOOT/grubx64.efi", program())
    for name, code in ((b".data\0\0\0", 3), (b".sdmagic", 0)):
        host.put("boot/efi/EFI/BOOT/BOOTX64.EFI", ca.signed("Owner", image=program().replace(b".data\0\0\0", name)))
        assert host.boots() == "yes" and host.run("status").code == code


def test_secure_boot_that_cannot_be_read_may_be_on(host, ca):
    host.lists(["Owner"])
    host.shim("Other")
    host.variable("SecureBoot", b"\6\0\0\0", GLOBAL)
    assert json.loads(host.run("state").out)["safe"] == "unknown"


def test_large_program(host):
    """A unified image has an initramfs in it."""
    host.lists(["Owner"])
    host.image(program())
    with open(host.path / "boot/efi/EFI/debian/shimx64.efi", "r+b") as file:
        file.truncate(70 << 20)
    assert host.boots() == "no"


def test_damaged_programs(host, ca):
    """A byte changed anywhere: of what is signed it makes the program another one."""
    host.lists(["Owner"])
    good, body = ca.signed("Owner"), len(program())
    chance = random.Random(13)
    places = [*chance.sample(range(body), 10), *chance.sample(range(body, len(good)), 20)]
    for at in places:
        host.image(good[:at] + bytes([good[at] ^ (1 << chance.randrange(8))]) + good[at + 1 :])
        free = 0x98 + 64 <= at < 0x98 + 68  # the checksum
        if at < body and not free:
            assert host.boots() != "yes", at
        else:
            assert host.boots() in ("yes", "no", "unknown"), at


def test_chain_to_what_db_has(host, ca):
    middle = ca.authority("Middle", "Owner")
    leaf = ca.leaf("leaf of Middle", middle)
    for db, more, boots in ((["Owner"], (middle,), "yes"), ([middle], (), "yes"), ([leaf], (), "yes"),
                            (["Owner"], (), "no"), (["Other"], (middle,), "no")):  # fmt: skip
        host.lists(db)
        host.shim(leaf, more=more)
        assert host.boots() == boots, (db, more)
    # A certificate that may issue none issued this one.
    host.lists(["Owner"])
    below = ca.leaf("leaf of a leaf", ca.leaf("no authority", "Owner"))
    host.shim(below, more=("no authority",))
    assert host.boots() == "no"


@pytest.mark.parametrize("kind, name", [(CERT_SHA256, "sha256"), (CERT_SHA384, "sha384"), (CERT_SHA512, "sha512")])
def test_revoked_by_the_hash_of_a_certificate(host, ca, kind, name):
    middle = ca.authority("Middle", "Owner")
    leaf = ca.leaf("leaf of Middle", middle)
    host.shim(leaf, more=(middle,))
    host.lists(["Owner"])
    for who in ("Owner", middle, leaf):
        digest = hashlib.new(name, tbs(ca.der(who))).digest()
        for since, boots in ((bytes(16), "no"), (struct.pack("<H14x", 2030), "unknown")):
            host.variable("dbx", b"\7\0\0\0" + hash_list(kind, bytes(len(digest) + 16), digest + since), SECURITY)
            assert host.boots() == boots, (who, since)
            assert json.loads(host.run("state").out)["safe"] == "unknown"
    host.variable("dbx", b"\7\0\0\0" + hash_list(kind, bytes(len(digest) + 16)), SECURITY)
    assert host.boots() == "yes"
    host.variable("dbx", b"\7\0\0\0" + hash_list(kind, bytes(len(digest) + 9)), SECURITY)
    assert host.boots() == "unknown"


def tbs(der):
    """What an issuer signs of a certificate."""
    lines = openssl("asn1parse", "-inform", "DER", input=der).decode().splitlines()
    at, header, size = map(int, re.match(r" *(\d+):d=1 +hl=(\d+) +l= *(\d+)", lines[1]).groups())
    return der[at : at + header + size]


def test_microsofts_authority_of_2011_is_revoked_by_its_hash(host, ca):
    for name in (CA_2011, WINDOWS_2011):
        host.lists([CA_2023, name])
        assert not host.authorities()["dbx_2011"]
        entry = hashlib.sha256(tbs(ca.der(name))).digest() + bytes(16)
        host.variable("dbx", b"\7\0\0\0" + hash_list(CERT_SHA256, entry), SECURITY)
        assert host.authorities()["dbx_2011"]


@pytest.mark.parametrize("kind, name", [(SHA1, "sha1"), (SHA256, "sha256"), (SHA384, "sha384"), (SHA512, "sha512")])
def test_program_by_its_own_hash(host, ca, kind, name):
    image = program()
    checksum, entry = 0x98 + 64, 0x98 + 112 + 32
    said = hashlib.new(name, image[:checksum] + image[checksum + 4 : entry] + image[entry + 8 :]).digest()
    for signed in (image, ca.signed("Owner")):
        host.lists(["Owner"])
        host.image(signed)
        host.variable("dbx", b"\7\0\0\0" + hash_list(kind, bytes(len(said)), said), SECURITY)
        assert host.boots() == "no"
        host.lists(["Other"])
        assert host.boots() == "no"
        host.variable("db", siglist(ca.der("Other")) + hash_list(kind, said), SECURITY)
        assert host.boots() == ("yes" if name == "sha256" else "unknown")


def test_what_is_not_understood_is_unknown(host, ca):
    """Other kinds of entries, more of them than are read, another algorithm."""
    key_of_rsa = hash_list("3c5766e8-269c-4e34-aa14-ed776e85b3b6", bytes(256))
    host.shim("Owner")
    for db, dbx, boots in ((b"", b"", "yes"), (key_of_rsa, b"", "yes"), (b"", key_of_rsa, "unknown"),
                           (b"", siglist(b"no certificate")[4:], "unknown")):  # fmt: skip
        host.variable("db", siglist(ca.der("Owner")) + db, SECURITY)
        host.variable("dbx", b"\7\0\0\0" + dbx, SECURITY)
        assert host.boots() == boots, (db, dbx)
        assert json.loads(host.run("state").out)["safe"] == ("yes" if boots == "yes" else "unknown")
    host.variable("dbx", siglist(), SECURITY)
    host.variable("db", siglist(ca.der("Other")) + key_of_rsa, SECURITY)
    assert host.boots() == "unknown" and host.authorities()["db"] == "unknown"
    host.variable("db", siglist(*[ca.der("Other")] * 256), SECURITY)
    assert host.boots() == "no" and host.authorities()["db"] == "own"
    host.variable("db", siglist(*[ca.der("Other")] * 256, ca.der(CA_2023)), SECURITY)
    assert host.boots() == "unknown" and host.authorities()["db"] == "unknown"
    host.lists(["Owner", ca.curve("Curve")])
    host.shim("Curve")
    assert host.boots() == "unknown"
    host.shim("Owner", "Curve")
    assert host.boots() == "unknown"


def test_a_loader_that_the_firmware_may_refuse_is_not_safe(host, ca):
    """That shim was told not to check does not change what the firmware does before it."""
    host.lists([OLD])
    host.shim(ca.leaf("new leaf", NEW))
    for off in (b"\0", b"\1"):
        host.variable("MokSBStateRT", b"\7\0\0\0" + off)
        result = host.run("status")
        page = " ".join(result.out.split())
        assert result.code == 3 and "CANNOT TELL next boot: cannot tell: Secure Boot is on" in page
        assert f"({NEW})" in page and "before the reboot, install the boot loader that was there" in page
    state = json.loads(host.run("state").out)
    assert state["safe"] == "unknown" and "install the boot loader" in state["next_step"]
    host.secure_boot(False)
    assert host.run("status").code == 0
    host.secure_boot()
    host.shim(ca.leaf("old leaf", OLD))
    assert host.run("status").code == 0


def test_db_may_have_the_signer_itself(host, ca):
    leaf = ca.leaf("new leaf", NEW)
    host.lists([leaf])
    host.shim(leaf)
    assert host.authorities()["first"]["boots"] == "yes" and host.run("status").code == 0


def test_what_comes_after_shim_is_named(host, ca):
    host.lists([OLD])
    host.shim(ca.leaf("old leaf", OLD))
    host.put("boot/efi/EFI/debian/grubx64.efi", ca.signed(ca.leaf("grub leaf", "Debian CA")))
    second = host.authorities()["second"]
    assert second["signers"] == "Debian CA" and second["boots"] == "unknown"
    assert re.search(r"then .*grubx64.efi\n +signed by Debian CA", host.run("key", "status").out)


def test_grub_that_shim_does_not_start(host, ca):
    """As grub-install leaves one where the signed package is not installed."""
    grub, signed = "boot/efi/EFI/debian/grubx64.efi", ca.signed("Debian CA")
    host.lists([OLD])
    host.shim(ca.leaf("old leaf", OLD))
    changed = signed.replace(b"text", b"TEXT")
    for image, boots in ((program(), "no"), (changed, "no"), (signed, "unknown"), (b"grub", "unknown")):
        host.put(grub, image)
        assert host.authorities()["second"]["boots"] == boots
        result = host.run("status")
        assert result.code == (3 if boots == "no" else 0)
        assert ("shim does not start" in " ".join(result.out.split())) == (boots == "no")
    host.put(grub, program())
    # Its hash may be enrolled; shim may have been told not to check.
    host.variable("MokListRT", b"\7\0\0\0" + hash_list(SHA256, bytes(32)))
    assert host.run("status").code == 0
    host.variable("MokListRT", siglist())
    assert host.run("status").code == 3
    host.variable("MokSBStateRT", b"\6\0\0\0\1")
    assert host.run("status").code == 0


def test_what_cannot_be_read_is_unknown(host, ca):
    good = ca.signed(ca.leaf("old leaf", OLD))
    body = len(program())
    for image in (b"", b"MZ", b"shim", good[:-9], good[:body + 0x10], good.replace(b"PE\0\0", b"PX\0\0"),
                  good[:body] + struct.pack("<IHH", 1 << 31, 0x200, 2) + good[body + 8:],
                  good[:body - 0x100] + good[body:], program(b"no message")):  # fmt: skip
        host.lists([NEW])
        host.put("boot/efi/EFI/debian/shimx64.efi", image)
        assert host.authorities()["first"]["boots"] == "unknown", image[:16]
    host.shim(ca.leaf("old leaf", OLD))
    assert host.authorities()["first"]["boots"] == "no"
    host.variable("db", siglist(ca.der(NEW))[:-5], SECURITY)
    found = host.authorities()
    assert found["db"] == "unknown" and "could not be read" in found["message"]
    (host.path / "boot/efi/EFI/debian/shimx64.efi").unlink()
    assert host.authorities()["first"] == {"path": None, "signers": None, "boots": "unknown"}
    assert json.loads(host.run("state").out)["safe"] == "unknown"
    assert "/EFI/debian/shimx64.efi, from which the firmware started" in " ".join(host.run("status").out.split())


def test_no_efi(tree):
    assert json.loads(tree.run("key", "status", "--json").out)["firmware_ca"]["db"] == "not-applicable"
    assert "Firmware:" not in tree.run("key", "status").out


def test_metrics(host, ca):
    host.lists([CA_2011], [KEK_2011, KEK_2023])
    host.shim(ca.leaf("new leaf", NEW))
    host.put("etc/kmodkeep/guard.conf", "prometheus = /kmodkeep.prom\n")
    host.run("state", "--write")
    [text] = [p.read_text() for p in host.path.rglob("kmodkeep-host.prom")]
    assert 'kmodkeep_firmware_ca{db="2011",kek="both"} 1' in text and "kmodkeep_firmware_boots 0" in text
