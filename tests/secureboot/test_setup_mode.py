# SPDX-License-Identifier: GPL-2.0-or-later
"""A key enrolled in firmware without a platform key: no password, no menu, nobody at the console.

The guest starts with the vendor's lists and without PK, as after "delete PK" in the
firmware's set-up.  kmodkeep ends Setup Mode; after the reboot Secure Boot is on, shim and
GRUB start as before, and the kernel takes the module that the key has signed and no other.
A kernel signed with that key alone is then started by the firmware itself: what a key in
db means, whatever its usage.

Boots by firmware take a minute each under emulation, so only FULL=1 has it done, or
K=6.1,6.12, which chooses the kernels.
"""

import os
import shutil

import pytest

from tests.qemu import esp, variables
from tests.qemu.secureboot import BOOT_TIMEOUT, FIXED, SecureBootGuest
from tests.qemu.smallguest import small_guest
from tests.secureboot import cells
from tests.secureboot.chain import SLOW, _packages
from tests.secureboot.test_own_kernel import signed_kernel
from tests.secureboot.test_table import _module

SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    ["6.1", "6.12"] if os.environ.get("FULL") else [])  # fmt: skip

ENROLL = "kmodkeep key enroll --via setup-mode --cert /keys/good.der"
LOAD = "insmod /modules/{}.ko; code=$?; rmmod table 2>/dev/null; exit $code"
STARTED, REFUSED = b"EFI stub:", b"Access Denied"


class Story:
    """The record of one run on kernel NAME."""

    def __init__(self, name, workdir):
        self.name, self.workdir = name, workdir
        self.keys = {n: cells.make_key(workdir, n) for n in ("good", "unknown")}
        self.said, self.loads, self.status, self.lists = {}, {}, {}, {}

    def run(self):
        module = _module(self.name, self.workdir)
        files = {f"modules/{name}.ko": cells.appended(module, cells.cms(module, [key]))
                 for name, key in self.keys.items()}  # fmt: skip
        files["modules/unsigned.ko"] = module
        files["keys/good.der"] = self.keys["good"].der
        guest = small_guest(self.name, self.workdir, _packages(self.workdir / "debs"), files=files)
        self.store = self.workdir / "efivars.fd"
        variables.delete(self.store, "PK")
        with guest:
            self.guest = guest
            guest.wait_shell()
            self.see("before")
            for words in ("", " --dry-run", " --force --dry-run"):
                self.said[words] = guest.run(ENROLL + words, SLOW)
            self.see("dry run")
            self.said["enrol"] = guest.run(f"{ENROLL} --force", SLOW)
            self.said["again"] = guest.run(f"{ENROLL} --force", SLOW)
            guest.reboot()
            guest.wait_until(lambda: guest.console.path.read_bytes().count(b"Linux version") > 1,
                             BOOT_TIMEOUT, "the second boot")  # fmt: skip
            guest.wait_shell()
            self.see("after")
            self.rings = guest.check("cat /proc/keys")
            self.clone()
        return self

    def see(self, when):
        self.loads[when] = {name: self.guest.run(LOAD.format(name), SLOW).status == 0
                            for name in ("good", "unknown", "unsigned")}  # fmt: skip
        self.status[when] = self.guest.run("kmodkeep key status --cert /keys/good.der", SLOW).output
        self.lists[when] = self.guest.check(
            "cd /sys/firmware/efi/efivars; for v in PK KEK db dbx; do [ ! -e $v-* ] || stat -c '%n %s' $v-*; done")

    def clone(self):
        """The same disk in another machine: the key that was made here is not that one's."""
        self.guest.check("kmodkeep key create", SLOW)
        self.guest.check("cp /modules/unsigned.ko /state/mine.ko; kmodkeep sign /state/mine.ko", SLOW)
        self.guest.check("echo fedcba9876543210fedcba9876543210 >/etc/machine-id")
        for verb in ("sign /state/mine.ko", "key enroll", "key status"):
            self.said[verb] = self.guest.run(f"kmodkeep {verb}", SLOW)


def outcome(story, key, workdir):
    """What the firmware makes of a kernel that KEY has signed, in place of shim: STARTED or REFUSED."""
    image = signed_kernel(workdir, key)
    disk = workdir / "boot.img"
    size = len(image) // esp.MIB + 40
    esp.partition(disk, size + 2, size)
    esp.write(disk, size, {"EFI/BOOT/BOOTX64.EFI": image})
    guest = SecureBootGuest([(disk, FIXED)], workdir, name="db-kernel", memory="1G", cpus=1)
    shutil.copyfile(story.store, workdir / "efivars.fd")

    def seen():
        console = guest.console.path.read_bytes()
        return next((text for text in (STARTED, REFUSED) if text in console), None)

    with guest:
        return guest.wait_until(seen, BOOT_TIMEOUT, "the kernel's first words, or the firmware's refusal")


if SELECTED:

    @pytest.fixture(scope="module", params=SELECTED)
    def story(request, tmp_path_factory):
        return Story(request.param, tmp_path_factory.mktemp(f"setup-{request.param}-")).run()

    def test_secure_boot_is_on_and_the_key_alone_is_trusted(story):
        assert all(story.loads["before"].values()) and story.loads["dry run"] == story.loads["before"]
        assert story.loads["after"] == {"good": True, "unknown": False, "unsigned": False}
        assert "Secure Boot:  off" in story.status["before"]
        assert "Secure Boot:  on" in story.status["after"] and "Enrolment:    enrolled" in story.status["after"]

    def test_the_kernel_has_it_among_its_keys(story):
        assert "asymmetri" in next(line for line in story.rings.splitlines() if "table good" in line)

    def test_refused_until_it_is_known_what_starts_and_a_dry_run_writes_nothing(story):
        for words in ("", " --dry-run"):
            assert story.said[words].status == 3 and "would still start" in story.said[words].output
        dry = story.said[" --force --dry-run"]
        assert dry.status == 0 and "db   2 entries that are kept, and this key" in dry.output, dry.output
        assert story.lists["dry run"] == story.lists["before"] and "PK-" not in story.lists["before"]

    def test_vendors_lists_are_kept(story):
        before, after = (dict(line.split() for line in story.lists[when].splitlines()) for when in ("before", "after"))
        assert {name.split("-")[0] for name in after} - {name.split("-")[0] for name in before} == {"PK"}
        for name, size in before.items():
            grown = int(after[name]) - int(size)
            assert grown > 0 if name.startswith("db-") else grown == 0, name

    def test_once_is_enough(story):
        assert story.said["enrol"].status == 0, story.said["enrol"].output
        assert story.said["again"].status == 0 and "is in the firmware's list db" in story.said["again"].output

    def test_image_in_another_machine(story):
        for verb in ("sign /state/mine.ko", "key enroll", "key status"):
            assert story.said[verb].status == 1, story.said[verb]
            assert "another machine" in story.said[verb].output or "machine-id" in story.said[verb].output

    @pytest.mark.parametrize("name, expected", [("good", STARTED), ("unknown", REFUSED)])
    def test_firmware_starts_what_a_key_in_db_has_signed(story, name, expected, tmp_path):
        """The key is for modules only, which shim minds and the firmware does not."""
        assert outcome(story, story.keys[name], tmp_path) == expected
