# SPDX-License-Identifier: GPL-2.0-or-later
"""A host changes its signing key under Secure Boot, and what its kernel loads at each step.

Four boots and three passes through MokManager: the first key is enrolled, the second
is enrolled beside it, the first is deleted.  At each step the module is offered as the
old key alone, both keys and the new key alone have signed it: what should load loads,
and what should not is refused.

With FULL=1 each step is killed before, as soon as this or that of what it does is seen: the
installed module loads then, too, and the same step again brings it to its end.

K=6.1,7.2 chooses the kernels, FULL=1 takes all of them.
"""

import base64
import json
import os

import pytest

from tests.lib.kernels import kernel
from tests.qemu import mokmanager, variables
from tests.qemu.secureboot import BOOT_TIMEOUT
from tests.qemu.smallguest import small_guest
from tests.secureboot.chain import PASSWORD, SLOW, _packages
from tests.secureboot.test_table import _module

SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    ["5.10", "6.1", "6.12", "7.2"] if os.environ.get("FULL") else ["6.1"])

# What a host has on its disk lies in the initramfs here: it is kept over a reboot.
KEEP = "cp /lib/modules/$(uname -r)/updates/table.ko /state/installed.ko; sync"
BRING = "cp /state/installed.ko /lib/modules/$(uname -r)/updates/table.ko"
INSTALLED = "/lib/modules/$(uname -r)/updates/table.ko"
LOAD = "insmod {}; code=$?; rmmod table 2>/dev/null; exit $code"
VARIANTS = ("old", "both", "new")

# step -> what is seen of it, as a test of dash; then the whole session is killed. It ends without
# that if the step does: nothing here waits for what may not come.
STATE = "/var/lib/kmodkeep"
SIGNED_ANEW = f"{INSTALLED} -nt /run/begun"
KILLS = {
    "rotate begin": {"the new pair": f"-e {STATE}/keys.next", "the record": f"-e {STATE}/rotation.json",
                     "a module": SIGNED_ANEW, "the request": "-e /sys/firmware/efi/efivars/MokNew-*"},
    "rotate finish": {"the record": f"{STATE}/rotation.json -nt /run/begun", "a module": SIGNED_ANEW,
                      "the old pair": f"-e {STATE}/keys.old"},
    "revoke": {"the request": "-e /sys/firmware/efi/efivars/MokDel-*"},
}  # fmt: skip
# A process that has ended is asked by a file, not by kill -0: nobody reaps orphans here while a
# command runs, and what is not reaped can be signalled for ever.
KILL = """
    rm -f /run/session /run/ended
    : >/run/begun
    echo {password} >/run/password
    setsid sh -c 'echo $$ >/run/session.new; mv /run/session.new /run/session
                  kmodkeep key {step}; : >/run/ended' </run/password >/run/killed.said 2>&1 &
    until [ -e /run/session ]; do :; done
    read session </run/session
    until [ {seen} ] || [ -e /run/ended ]; do :; done
    if [ ! -e /run/ended ]; then echo killed; kill -9 -$session; fi
    wait || :
"""


class Rotation:
    """The record of one run on kernel NAME."""

    def __init__(self, name, workdir):
        self.name, self.workdir = name, workdir
        self.loads = {}  # step -> {variant or "installed": bool}
        self.said = {}  # step -> output of the verb
        self.status = {}  # step -> key rotate status
        self.killed = {}  # (step, what was seen of it) -> (was it, does the installed module load)

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
            path = INSTALLED if name == "installed" else f"/state/{name}.ko"
            if name == "installed" or self.guest.run(f"test -e {path}").status == 0:
                seen[name] = self.guest.run(LOAD.format(path)).status == 0
        self.loads[step] = seen
        answer = self.guest.run("kmodkeep key rotate status --json", SLOW)
        self.status[step] = json.loads(answer.output)

    def _kill(self, step, words=""):
        for what, seen in KILLS[step].items() if os.environ.get("FULL") else ():
            said = self.guest.run(KILL.format(step=f"{step} {words}", seen=seen, password=PASSWORD), SLOW).output
            self.killed[step, what] = "killed" in said, self.guest.run(LOAD.format(INSTALLED)).status == 0

    def _first_boot(self):
        self._check("cp /lib/modules/$(uname -r)/updates/table.ko /state/plain.ko")
        self._check("kmodkeep key create")
        self._check("kmodkeep sign /lib/modules/$(uname -r)/updates/table.ko")
        self._check("cp /lib/modules/$(uname -r)/updates/table.ko /state/old.ko")
        self._see("not enrolled")
        self._ask_by_half()
        self.said["half"] = json.loads(self.guest.run("kmodkeep key status --json", SLOW).output)["enrolment"]
        self._check(f"echo {PASSWORD} | kmodkeep key enroll --password-stdin")

    def _ask_by_half(self):
        """What a mokutil leaves that is killed before it writes the password: nobody can grant that."""
        certificate = base64.b64decode(self._check("base64 /var/lib/kmodkeep/keys/signing.der"))
        request = b"\7\0\0\0" + variables.signature_list(variables.X509, [certificate])
        self._check(f"echo {base64.b64encode(request).decode()} | base64 -d >/run/half; "
                    f"cat /run/half >/sys/firmware/efi/efivars/MokNew-{variables.SHIM}")

    def _second_boot(self):
        self._see("old enrolled")
        self._kill("rotate begin", "--password-stdin")
        self.said["begin"] = self._check(f"echo {PASSWORD} | kmodkeep key rotate begin --password-stdin")
        self._check("cp /lib/modules/$(uname -r)/updates/table.ko /state/both.ko")
        self._check("cp /state/plain.ko /state/new.ko; k=/var/lib/kmodkeep/keys.next; "
                    "kmodkeep sign --key $k/signing.key --cert $k/signing.der /state/new.ko")
        self._see("begun")
        self.said["too early"] = self.guest.run("kmodkeep key rotate finish", SLOW).output

    def _third_boot(self):
        self._see("both enrolled")
        self._kill("rotate finish")
        self.said["finish"] = self._check("kmodkeep key rotate finish")
        self._see("switched")
        old = "/var/lib/kmodkeep/keys.old/signing.der"
        self._kill("revoke", f"--cert {old} --password-stdin")
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


def test_half_a_request_is_asked_for_again(rotation):
    """It was enrolled then: see what loads."""
    assert rotation.said["half"] == "not-enrolled"


def test_nothing_is_taken_away_too_early(rotation):
    assert "the new key is not enrolled" in rotation.said["too early"]


def test_it_comes_to_its_end(rotation):
    assert "signs alone" in rotation.said["end"] and "was destroyed" in rotation.said["retire"]
    assert "keys.old" not in rotation.said["left"] and "keys\n" in rotation.said["left"] + "\n"


if os.environ.get("FULL"):

    def test_module_loads_wherever_a_step_was_killed(rotation):
        assert set(rotation.killed) == {(step, what) for step, seen in KILLS.items() for what in seen}
        assert all(loads for _, loads in rotation.killed.values()), rotation.killed
        for step in KILLS:
            assert any(was for (of, _), (was, _) in rotation.killed.items() if of == step), rotation.killed
