# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock kernels that the driver must work on, and modules built for them.

    python3 -m tests.lib.kernels [KERNEL...]      fetch them now

A kernel is named by its series.  Its release is the one whose headers are in
the suite's root, so what is built and what is booted always fit together.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lib import apt, roots
from tests.lib.cache import cached, digest, digest_tree, progress

# series -> the suite that it is the kernel of
KERNELS = {
    "5.10": "bullseye",
    "6.1": "bookworm",
    "6.12": "trixie",
    "7.2": "sid",
    "7.3": "trixie",  # from its backports
}

# More, named by series and flavour: with PREEMPT_RT, and for another architecture. No
# root has their headers.
KERNELS_RT = {"6.12-rt": "trixie"}
KERNELS_ARM64 = {"6.12-arm64": "trixie"}

# What a build leaves behind is no source.
BUILD_PRODUCTS = shutil.ignore_patterns(
    "*.o", "*.ko", "*.mod", "*.mod.c", ".*.cmd", "*.symvers", "modules.order", ".tmp_*"
)

COMPLAINT = re.compile(r"\b(warning|error):", re.IGNORECASE)
NOT_OURS = re.compile(
    r"^/usr/src/linux-headers-"
    r"|warning: the compiler differs from the one used to build the kernel"
)

# Their headers use __typeof_unqual__, which sparse 0.6.4 of trixie does not know.
NEEDS_NEW_SPARSE = {"7.3"}


class BuildFailed(AssertionError):
    """Modules did not build without complaints; the text has the complaints."""


@dataclass(frozen=True)
class Kernel:
    """A stock kernel, unpacked in the cache."""

    name: str  # "6.1"
    release: str  # "6.1.0-56-amd64"
    suite: str
    files: Path  # the unpacked packages

    def build(self, source, make_args, into):
        """Build the modules in SOURCE, with no complaint, and keep them in INTO."""
        _build(self, source, make_args, into)

    def prepare(self, clone):
        """Change the headers in CLONE, in which modules are about to be built for it."""

    @property
    def identity(self):
        """What modules that were built for it are kept by."""
        return self.release

    @property
    def arch(self):
        """Its architecture, as Debian calls it."""
        return "arm64" if self.release.endswith("-arm64") else "amd64"

    @property
    def vmlinuz(self):
        """The boot image, with the distribution's signature."""
        return self._one(f"boot/vmlinuz-{self.release}", "usr/lib/modules/{r}/vmlinuz")

    @property
    def config(self):
        """The configuration it was built with."""
        return self._one(f"boot/config-{self.release}", "usr/lib/modules/{r}/config")

    @property
    def modules(self):
        """The directory of its modules, named like the release."""
        return self._one(f"lib/modules/{self.release}", "usr/lib/modules/{r}")

    def _one(self, *places):
        paths = [self.files / place.format(r=self.release) for place in places]
        for path in paths:
            if path.exists():
                return path
        raise FileNotFoundError(f"kernel {self.release} has none of {[str(p) for p in paths]}")


def kernel(name):
    """The kernel NAME, fetched now if need be; a Kernel stands for itself."""
    if isinstance(name, Kernel):
        return name
    suite = {**KERNELS, **KERNELS_RT, **KERNELS_ARM64}[name]
    series, _, flavour = name.partition("-")
    flavours = {"": "amd64", "rt": "rt-amd64", "arm64": "arm64"}
    release = roots.release(suite, series).replace("amd64", flavours[flavour])
    files = cached("kernels", release, lambda path: _fetch(suite, release, path))
    return Kernel(name, release, suite, files)


def _fetch(suite, release, target):
    """Unpack the packages of kernel RELEASE at TARGET and index its modules."""
    arch = release.rpartition("-")[2]
    names = apt.package_names(suite, "linux-", arch)
    # Up to 6.12 one package has it all; in 7.x that one only depends on these.
    parts = [f"linux-{part}-{release}" for part in ("binary", "modules", "base")]
    split = [name for name in parts if name in names]
    try:
        debs = apt.download(suite, split or [f"linux-image-{release}"], arch)
    except apt.AptError as error:
        raise apt.AptError(
            f"the archive no longer has kernel {release}; bring the root up to date with "
            f"`python3 -m tests.lib.roots --fresh {suite}`\n{error}"
        ) from error
    with progress(f"unpack kernel {release}"):
        for deb in debs.iterdir():
            apt.extract(deb, target)
        base = target if (target / "lib/modules").exists() else target / "usr"
        subprocess.run(["depmod", "-b", str(base), release], check=True)


def build_modules(name, srcdir, extra_make_args=(), out=None):
    """Build the modules in SRCDIR for kernel NAME; the directory with the .ko files.

    Built with W=1 -Werror, then checked by sparse: any complaint raises
    BuildFailed.  The result is cached by sources and release.  With OUT, the
    modules are copied there.
    """
    target = kernel(name)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "src")
        shutil.copytree(srcdir, source, ignore=BUILD_PRODUCTS)
        # The driver's version is in dkms.conf: above its sources in the
        # repository, beside them where they are installed and here.
        if (Path(srcdir).parent / "dkms.conf").exists():
            shutil.copy(Path(srcdir).parent / "dkms.conf", source)
        key = digest(digest_tree(source), list(extra_make_args))
        built = cached(
            "modules",
            f"{Path(srcdir).name}-{target.identity}-{key}",
            lambda path: target.build(source, extra_make_args, path),
        )
    if not out:
        return built
    shutil.copytree(built, out, dirs_exist_ok=True)
    return Path(out)


def _build(target, source, extra_make_args, into):
    """Build SOURCE in a clone, with no complaint, and keep its modules in INTO."""
    with progress(f"build {source.name} for {target.release}"), roots.Clone(target.suite) as clone:
        inside = clone.path / "work/src"
        shutil.copytree(source, inside)
        more = _make_arguments(clone, target)
        target.prepare(clone)
        done = clone.run([
            "make", "-C", f"/lib/modules/{target.release}/build", "M=/work/src",
            "W=1", "KCFLAGS=-Werror", "C=1", f"CHECK={_sparse(clone, target)}",
            *more, *extra_make_args, "modules",
        ], check=False)  # fmt: skip
        problems = _complaints(done.stdout)
        if done.returncode and not problems:
            problems = done.stdout.splitlines()[-40:]
        modules = list(inside.rglob("*.ko"))
        if problems or not modules:
            raise BuildFailed("\n".join([f"{target.release}: not a clean build:", *problems]))
        into.mkdir()
        for module in modules:
            shutil.copy2(module, into)


def _make_arguments(clone, target):
    """Put into CLONE what its root lacks to build for TARGET; more arguments for make."""
    if target.name in KERNELS:
        return []
    names = [f"linux-headers-{target.release}"]
    if target.name in KERNELS_RT:
        names += [f"linux-headers-{target.release.replace('-rt-amd64', '-common-rt')}"]
    for deb in sorted(apt.download(target.suite, names, target.arch).iterdir()):
        apt.extract(deb, clone.path / "work/headers")
    for directory in (clone.path / "work/headers/usr/src").iterdir():
        directory.rename(clone.path / "usr/src" / directory.name)
    build = clone.path / "usr/lib/modules" / target.release / "build"
    build.parent.mkdir()
    build.symlink_to(f"/usr/src/linux-headers-{target.release}")
    if target.name not in KERNELS_ARM64:
        return []
    # The programs that build, linux-kbuild, are those of this machine's architecture.
    clone.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends",
               "gcc-aarch64-linux-gnu"])  # fmt: skip
    return ["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"]


def _complaints(output):
    """What compiler, modpost and sparse have to say about our sources.

    Sparse also finds fault with the kernel's headers, which is not our matter.
    The compiler's complaints about them still end the build, through -Werror.
    """
    lines = output.splitlines()
    found = [
        line
        for line in lines
        if (COMPLAINT.search(line) and not NOT_OURS.search(line)) or "too many errors" in line
    ]
    if not found and not any(line.split()[:1] == ["CHECK"] for line in lines):
        return ["sparse checked nothing:", *lines[-40:]]
    return found


def _sparse(clone, target):
    """The command, inside CLONE, that runs a sparse which understands the kernel.

    It is the one of sid, with its own C library, where the suite's does not know
    what the kernel's headers use.  The headers of 7.x require a script that
    their package lacks, which tells whether sparse is good: it is.
    """
    for scripts in (clone.path / "usr/lib").glob("linux-kbuild-7.*/scripts"):
        checker = scripts / "checker-valid.sh"
        if not checker.exists():
            checker.write_text("#!/bin/sh\necho 1\n", encoding="ascii")
            checker.chmod(0o755)
    if target.name not in NEEDS_NEW_SPARSE:
        return "sparse"
    tools = clone.path / "work/sparse"
    tools.mkdir()
    libraries = roots.root("sid") / "usr/lib/x86_64-linux-gnu"
    for file in (libraries / "ld-linux-x86-64.so.2", libraries / "libc.so.6",
                 roots.root("sid") / "usr/bin/sparse"):  # fmt: skip
        shutil.copy2(file, tools)
    return "/work/sparse/ld-linux-x86-64.so.2 --library-path /work/sparse /work/sparse/sparse"


def main():
    """The command line: fetch the kernels named."""
    parser = argparse.ArgumentParser(description="Fetch the stock kernels.")
    parser.add_argument("kernels", nargs="*", default=[*KERNELS, *KERNELS_RT, *KERNELS_ARM64],
                        metavar="KERNEL")
    for name in parser.parse_args().kernels:
        print(f"{name}: {kernel(name).release}")


if __name__ == "__main__":
    main()
