# SPDX-License-Identifier: GPL-2.0-or-later
"""The RPM system as a chroot with our packages, and what tests want to know of it.

RPM mechanics on Debian payload.  dkms builds for the system's kernels as in the
guest, only faster; nothing is loaded.
"""

import contextlib
import shutil

from tests.lib.clone import CommandFailed, ThrowAwayRoot
from tests.rpm import repo, system

OURS = "flightrec flightrec-libs flightrec-dkms kmodkeep"
KEYS = "/var/lib/kmodkeep/keys"


@contextlib.contextmanager
def installed(repositories):
    """A system with release 1 of ours from the directory REPOSITORIES, which is taken in."""
    with system.System() as clone:
        shutil.copytree(repositories, clone.path / "srv/packages", dirs_exist_ok=True)
        clone.run(f"rpmkeys --import {repo.MOUNT_POINT}/{repo.KEY}")
        host = Host(clone)
        host.use("flightrec", "dkms")
        # A host makes its key when kmodkeep is installed; a chroot is none, so it is told to.
        host.dnf("install kmodkeep")
        (clone.path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n", "ascii")
        clone.run("kmodkeep key create --root /.")
        host.dnf("install flightrec flightrec-dkms")
        yield host


class Host:
    """The system in CLONE; `said` is what dnf said last."""

    def __init__(self, clone):
        self.clone = clone
        self.run = clone.run
        self.path = clone.path
        self.said = ""

    @contextlib.contextmanager
    def copy(self):
        """A throw-away copy of this system as it is now."""
        with ThrowAwayRoot(self.path, "rpm-host") as clone:
            yield Host(clone)

    def use(self, *names, **settings):
        """Make the repositories NAMES dnf's only ones."""
        text = "\n".join(repo.definition(name, **settings) for name in names)
        directory = self.path / "etc/yum.repos.d"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "test.repo").write_text(text, encoding="ascii")

    def dnf(self, arguments):
        """Run dnf, which asks nothing; what it said. What it returns proves nothing."""
        self.said = self.run(f"exec dnf -y {arguments}", check=False).stdout
        return self.said

    def dnf_killed(self, arguments):
        """Run dnf, which something kills half-way."""
        (self.path / "kill").mkdir(exist_ok=True)
        # Not by way of a pipe: what dnf leaves behind would keep it open.
        done = self.run(f"echo $$ >/kill/victim; exec dnf -y {arguments} >/kill/said 2>&1",
                        check=False)
        self.said = (self.path / "kill/said").read_text("utf-8", "replace")
        assert done.returncode == -9, f"dnf was not killed: {done.returncode}\n{self.said}"

    def replace(self, program, script):
        """Let a shell SCRIPT run in place of PROGRAM; $real is where that is now.

        To kill what runs, dnf and the script that calls, it has the function cut.
        """
        place = self.path / program.lstrip("/")
        place.rename(f"{place}.real")
        place.write_text(f"#!/usr/bin/bash\nreal={program}.real\n{CUT}\n{script}\n", "ascii")
        place.chmod(0o755)

    def put_back(self, program):
        """End what replace() began."""
        place = self.path / program.lstrip("/")
        place.with_name(place.name + ".real").rename(place)

    # What there is.

    def kernels(self):
        """The releases of the installed kernels, sorted."""
        found = (self.path / "usr/lib/modules").glob("*/kernel")
        return sorted(p.parent.name for p in found)

    def package(self, name="flightrec-dkms"):
        """The versions of the package NAME, a list."""
        query = self.run(["rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}\\n", name], check=False)
        return query.stdout.split() if query.returncode == 0 else []

    def module(self, field, kernel):
        """FIELD of the module that KERNEL would load, or an empty text."""
        done = self.run(["modinfo", "-k", kernel, "-F", field, "flightrec"], check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def has(self, version, *kernels):
        """Fail unless the module of VERSION is there for KERNELS (all), signed, and dkms knows it."""
        status = self.run("dkms status flightrec").stdout
        assert "broken" not in status, status
        kernels = kernels or self.kernels()
        assert kernels
        for kernel in kernels:
            line = f"flightrec/{version}, {kernel}, x86_64: installed"
            assert line in status, status + self.said
            assert self.module("version", kernel) == version, self.said
            assert self.module("signer", kernel).startswith("kmodkeep "), self.said
            assert "/extra/" in self.module("filename", kernel)

    def other_drivers_build(self):
        """Fail if dkms has an entry that keeps it from building any driver."""
        for kernel in self.kernels():
            try:
                self.run(["dkms", "autoinstall", "-k", kernel])
            except CommandFailed as failed:
                raise AssertionError(f"{failed}\n{self.said}") from None

    def nothing_put_aside(self):
        """Fail if something is left of a switch from one version to another."""
        left = self.run("find /var/lib/dkms/flightrec /var/lib/kmodkeep/dkms -name '*kept*'"
                        " -o -name '.staged' -o -name '*.new' -o -name stage 2>/dev/null",
                        check=False).stdout.split()
        assert left == [], left


CUT = 'cut() { kill -9 "$(cat /kill/victim)" "$@"; exit 1; }'
