# SPDX-License-Identifier: GPL-2.0-or-later
"""A host's disk in another machine; the keys of the first are put into its variable store.

The host makes its key, which is enrolled while the machine is off, by `kmodkeep key enroll
--via varstore`, with that of a token.  Its disk is then started in two more machines: with a
firmware that has seen neither key, and with a copy of the first one's variables.  Each has a
machine-id of its own, as systemd gives one to an image.  The first goes the way of the recipe
for it in docs/signing.md.  At each step modules are offered that the host's key, the token,
the token and another key, and that other key alone have signed.

Boots by firmware take long under emulation, so only FULL=1 has it done, or K=6.1, which
chooses the kernels.
"""

import base64
import json
import os
import shutil
import subprocess

import pytest

from tests.lib.roots import Clone
from tests.packaging.test_tokens import MAKE, SUITE, URI
from tests.qemu import mokmanager
from tests.qemu.secureboot import BOOT_TIMEOUT
from tests.qemu.smallguest import small_guest
from tests.secureboot import cells
from tests.secureboot.chain import PASSWORD, SLOW, TOP, _packages
from tests.secureboot.test_table import _module
from tests.unit.kmodkeep.test_recipes import RECIPES

SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    ["6.1"] if os.environ.get("FULL") else [])  # fmt: skip

# What a host has on its disk is in /state, which is kept over a reboot.
INSTALLED = "/state/installed.ko"
LOAD = "insmod {}; code=$?; rmmod table 2>/dev/null; exit $code"
MODULES = {"installed": INSTALLED, **{n: f"/modules/{n}.ko" for n in ("token", "twice", "stranger")}}
BEGIN, AT_THE_MENU, FINISH, RETIRE = RECIPES["The disk was cloned"]
ANOTHER = "was made on another machine"


class Workshop:
    """A machine that holds a token, and that runs virtual ones: it has the packages under test."""

    def __init__(self, clone, workdir):
        self.clone = clone
        command = [TOP / "debian/build-packages", "--output", workdir, SUITE]
        debs = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        [deb] = [path for path in debs if "/kmodkeep_" in path]
        shutil.copy(deb, clone.path / "tmp")
        clone.run("apt-get -qq update && apt-get install -qy --no-install-recommends "
                  "/tmp/kmodkeep_*.deb softhsm2 pkcs11-provider python3-virt-firmware")  # fmt: skip
        clone.run(MAKE)

    def modules(self, module, stranger):
        """MODULE as the token signs it, alone and beside the key STRANGER, and as that signs it."""
        by_token = f"kmodkeep sign --key '{URI}' --cert file.der --pin-file pin"
        by_stranger = "kmodkeep sign --key stranger.key --cert stranger.der"
        srv = self.clone.path / "srv"
        shutil.copy(stranger.key, srv / "stranger.key")
        (srv / "stranger.key").chmod(0o600)
        (srv / "stranger.der").write_bytes(stranger.der)
        for name in ("token", "twice", "stranger"):
            (srv / f"{name}.ko").write_bytes(module)
        self.clone.run(f"cd /srv && {by_token} token.ko && {by_stranger} stranger.ko && "
                       f"{by_stranger} twice.ko && {by_token} --add twice.ko")  # fmt: skip
        return {f"modules/{name}.ko": (srv / f"{name}.ko").read_bytes() for name in ("token", "twice", "stranger")}

    def enrol(self, store, certificate):
        """Put CERTIFICATE and that of the token into the variable store STORE; what was said."""
        srv = self.clone.path / "srv"
        shutil.copy(store, srv / "store.fd")
        (srv / "host.der").write_bytes(certificate)
        said = [self.clone.run(f"kmodkeep key enroll --via varstore /srv/store.fd --cert /srv/{name}.der").stdout
                for name in ("host", "file")]  # fmt: skip
        shutil.copy(srv / "store.fd", store)
        return said


class Story:
    """The record of one host and its copies on kernel NAME."""

    def __init__(self, name, workdir):
        self.name, self.workdir = name, workdir
        self.said, self.loads, self.predicted = {}, {}, {}

    def run(self):
        module = _module(self.name, self.workdir)
        with Clone(SUITE) as clone:
            workshop = Workshop(clone, self.workdir / "workshop")
            self.files = workshop.modules(module, cells.make_key(self.workdir, "unknown"))
            self.files["modules/plain.ko"] = module
            state, store, certificate = self.first_boot()
            self.said["enrol"] = workshop.enrol(store, certificate)
        with self.machine("enrolled", state, store):
            self.look("enrolled")
        with self.machine("strange", self.cloned(state)):
            self.look("strange")
            self.ask_all("strange")
            self.follow_the_recipe()
        with self.machine("with its variables", self.cloned(state), store):
            self.look("with its variables")
            self.ask_all("with its variables")
        return self

    def machine(self, name, state=None, store=None):
        """A machine that has the disk STATE and the variables STORE; by default new ones."""
        workdir = self.workdir / name.replace(" ", "-")
        self.guest = small_guest(self.name, workdir, _packages(self.workdir / "debs"), files=self.files)
        if state:
            shutil.copyfile(state, workdir / "state.img")
        if store:
            shutil.copyfile(store, workdir / "efivars.fd")
        return self.guest

    def first_boot(self):
        """The host makes its key; (its disk, its variables, the certificate)."""
        with self.machine("first") as guest:
            guest.wait_shell()
            guest.check("kmodkeep key create", SLOW)
            guest.check(f"cp /modules/plain.ko {INSTALLED}; kmodkeep sign {INSTALLED}", SLOW)
            self.look("first")
            certificate = base64.b64decode(guest.check("base64 /var/lib/kmodkeep/keys/signing.der"))
            guest.check("umount /var/lib/kmodkeep /state")
        return guest.workdir / "state.img", guest.workdir / "efivars.fd", certificate

    def cloned(self, state):
        """A copy of the disk STATE, which starts with another machine-id."""
        copy = self.workdir / "cloned.img"
        shutil.copyfile(state, copy)
        said = subprocess.run(["debugfs", "-w", "-R", "rm /machine-id", copy], check=True, capture_output=True, text=True)
        assert ":" not in said.stderr, said.stderr  # beside its version
        return copy

    def look(self, when):
        if when != "first":
            self.guest.wait_shell()
        document = json.loads(self.guest.run(f"kmodkeep verify --json {' '.join(MODULES.values())}", SLOW).output)
        self.predicted[when] = {name: result["verdict"] for name, result in zip(MODULES, document["results"])}
        self.loads[when] = {name: self.guest.run(LOAD.format(path), SLOW).status == 0 for name, path in MODULES.items()}

    def ask_all(self, when):
        """What would use the key, or have it enrolled, in a machine that it is not of."""
        for verb in (f"sign {INSTALLED}", "key enroll", "key status"):
            self.said[when, verb] = self.guest.run(f"kmodkeep {verb}", SLOW)

    def follow_the_recipe(self):
        installed = "/lib/modules/$(uname -r)/updates/table.ko"
        bring = f"mkdir -p $(dirname {installed}); cp {INSTALLED} {installed}; depmod"
        self.guest.check(bring)
        self.guest.check(f"echo {PASSWORD} | {BEGIN} --password-stdin", SLOW)
        self.guest.check(f"cp {installed} {INSTALLED}; sync")
        self.guest.reboot()
        mokmanager.Screens(self.guest, self.guest.workdir).perform("Enroll MOK", "Enroll the key", PASSWORD, BOOT_TIMEOUT)
        self.guest.wait_shell()
        self.guest.check(bring)
        self.guest.check(FINISH, SLOW)
        self.guest.check(RETIRE, SLOW)
        self.guest.check(f"cp {installed} {INSTALLED}")
        self.look("recipe")
        self.said["status"] = self.guest.check("kmodkeep key status", SLOW)


if SELECTED:

    @pytest.fixture(scope="module", params=SELECTED)
    def story(request, tmp_path_factory):
        return Story(request.param, tmp_path_factory.mktemp(f"clone-{request.param}-")).run()

    NOTHING = dict.fromkeys(MODULES, False)
    EXPECTED = {"first": NOTHING, "enrolled": {**NOTHING, "installed": True, "token": True, "twice": True},
                "strange": NOTHING, "recipe": {**NOTHING, "installed": True}}  # fmt: skip
    EXPECTED["with its variables"] = EXPECTED["enrolled"]

    @pytest.mark.parametrize("when", EXPECTED)
    def test_loads_what_an_enrolled_key_has_signed_and_nothing_else(story, when):
        """By one of two signers, too: the other of "twice" is a stranger everywhere."""
        assert story.loads[when] == EXPECTED[when]

    @pytest.mark.parametrize("when", EXPECTED)
    def test_it_was_predicted(story, when):
        assert story.predicted[when] == {name: "ok" if loads else "untrusted-key" for name, loads in EXPECTED[when].items()}

    def test_store_has_both_keys(story):
        assert all("is enrolled in /srv/store.fd" in said for said in story.said["enrol"]), story.said["enrol"]

    @pytest.mark.parametrize("when", ["strange", "with its variables"])
    def test_key_is_of_no_use_in_another_machine(story, when):
        """Also where the firmware trusts it: whoever has the first disk could sign for this one."""
        for (where, verb), result in ((k, v) for k, v in story.said.items() if isinstance(k, tuple)):
            if where == when:
                assert result.status == 1 and ANOTHER in result.output, (verb, result)

    def test_recipe_ends_with_a_key_of_its_own(story):
        assert AT_THE_MENU == "# reboot, Enroll MOK"
        assert "Enrolment:    enrolled" in story.said["status"], story.said["status"]
