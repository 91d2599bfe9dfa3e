# SPDX-License-Identifier: GPL-2.0-or-later
"""An enrolment that does not come about: what is said after each way in which that happens.

A person at the console says no, types a wrong password as often as MokManager lets them,
leaves its menu at once, or is not there; or the request is withdrawn before the reboot.  Each
time the key is not trusted, what it signed is refused, and the step that is advised leads to
an enrolment.  A firmware that loses its list of keys afterwards is another story, in which
nobody has declined anything.

FULL=1 takes all ways, and goes on to the enrolment; else it is the first alone.  K=6.12
chooses the kernel.
"""

import json
import os

import pytest

from tests.lib.kernels import kernel
from tests.qemu import mokmanager
from tests.qemu.secureboot import BOOT_TIMEOUT
from tests.qemu.smallguest import small_guest
from tests.secureboot.chain import PASSWORD, SLOW, _packages
from tests.secureboot.test_table import _module

KERNEL = os.environ.get("K", "6.1").split(",")[0]
FULL = bool(os.environ.get("FULL"))
REQUEST = ("Enroll MOK", "Enroll the key")
MODULE = "/lib/modules/$(uname -r)/updates/table.ko"
LOAD = f"insmod {MODULE}; code=$?; rmmod table 2>/dev/null; exit $code"
ASK = f"echo {PASSWORD} | kmodkeep key enroll --password-stdin"

# What a person does between the request and the next boot's shell.
WAYS = {
    "declined": lambda screens: screens.decline(*REQUEST, BOOT_TIMEOUT),
    "mistyped": lambda screens: screens.mistype(*REQUEST, PASSWORD[::-1], BOOT_TIMEOUT),
    "left": lambda screens: screens.leave(BOOT_TIMEOUT),
    "unanswered": lambda screens: None,
    "withdrawn": lambda screens: None,
}
CHOSEN = list(WAYS) if FULL else ["declined"]


class Story:
    """What was said after each way: {way: {word: output}}."""

    def __init__(self, workdir):
        release = kernel(KERNEL).release
        self.guest = small_guest(KERNEL, workdir, _packages(workdir / "debs"), files={
            f"lib/modules/{release}/updates/table.ko": _module(KERNEL, workdir)})  # fmt: skip
        self.workdir, self.said = workdir, {}

    def run(self):
        with self.guest as guest:
            guest.wait_shell()
            guest.check("kmodkeep key create", SLOW)
            for way in CHOSEN:
                guest.check(f"{ASK} --again" if self.said else ASK, SLOW)
                if way == "withdrawn":
                    guest.check("mokutil --revoke-import", SLOW)
                guest.reboot()
                WAYS[way](mokmanager.Screens(guest, self.workdir / way))
                guest.wait_shell()
                self.look(way)
            if FULL:
                self.be_enrolled()
                self.lose_the_keys()
        return self

    def look(self, when):
        """What the host says of itself, and what becomes of a module that its key signed."""
        def json_of(command):
            return json.loads(self.guest.run(f"{command} 2>/dev/null", SLOW).output)

        self.guest.check(f"kmodkeep sign {MODULE} && depmod", SLOW)
        [finding] = json_of("kmodkeep doctor --json --module table --kernel $(uname -r)")["findings"]
        self.said[when] = {
            "status": json_of("kmodkeep key status --json"),
            "finding": finding,
            "guard": self.guest.run("kmodkeep guard", SLOW).output,
            "loads": self.guest.run(LOAD).status == 0,
            "request": self.guest.run("test -e /sys/firmware/efi/efivars/MokNew-*").status == 0,
        }  # fmt: skip
        if self.said[when]["status"]["enrolment"] == "declined":
            self.said[when]["asked plainly"] = self.guest.run(ASK, SLOW)

    def be_enrolled(self):
        self.guest.check(f"{ASK} --again", SLOW)
        self.guest.reboot()
        mokmanager.Screens(self.guest, self.workdir / "enrolled").perform(*REQUEST, PASSWORD, BOOT_TIMEOUT)
        self.guest.wait_shell()
        self.look("enrolled")

    def lose_the_keys(self):
        """The list is emptied, as by a reset of the firmware; the guard has seen the key in it."""
        self.guest.check(f"printf '{PASSWORD}\\n{PASSWORD}\\n' | mokutil --reset", SLOW)
        self.guest.reboot()
        mokmanager.Screens(self.guest, self.workdir / "lost").erase(PASSWORD, BOOT_TIMEOUT)
        self.guest.wait_shell()
        self.look("lost")
        self.said["lost"]["asked plainly"] = self.guest.run(ASK, SLOW)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    return Story(tmp_path_factory.mktemp("declined")).run()


@pytest.mark.parametrize("way", CHOSEN)
def test_key_is_not_trusted_and_the_request_is_gone(story, way):
    said = story.said[way]
    assert not said["loads"] and not said["request"]
    assert said["finding"]["verdict"] == "untrusted-key"


@pytest.mark.parametrize("way", CHOSEN)
def test_all_say_the_step_that_helps(story, way):
    said = story.said[way]
    assert said["status"]["enrolment"] == "declined"
    assert said["status"]["next_step"] == "kmodkeep key enroll --again"
    assert said["finding"]["next_step"].endswith("kmodkeep key enroll --again"), said["finding"]
    assert "asked for, and not confirmed at the boot menu" in said["finding"]["message"]
    assert "next boot safe" not in said["guard"], said["guard"]


@pytest.mark.parametrize("way", CHOSEN)
def test_nobody_asks_again_but_who_is_told_to(story, way):
    plainly = story.said[way]["asked plainly"]
    assert plainly.status == 1
    assert "Next: kmodkeep key enroll --again" in plainly.output


if FULL:

    def test_the_step_leads_to_an_enrolment(story):
        said = story.said["enrolled"]
        assert said["loads"] and said["status"]["enrolment"] == "enrolled"
        assert said["status"]["next_step"] is None and said["finding"]["verdict"] == "ok"

    def test_key_that_is_lost_later_was_not_declined(story):
        said = story.said["lost"]
        assert not said["loads"] and said["status"]["enrolment"] == "not-enrolled"
        assert said["status"]["next_step"] == "kmodkeep key enroll"
        assert said["finding"]["next_step"] == "enrol this host's key: kmodkeep key enroll"
        assert said["asked plainly"].status == 0, said["asked plainly"].output
