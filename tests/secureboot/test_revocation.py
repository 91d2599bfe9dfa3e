# SPDX-License-Identifier: GPL-2.0-or-later
"""A key that is revoked by shim's list MOKX, through MokManager: what is rejected then, and what is not.

The plan that kmodkeep prints before, what it predicts of each module after the reboot, and
what the kernel does are compared; docs/signing.md has the result.  In the same guest the
kernel is asked, as kexec -s does, to take kernels that each of the keys has signed: shim
minds the usage "module signing only", and kexec does not.

Boots by firmware take long under emulation, so only FULL=1 has it done, or K=6.1,6.12,
which chooses the kernels.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.lib.kernels import KERNELS, kernel
from tests.qemu import esp, mokmanager, variables
from tests.qemu.direct import compile_static
from tests.qemu.secureboot import BOOT_TIMEOUT, FIXED
from tests.qemu.smallguest import small_guest
from tests.secureboot import cells
from tests.secureboot.chain import PASSWORD, SLOW, TOP, _packages
from tests.secureboot.test_own_keys import RINGS, tools
from tests.secureboot.test_own_kernel import REFUSED, outcome, signed_kernel
from tests.secureboot.test_table import _module

SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    list(KERNELS) if os.environ.get("FULL") else [])  # fmt: skip

# The one for any code is revoked; the firmware's list dbx has another all the time.
ENROLLED = ("good", "any-usage", "barred")
MODULES = {"good": ["good"], "revoked": ["any-usage"], "both": ["good", "any-usage"], "barred": ["barred"],
           "unknown": ["unknown"]}  # fmt: skip
LOAD = "insmod /modules/{}.ko; code=$?; rmmod table 2>/dev/null; exit $code"
REVOKE = "kmodkeep key revoke --mokx --cert /keys/revoked.der"
ASK = f"echo {PASSWORD} | {REVOKE} --password-stdin"

# What kernels take from kexec -s: what any key has signed that they trust for modules,
# whatever its usage.
KEXEC = {"stock": True, "good": True, "any-usage": True, "barred": True, "unknown": False, "unsigned": False}


# The ring that has the enrolled keys, where it is not .machine, which came with 5.18.
RING = {"5.10": ".platform"}


class Story:
    """The record of two boots of kernel NAME, before and after the revocation."""

    def __init__(self, name, workdir):
        self.name, self.workdir = name, workdir
        self.keys = {n: cells.make_key(workdir, n) for n in (*ENROLLED, "unknown")}
        self.said, self.loads, self.predicted, self.taken, self.rings = {}, {}, {}, {}, {}

    def run(self):
        module = _module(self.name, self.workdir)
        files = {f"modules/{name}.ko": cells.appended(module, cells.cms(module, [self.keys[k] for k in keys]))
                 for name, keys in MODULES.items()}  # fmt: skip
        installed = f"lib/modules/{kernel(self.name).release}/updates/table.ko"
        files[installed] = files["modules/both.ko"]
        files["keys/revoked.der"] = self.keys["any-usage"].der
        files["usr/bin/keyctl"] = tools() / "bin/keyctl"
        files["usr/bin/kexec_file"] = compile_static([TOP / "tests/secureboot/kexec_file.c"], self.workdir / "kexec_file")
        guest = small_guest(self.name, self.workdir, _packages(self.workdir / "debs"), files=files,
                            more_disks=[self.kernels()])  # fmt: skip
        variables.add(self.workdir / "efivars.fd", "MokList", variables.signature_list(
            variables.X509, [self.keys[name].der for name in ENROLLED]))  # fmt: skip
        variables.extend(self.workdir / "efivars.fd", "dbx", variables.signature_list(
            variables.X509, [self.keys["barred"].der]))  # fmt: skip
        with guest:
            self.guest = guest
            guest.wait_shell()
            self.see("before")
            self.said["plan"] = guest.run(f"{REVOKE} --dry-run", SLOW)
            self.said["asked"] = guest.run(ASK, SLOW)
            self.said["waits"] = guest.run("kmodkeep key status --cert /keys/revoked.der", SLOW)
            guest.reboot()
            mokmanager.Screens(guest, self.workdir).perform("Enroll MOKX", "Enroll the key", PASSWORD, BOOT_TIMEOUT)
            guest.wait_shell()
            self.see("after")
            self.said["after"] = guest.run("kmodkeep key status --cert /keys/revoked.der", SLOW)
            self.said["again"] = guest.run(ASK, SLOW)
        return self

    def kernels(self):
        """A disk with kernels: as the distribution signed it, without a signature, by each key alone."""
        tree = self.workdir / "kernels"
        tree.mkdir()
        stock = kernel(self.name).vmlinuz
        shutil.copyfile(stock, tree / "stock")
        shutil.copyfile(stock, tree / "unsigned")
        subprocess.run(["sbattach", "--remove", tree / "unsigned"], check=True, capture_output=True)
        for name, key in self.keys.items():
            (tree / name).write_bytes(signed_kernel(self.workdir, key))
        disk = self.workdir / "kernels.img"
        esp.run("mkfs.ext4", "-q", "-d", tree, disk, "160M")
        shutil.rmtree(tree)
        return disk, FIXED

    def see(self, when):
        self.loads[when] = {name: self.guest.run(LOAD.format(name), SLOW).status == 0 for name in MODULES}
        paths = " ".join(f"/modules/{name}.ko" for name in MODULES)
        document = json.loads(self.guest.run(f"kmodkeep verify --json {paths}", SLOW).output)
        self.predicted[when] = {name: result["verdict"] for name, result in zip(MODULES, document["results"])}
        self.rings[when] = {ring: self.guest.run(f"keyctl list %:{ring}", SLOW).output for ring in RINGS}
        self.guest.check("mkdir -p /kernels; mount -t ext4 -o ro /dev/vdc /kernels")
        said = self.guest.check(f"cd /kernels; kexec_file {' '.join(KEXEC)}", SLOW)
        self.taken[when] = dict(re.findall(r"^(\S+)\t(.*)$", said, re.MULTILINE))


def taken(story, when):
    return {name: said == "taken" for name, said in story.taken[when].items()}


if SELECTED:

    @pytest.fixture(scope="module", params=SELECTED)
    def story(request, tmp_path_factory):
        return Story(request.param, tmp_path_factory.mktemp(f"revocation-{request.param}-")).run()

    def test_the_plan_says_what_this_kernel_makes_of_it(story):
        """None of Debian's looks there for keys of modules: nothing is promised."""
        plan = story.said["plan"]
        assert plan.status == 0, plan.output
        assert f"  {kernel(story.name).release}: nothing is rejected: this kernel does not look at that list" in plan.output

    def test_what_was_promised_is_what_comes(story):
        everything = {"good": True, "revoked": True, "both": True, "barred": True, "unknown": False}
        assert story.loads == {"before": everything, "after": everything}
        for when, verdicts in story.predicted.items():
            assert {name: verdict == "ok" for name, verdict in verdicts.items()} == everything, when

    def test_enrolled_keys_are_in_one_ring_also_after_a_revocation(story):
        for when, rings in story.rings.items():
            for name in ENROLLED:
                found = [ring for ring, keys in rings.items() if f"table {name}" in keys]
                assert found == [RING.get(story.name, ".machine")], (when, name, rings)

    def test_it_was_asked_for_and_is_seen_after_the_reboot(story):
        assert story.said["asked"].status == 0 and "Enroll MOKX" in story.said["asked"].output
        assert "to be revoked at the next boot" in story.said["waits"].output
        assert "in the list of revoked keys" in story.said["after"].output
        assert "is in the list of revoked keys" in story.said["again"].output

    def test_kexec_takes_what_any_enrolled_key_has_signed(story):
        """The usage "modules only" stops shim (test_own_kernel.py) and not this."""
        assert taken(story, "before") == KEXEC, story.taken
        assert taken(story, "after") == KEXEC, story.taken

    def test_shim_starts_no_kernel_by_a_revoked_key(story, tmp_path):
        """It does where that key is not revoked: test_own_kernel.py."""
        key = story.keys["any-usage"]
        assert outcome(tmp_path, signed_kernel(tmp_path, key), store=story.workdir / "efivars.fd") == REFUSED
