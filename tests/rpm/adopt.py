# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with drivers of others, which dkms has signed with a key of its own; kmodkeep comes last.

    python3 -m tests.rpm.adopt

RPM mechanics on Debian payload.  The drivers are the archive's, but for one that is made here,
and does not build on the newer kernel.  dkms's key is enrolled before the first boot.
"""

import secrets
import shutil
import subprocess
import sys
import tempfile

from tests.lib import apt
from tests.lib.cache import progress
from tests.proof import life
from tests.proof.guest import PATIENCE, load
from tests.proof.life import SUMS, at_work, compare, next_boot, predict, running
from tests.qemu import mokmanager, variables
from tests.qemu.esp import run
from tests.rpm import payload, system
from tests.rpm.guest import RpmGuest
from tests.rpm.story import PASSWORD_CHARACTERS, Story, expect, main

# Small drivers, of the suite where they build on both kernels.
SUITE = "sid"
DRIVERS = ("acpi-call", "bbswitch", "tp-smapi")

# And one more, which does not, but for its next version.
BROKEN = "acme"
DKMS_CONF = """\
PACKAGE_NAME="acme"
PACKAGE_VERSION="{0}"
BUILT_MODULE_NAME[0]="acme"
DEST_MODULE_LOCATION[0]="/extra"
AUTOINSTALL="yes"
"""
SOURCE = """\
#include <linux/module.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
{0}
#endif
MODULE_LICENSE("GPL");
MODULE_VERSION("{1}");
"""
REFUSES = "#error acme knows no such kernel"


def broken_driver(version, on_newer):
    """{name of a file: its text} of the source of the driver."""
    return {"dkms.conf": DKMS_CONF.format(version), "Makefile": "obj-m := acme.o\n",
            "acme.c": SOURCE.format(on_newer, version)}


class AdoptStory(Story):
    """What happens in GUEST, whose disk has the drivers."""

    def __init__(self, guest, out):
        super().__init__(guest, out)
        self.certificate = None  # of dkms's key, DER
        self.modules = set()  # of all drivers
        self.serving = set()  # those that load where they were built

    def stages(self):
        """All stages in their order: (name, function)."""
        return [
            ("boot; shim trusts dkms's own key", self.boot),
            ("dnf install kmodkeep; adopt: all is taken as it is, and loads", self.adopt),
            ("dnf upgrade 'kernel*': what does not build is named, and left", self.new_kernel),
            ("a newer source of it comes: repair builds that", self.repair),
            ("reboot into it: all is loaded, as predicted", self.next_boot),
            ("the keys are gone: nothing loads, as predicted; enrolled, all does", self.cleared),
        ]

    def prepare(self):
        made = self.out / "made.img"
        with system.System() as clone, progress("drivers of others on the RPM system"):
            self._install_drivers(clone)
            self.certificate = (clone.path / "var/lib/dkms/mok.pub").read_bytes()
            self.modules = _modules(clone)
            _write(made, clone)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", made, self.guest.disk)
        variables.add(self.guest.workdir / "efivars.fd", "MokList",
                      variables.signature_list(variables.X509, [self.certificate]))

    def _install_drivers(self, clone):
        (clone.path / "rpms").mkdir()
        for rpm in [rpm for name in ("dkms", "libs") for rpm in payload.directory(name).glob("*.rpm")]:
            shutil.copy(rpm, clone.path / "rpms")
        clone.run("rpm -i /rpms/*.rpm && rm -r /rpms")
        for name in DRIVERS:
            package = next(apt.download(SUITE, [f"{name}-dkms"]).glob(f"{name}-dkms_*.deb"))
            with tempfile.TemporaryDirectory() as directory:
                apt.extract(package, directory)
                shutil.copytree(f"{directory}/usr/src", clone.path / "usr/src", symlinks=True,
                                dirs_exist_ok=True)
        source = clone.path / "usr/src/acme-1.0"
        source.mkdir()
        for name, text in broken_driver("1.0", REFUSES).items():
            (source / name).write_text(text, encoding="ascii")
        kernel, = _kernels(clone)
        for conf in sorted((clone.path / "usr/src").glob("*/dkms.conf")):
            driver, _, version = conf.parent.name.rpartition("-")
            clone.run(["dkms", "add", f"{driver}/{version}"])
            clone.run(["dkms", "install", f"{driver}/{version}", "-k", kernel])

    def boot(self):
        super().boot()
        expect(self.guest.check("dkms status | wc -l").strip(), str(len(DRIVERS) + 1), "drivers")

    def adopt(self):
        guest = self.guest
        files = guest.check(SUMS)
        guest.use("flightrec", "dkms")
        guest.dnf("install kmodkeep")
        assert at_work(guest, "kmodkeep adopt --all --dry-run").status == 1
        plan = at_work(guest, "kmodkeep adopt --all --yes", 0).output
        assert "/var/lib/dkms/mok.key (enrolled)" in plan, plan
        said = at_work(guest, "kmodkeep adopt --all --yes", 0).output
        assert "kmodkeep: adopted already" in said, said
        expect(guest.check(SUMS), files, "module files")
        said = at_work(guest, "kmodkeep guard", 0).output
        assert f"next boot safe (kernel {self.old})" in said, said
        self.serving = compare(guest, self.modules)
        # Of the same version as the kernel's own it is left out by dkms.
        assert self.modules - self.serving <= {"hdaps"}, self.serving

    def new_kernel(self):
        guest = self.guest
        guest.use("updates")
        said = guest.dnf("upgrade 'kernel*'").output
        self.old, self.new = guest.kernels()
        self._guard_says(said, "no", f"next boot would lose acme (kernel {self.new}, acme: missing")
        expect(compare(guest, self.modules), self.serving, "what loads on the old kernel")
        self._lost({BROKEN})
        # What cannot be repaired is not made worse.
        expect(at_work(guest, "kmodkeep repair --yes").status, 1, "exit status of repair")
        self._lost({BROKEN})

    def _lost(self, modules):
        found = next_boot(self.guest)
        expect((found["safe"], found["kernel"], found["serves"]["kernel"]),
               ("no", self.new, self.old), "the next boot")
        expect({finding["module"] for finding in found["lost"]}, modules, "what would be lost")

    def repair(self):
        guest = self.guest
        for name, text in broken_driver("1.1", "/* now it does */").items():
            guest.check(f"mkdir -p /usr/src/acme-1.1; cat >/usr/src/acme-1.1/{name} <<'END'\n{text}END\n")
        at_work(guest, "dkms add acme/1.1", 0)
        life.repair(guest, self.new, f"dkms install acme/1.1 -k {self.new}", BROKEN)

    def next_boot(self):
        before = predict(self.guest)
        self.guest.restart()
        expect(running(self.guest), self.new, "the kernel that runs")
        expect(compare(self.guest, self.modules, before), self.serving, "what loads")
        expect(next_boot(self.guest)["safe"], "yes", "the next boot")

    def cleared(self):
        """Of the variables of the firmware nothing is left, as after its reset."""
        self.guest.power_off(PATIENCE)
        guest = RpmGuest(self.out / "cleared", self.guest.packages, "rpm-cleared", self.guest.disk)
        password = "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(10))
        with guest:
            guest.wait_booted()
            expect(running(guest), self.new, "the kernel that runs")
            expect(compare(guest, self.modules), set(), "what loads")
            life.forgotten(guest, self.serving)
            at_work(guest, f"echo {password} | kmodkeep adopt --all --yes --password-stdin", 0)
            guest.reboot()
            mokmanager.enrol(guest, password, self.out)
            guest.wait_booted()
            expect(compare(guest, self.modules), self.serving, "what loads once it is enrolled")
            expect(next_boot(guest)["safe"], "yes", "the next boot")
            self._goes(guest)

    def _goes(self, guest):
        before = guest.check("dkms status"), guest.check(SUMS)
        guest.dnf("remove kmodkeep")
        expect(guest.run("command -v kmodkeep").output, "", "kmodkeep")
        expect((guest.check("dkms status"), guest.check(SUMS)), before, "the drivers")
        guest.restart()
        loaded = {module for (_, module), seen in load(guest, self.modules).items() if seen.served}
        expect(loaded, self.serving, "what loads without kmodkeep")


def _kernels(clone):
    return sorted(path.parent.name for path in (clone.path / "usr/lib/modules").glob("*/kernel"))


def _modules(clone):
    """The names of all modules that dkms has built."""
    built = clone.run("find /var/lib/dkms -path '*/module/*.ko*' -printf '%f\\n'").stdout.split()
    return {name.partition(".")[0] for name in built}


def _write(disk, clone):
    """Write what is in CLONE to DISK, without what is mounted below it."""
    with tempfile.TemporaryDirectory(dir=disk.parent) as mount_point:
        subprocess.run(["mount", "--bind", clone.path, mount_point], check=True)
        try:
            system.write_disk(disk, mount_point)
        finally:
            subprocess.run(["umount", mount_point], check=True)


if __name__ == "__main__":
    sys.exit(main(AdoptStory))
