# SPDX-License-Identifier: GPL-2.0-or-later
"""What enrolling a key does to a disk that a TPM unlocks, and who is warned of it.

A guest with a TPM has two encrypted disks, bound to it by the distribution's own
systemd-cryptenroll: one by the register that shim measures its keys into, PCR 14, one
by PCR 7.  A key is enrolled through MokManager; then each disk is asked to open.  The recipe of
docs/signing.md for such disks is followed, line by line.

On the way stands what shim and the firmware say of revocations, and how an enrolment
ends whose variables are mounted read-only.
"""

import base64
import hashlib
import json
import os
import re
import subprocess

import pytest

from tests.lib.cache import cached, digest
from tests.lib.roots import Clone, root
from tests.qemu import esp, mokmanager, variables
from tests.qemu.secureboot import CHANGED
from tests.qemu.smallguest import small_guest
from tests.qemu.tpm import Tpm
from tests.secureboot.chain import PASSWORD, SLOW, _packages
from tests.unit.kmodkeep.test_recipes import RECIPES

KERNEL = os.environ.get("K", "6.1").split(",")[0]
DISKS = {"keys": 14, "policy": 7}  # name -> the register that it is bound to
DEVICES = dict(zip(DISKS, ("/dev/vdc", "/dev/vdd")))

PROGRAMS = "/sbin/cryptsetup /usr/bin/systemd-cryptenroll"
LOADED = ("/usr/lib/x86_64-linux-gnu/cryptsetup/libcryptsetup-token-systemd-tpm2.so "
          "$(ls /usr/lib/x86_64-linux-gnu/libtss2-*.so.0)")  # fmt: skip
COLLECT = f"""
    apt-get -qq update
    apt-get -qq -y --no-install-recommends install cryptsetup-bin libtss2-esys-3.0.2-0 \
        libtss2-rc0 libtss2-mu0 libtss2-tcti-device0 >/dev/null
    mkdir /collected
    for file in {PROGRAMS} {LOADED}; do
        echo $file
        ldd $file | grep -o '/[^ :]*'
    done | sort -u | xargs cp -L --parents -t /collected
    # cryptsetup looks for it there; in the guest these are two directories.
    cp -r /collected/usr/lib/. /collected/lib/
"""
MODULES = ("dm_mod", "dm_crypt", "xts", "ecb", "algif_skcipher", "tpm_crb", "tpm_tis")

FORMAT = """
    set -e
    [ -e /sys/class/misc/device-mapper ] || modprobe dm_mod
    printf secret >/run/key
    cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {0} /run/key
    cryptsetup open --key-file /run/key {0} {1}
"""
BIND = ("systemd-cryptenroll --unlock-key-file=/run/key --tpm2-device=/dev/tpmrm0 "
        "--tpm2-pcrs={1} {0}")  # fmt: skip
OPEN = "modprobe dm_mod 2>/dev/null; cryptsetup open --token-only {0} {1} </dev/null"
# systemd-cryptenroll takes from $PASSWORD what it would ask a person for.
MAKE_RECOVERY, ASK, AT_THE_MENU, BIND_AGAIN = RECIPES["Disks bound to PCR 14"]
RECOVERY = re.compile(r"\b(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}\b")
OPEN_BY_KEY = "printf %s {2} >/run/recovery; cryptsetup open --key-file /run/recovery {0} {1}"
REVOCATIONS = {"MokListXRT": variables.SHIM, "SbatLevelRT": variables.SHIM,
               "dbx": "d719b2cb-3d3a-4596-a3bc-dad00e67656f"}  # fmt: skip
VARIABLE = "if [ -e {0} ]; then base64 {0}; fi"
REMOUNT = "mount -t efivarfs -o remount,{0} efivarfs /sys/firmware/efi/efivars"
ENROL = f"echo {PASSWORD} | {ASK} --password-stdin"
PCRS = "cat /sys/class/tpm/tpm0/pcr-sha256/7 /sys/class/tpm/tpm0/pcr-sha256/14"


def tools():
    """A cached tree with what encrypts disks and binds them, of the suite of the guest."""
    def make(tree):
        with Clone(esp.SUITE) as clone:
            clone.run(COLLECT)
            subprocess.run(["cp", "-r", clone.path / "collected", tree], check=True)

    return cached("userland", f"tpm-{digest(COLLECT, root(esp.SUITE).name)}", make)


class Story:
    """What was measured, said and opened before the enrolment and after it."""

    def __init__(self, workdir, tpm):
        disks = []
        for name in DISKS:
            disk = workdir / f"{name}.img"
            with open(disk, "wb") as out:
                out.truncate(32 << 20)
            disks.append((disk, CHANGED))
        self.guest = small_guest(KERNEL, workdir, _packages(workdir / "debs"),
                                 files={"usr": tools() / "usr", "sbin": tools() / "sbin",
                                        "lib": tools() / "lib"},
                                 more_stock=MODULES, more_disks=disks, more=tpm.qemu_args)
        self.status, self.doctor, self.opened, self.pcrs = {}, {}, {}, {}

    def run(self):
        with self.guest as guest:
            guest.wait_shell()
            guest.check("kmodkeep key create", SLOW)
            for name, device in DEVICES.items():
                guest.check(FORMAT.format(device, name), SLOW)
            self.look("unbound")
            self.bind("policy")
            self.look("policy bound")
            self.bind("keys")
            self.look("both bound")
            self.open("before")
            self.read_revocations()
            said = guest.check(f"disk={DEVICES['keys']}; PASSWORD=secret; export disk PASSWORD; {MAKE_RECOVERY}", SLOW)
            self.recovery = RECOVERY.search(said)[0]
            guest.check(REMOUNT.format("ro"))
            self.refused = guest.run(ENROL, SLOW)
            guest.check(REMOUNT.format("rw"))
            self.enrolled = guest.check(ENROL, SLOW)
            guest.reboot()
            mokmanager.enrol(guest, PASSWORD, guest.workdir)
            guest.wait_shell()
            self.look("enrolled")
            self.key = guest.run("kmodkeep key status", SLOW).output
            self.open("after")
            self.open_again()
        return self

    def open_again(self):
        """What the recipe has for the disk that the TPM does not open any more."""
        device = DEVICES["keys"]
        self.opened["recovery", "keys"] = self.guest.run(OPEN_BY_KEY.format(device, "keys", self.recovery), SLOW)
        self.guest.check(f"disk={device}; PASSWORD={self.recovery}; export disk PASSWORD; {BIND_AGAIN}", SLOW)
        self.open("bound again")

    def bind(self, name):
        self.guest.check(BIND.format(DEVICES[name], DISKS[name]), SLOW)

    def read_revocations(self):
        """The variables, with their four bytes of attributes, and what the guard makes of them."""
        self.guest.run("kmodkeep guard", SLOW)
        self.state = json.loads(self.guest.check("cat /var/lib/kmodkeep/state.json"))
        self.variables = {
            name: base64.b64decode(self.guest.check(
                VARIABLE.format(f"/sys/firmware/efi/efivars/{name}-{guid}")))
            for name, guid in REVOCATIONS.items()
        }  # fmt: skip

    def look(self, when):
        self.status[when] = self.guest.run("kmodkeep status", SLOW).output
        answer = self.guest.run("kmodkeep doctor --json", SLOW).output
        self.doctor[when] = json.loads(answer)["tpm_warning"]
        self.pcrs[when] = self.guest.check(PCRS).split()

    def open(self, when):
        for name, device in DEVICES.items():
            self.guest.run(f"cryptsetup close {name}")
            self.opened[when, name] = self.guest.run(OPEN.format(device, name), SLOW)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    with Tpm() as tpm:
        return Story(tmp_path_factory.mktemp("tpm"), tpm).run()


def test_enrolment_changes_the_register_of_the_keys_alone(story):
    before, after = story.pcrs["both bound"], story.pcrs["enrolled"]
    assert all(re.fullmatch("[0-9A-F]{64}", pcr) for pcr in before + after)
    assert before[0] == after[0], "PCR 7"
    assert before[1] != after[1], "PCR 14"


def test_disk_bound_to_it_no_longer_opens(story):
    opened = {key: result.status for key, result in story.opened.items()}
    assert opened["before", "keys"] == 0 and opened["before", "policy"] == 0, story.opened
    assert opened["after", "policy"] == 0, story.opened
    assert opened["after", "keys"] != 0


def test_recipe_opens_it_and_binds_it_again(story):
    assert AT_THE_MENU.startswith("# reboot, Enroll MOK")
    assert story.opened["recovery", "keys"].status == 0, story.opened["recovery", "keys"].output
    assert story.opened["bound again", "keys"].status == 0, story.opened["bound again", "keys"].output


def test_enrolment_warns_of_that_disk(story):
    assert "kmodkeep: warning: the TPM unlocks keys (systemd-tpm2) by PCR 14" in story.enrolled
    assert "policy" not in story.enrolled


def test_status_does_so_where_there_is_a_binding_and_nowhere_else(story):
    assert "Encryption" not in story.status["unbound"]
    assert "Encryption" not in story.status["policy bound"]
    page = " ".join(story.status["both bound"].split())
    assert "Encryption the TPM unlocks keys (systemd-tpm2) by PCR 14, which changes" in page


def test_doctor_tells_programs(story):
    assert story.doctor["unbound"] is None and story.doctor["policy bound"] is None
    assert story.doctor["both bound"].startswith("the TPM unlocks keys (systemd-tpm2) by PCR 14")


def test_read_only_variables_are_named(story):
    assert story.refused.status == 1
    assert "/sys/firmware/efi/efivars is mounted read-only" in story.refused.output
    assert "Next: mount -o remount,rw /sys/firmware/efi/efivars" in story.refused.output


def test_level_of_sbat_is_among_the_revocations(story):
    """That of the shim that booted; its change ends a pin (see the guard's unit tests)."""
    assert story.variables["SbatLevelRT"][4:].startswith(b"sbat,1,20")
    sha = hashlib.sha256()
    for name, content in story.variables.items():
        sha.update(name.encode() + content[4:] if content else b"")
    assert [b["revocations"] for b in story.state["booted"]] == [sha.hexdigest()]
