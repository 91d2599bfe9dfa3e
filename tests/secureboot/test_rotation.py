# SPDX-License-Identifier: GPL-2.0-or-later
"""A host changes its signing key under Secure Boot, and what its kernel loads at each step.

Four boots and three passes through MokManager: the first key is enrolled, the second
is enrolled beside it, the first is deleted.  At each step the module is offered as the
old key alone, both keys and the new key alone have signed it: what should load loads,
and what should not is refused.

K=6.1,7.2 chooses the kernels, FULL=1 takes all of them.
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

SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    ["5.10", "6.1", "6.12", "7.2"] if os.environ.get("FULL") else ["6.1"])

# What a host has on its disk lies in the initramfs here: it is kept over a reboot.
KEEP = "cp /lib/modules/$(uname -r)/updates/table.ko /state/installed.ko; sync"
BRING = "cp /state/installed.ko /lib/modules/$(uname -r)/updates/table.ko"
LOAD = "insmod {}; code=$?; rmmod table 2>/dev/null; exit $code"
VARIANTS = ("old", "both", "new")


class Rotation:
    """The record of one run on kernel NAME."""

    def __init__(self, name, workdir):
        self.name, self.workdir = name, workdir
        self.loads = {}  # step -> {variant or "installed": bool}
        self.said = {}  # step -> output of the verb
        self.status = {}  # step -> key rotate status

    def run(self):
        release = kernel(self.name).release
        files = {f"lib/modules/{release}/updates/table.ko": _module(self.name, self.workdir)}
        with small_guest(self.name, self.workdir, _packages(self.workdir / "debs"), files=files) as guest:
            self.guest = guest
            guest.wait_shell()
            self._first_boot()
            self._reboot("Enroll MOK", "Enroll the key")
            self._second_boot()
            self._reboot("Enroll MOK", "Enroll the key")
            self._third_boot()
            self._reboot("Delete MOK", "Delete the key")
            self._last_boot()
        return self

    def _check(self, command):
        return self.guest.check(command, SLOW)

    def _reboot(self, request, question):
        self._check(KEEP)
        self.guest.reboot()
        screens = mokmanager.Screens(self.guest, self.workdir)
        screens.perform(request, question, PASSWORD, BOOT_TIMEOUT)
        self.guest.wait_shell()
        self._check(BRING)

    def _see(self, step):
        """What loads now of the installed module and of each variant that there is."""
        seen = {}
        for name in ("installed", *VARIANTS):
            path = "/lib/modules/$(uname -r)/updates/table.ko" if name == "installed" else f"/state/{name}.ko"
            if name == "installed" or self.guest.run(f"test -e {path}").status == 0:
                seen[name] = self.guest.run(LOAD.format(path)).status == 0
        self.loads[step] = seen
        answer = self.guest.run("kmodkeep key rotate status --json", SLOW)
        self.status[step] = json.loads(answer.output)

    def _first_boot(self):
        self._check("cp /lib/modules/$(uname -r)/updates/table.ko /state/plain.ko")
        self._check("kmodkeep key create")
        self._check("kmodkeep sign /lib/modules/$(uname -r)/updates/table.ko")
        self._check("cp /lib/modules/$(uname -r)/updates/table.ko /state/old.ko")
        self._see("not enrolled")
        self._check(f"echo {PASSWORD} | kmodkeep key enroll --password-stdin")

    def _second_boot(self):
        self._see("old enrolled")
        self.said["begin"] = self._check(f"echo {PASSWORD} | kmodkeep key rotate begin --password-stdin")
        self._check("cp /lib/modules/$(uname -r)/updates/table.ko /state/both.ko")
        self._check("cp /state/plain.ko /state/new.ko; k=/var/lib/kmodkeep/keys.next; "
                    "kmodkeep sign --key $k/signing.key --cert $k/signing.der /state/new.ko")
        self._see("begun")
        self.said["too early"] = self.guest.run("kmodkeep key rotate finish", SLOW).output

    def _third_boot(self):
        self._see("both enrolled")
        self.said["finish"] = self._check("kmodkeep key rotate finish")
        self._see("switched")
        old = "/var/lib/kmodkeep/keys.old/signing.der"
        self.said["revoke"] = self._check(
            f"echo {PASSWORD} | kmodkeep key revoke --cert {old} --password-stdin")  # fmt: skip

    def _last_boot(self):
        self._see("old deleted")
        self.said["end"] = self._check("kmodkeep key rotate finish")
        self.said["retire"] = self._check("kmodkeep key retire")
        self.said["left"] = self._check("ls /var/lib/kmodkeep")


@pytest.fixture(scope="module", params=SELECTED)
def rotation(request, tmp_path_factory):
    """The record of one host, made once for each kernel."""
    return Rotation(request.param, tmp_path_factory.mktemp(f"rotation-{request.param}-")).run()


def test_installed_module_loads_from_the_enrolment_on(rotation):
    loads = {step: seen["installed"] for step, seen in rotation.loads.items()}
    assert loads.pop("not enrolled") is False
    assert len(loads) == 5 and all(loads.values()), loads


def test_each_variant_loads_only_where_a_signer_is_trusted(rotation):
    expected = {
        "not enrolled": {"old": False},
        "old enrolled": {"old": True},
        "begun": {"old": True, "both": True, "new": False},
        "both enrolled": {"old": True, "both": True, "new": True},
        "switched": {"old": True, "both": True, "new": True},
        "old deleted": {"old": False, "both": True, "new": True},
    }
    for step, variants in expected.items():
        seen = {name: loaded for name, loaded in rotation.loads[step].items() if name != "installed"}
        assert seen == variants, step


def test_status_follows(rotation):
    phases = [rotation.status[step]["phase"] for step in rotation.loads]
    assert phases == ["none", "none", "both", "both", "new", "new"]
    assert rotation.status["both enrolled"]["new"]["enrolment"] == "enrolled"
    assert rotation.status["both enrolled"]["next_step"] == "kmodkeep key rotate finish"
    assert rotation.status["old deleted"]["old"]["enrolment"] == "not-enrolled"


def test_nothing_is_taken_away_too_early(rotation):
    assert "the new key is not enrolled" in rotation.said["too early"]


def test_it_comes_to_its_end(rotation):
    assert "signs alone" in rotation.said["end"] and "was destroyed" in rotation.said["retire"]
    assert "keys.old" not in rotation.said["left"] and "keys\n" in rotation.said["left"] + "\n"
