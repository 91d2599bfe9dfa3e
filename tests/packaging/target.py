# SPDX-License-Identifier: GPL-2.0-or-later
"""A throw-away system on which packages are installed, and what can be seen there."""

import re
import shutil

from tests.lib.roots import Clone
from tests.packaging.variants import VERSION, program_for_tests

APT = [
    "apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "--allow-downgrades", "--no-install-recommends",
    # for in_front_of(): maintainer scripts find what is in /usr/local, as without apt
    "-o", "DPkg::Path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
]  # fmt: skip

DRIVER = "flightrec-dkms"
OURS = ["flightrec", DRIVER, "kmodkeep", "libflightrec-dev", "libflightrec0", "python3-flightrec"]
MODULES = ["flightrec", "flightrec-events"]

TREE = "/var/lib/dkms/flightrec"


class Target(Clone):
    """A clone of a suite's root with the packages' files to install from."""

    def __enter__(self):
        super().__enter__()
        (self.path / "debs").mkdir()
        return self

    # --- doing things

    def install(self, debs, *options, check=True):
        """apt-get install the files DEBS; what it printed."""
        files = [f"/debs/{deb.name}" for deb in debs if shutil.copy(deb, self.path / "debs")]
        assert files
        return self.run([*APT, *options, "install", *files], check=check).stdout

    def apt(self, *arguments):
        """apt-get ARGUMENTS; what it printed."""
        return self.run([*APT, *arguments]).stdout

    def make_key(self):
        """Make the signing key that kmodkeep makes on hosts, but not in a chroot."""
        self.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.run(["kmodkeep", "key", "create", "--root", "/."])

    def act_on(self, root):
        """Have kmodkeep act on the folder ROOT as on the running system.

        The packaged program never does, so one that is built for tests from the same
        sources takes its place.
        """
        shutil.copy2(program_for_tests(self.suite), self.path / "usr/sbin/kmodkeep")
        self.write(f"{root}/etc/kmodkeep-test-root", "")

    def write(self, path, text, mode=0o644):
        """Make the file PATH with TEXT."""
        file = self.path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def in_front_of(self, program, script):
        """Let shell commands run instead of PROGRAM; $real is where it is."""
        real = self.run(["sh", "-c", f"command -v {program}"]).stdout.strip()
        self.write(f"/usr/local/sbin/{program}", f"#!/bin/bash\nreal={real}\n{script}\n", 0o755)

    def no_longer_in_front_of(self, program):
        (self.path / "usr/local/sbin" / program).unlink()

    # --- seeing things

    @property
    def kernels(self):
        """The kernels that have headers."""
        directories = (self.path / "lib/modules").iterdir()
        found = sorted(d.name for d in directories if (d / "build").is_symlink())
        assert found
        return found

    def states(self, *names):
        """dpkg's states of packages: {"kmodkeep": "ii"}; none for one it does not know."""
        listing = self.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *names],
                           check=False).stdout  # fmt: skip
        return dict(re.findall(r"^(\S+) ([a-z][a-zA-Z])\s*$", listing, re.M))

    def dkms(self, module="flightrec"):
        """What dkms has of MODULE: a set of (version, kernel, state), no kernel if just added."""
        listing = self.run(["dkms", "status"]).stdout
        # 2.8: "m, v, k, a: state", later: "m/v, k, a: state"
        line = re.compile(rf"^{module}(?:, |/)([^,:\s]+)(?:, (\S+), \S+)?: (\w+)(.*)$", re.M)
        found = line.findall(listing)
        assert not [rest for *_, rest in found if rest.strip()], listing
        return {entry[:3] for entry in found}

    def installed_everywhere(self, version=VERSION):
        """What dkms() is when VERSION alone is there, installed for all kernels."""
        return {(version, kernel, "installed") for kernel in self.kernels}

    def module_files(self, kernel):
        """Our module files of KERNEL: name -> content."""
        directory = self.path / "lib/modules" / kernel / "updates/dkms"
        return {p.name: p.read_bytes() for p in directory.glob("flightrec*")}

    def modinfo(self, kernel, module, field):
        """FIELD of the module file that is installed for KERNEL."""
        files = list((self.path / "lib/modules" / kernel / "updates/dkms").glob(f"{module}.ko*"))
        assert len(files) == 1, f"{module} in {kernel}: {files}"
        inside = f"/{files[0].relative_to(self.path)}"
        return self.run(["modinfo", "-F", field, inside]).stdout.strip()

    def check_modules(self, version=VERSION):
        """Each kernel has both modules, of VERSION, for itself, where depmod knows them."""
        for kernel in self.kernels:
            for module in MODULES:
                assert self.modinfo(kernel, module, "version") == version, (kernel, module)
                assert self.modinfo(kernel, module, "vermagic").split()[0] == kernel, module
                self.check_depmod_knows(kernel, module)

    def check_depmod_knows(self, kernel, module):
        listing = self.path / "lib/modules" / kernel / "modules.dep"
        if listing.exists():  # not where there are only headers, with recent dkms
            assert re.search(rf"^updates/dkms/{module}\.ko[^:]*:", listing.read_text(), re.M)

    def source_link(self, version):
        """Where dkms's link to the source of VERSION leads; it must lead somewhere."""
        link = self.path / TREE.lstrip("/") / version / "source"
        target = link.readlink()
        inside = self.path / str(target).lstrip("/") if target.is_absolute() else link
        assert (inside / "dkms.conf").exists(), f"{link} -> {target} dangles"
        return str(target)

    def check_nothing_left_over(self, version=VERSION):
        """dkms's tree has what a plain installation of VERSION has, and nothing put aside."""
        assert self.source_link(version) == f"/usr/src/flightrec-{version}"
        tree = self.path / TREE.lstrip("/")
        odd = [p for p in tree.rglob("*") if re.search(r"kept|staged|\.new$", p.name)]
        assert not odd
        assert not list((self.path / "var/lib/kmodkeep/dkms").glob("*"))

    def files(self):
        """All paths below /etc, /usr, /var/lib and /lib, but for what others write."""
        others = re.compile(
            r"etc/(.*-|\.pwd\.lock|ld\.so\.cache)$"
            r"|(usr/)?lib/modules/[^/]+/modules\..*"  # depmod's
            r"|usr/share/(man|doc|mime)/.*|.*/__pycache__(/.*)?"
            r"|var/lib/(apt|dpkg|ucf|systemd|pam)/.*"
            r"|var/lib/dkms/mok\.(key|pub)$"  # the administrator's by now
        )
        found = set()
        for top in ("etc", "usr", "var/lib", "lib"):
            if (self.path / top).is_symlink():
                continue
            for path in (self.path / top).rglob("*"):
                name = str(path.relative_to(self.path))
                if not others.match(name):
                    found.add(name)
        return found
