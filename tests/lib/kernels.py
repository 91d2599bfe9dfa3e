# SPDX-License-Identifier: GPL-2.0-only
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

# What a build leaves behind is no source.
BUILD_PRODUCTS = shutil.ignore_patterns(
    "*.o", "*.ko", "*.mod", "*.mod.c", ".*.cmd", "*.symvers", "modules.order", ".tmp_*"
)

# These say something about the build machine, not about our sources.
HARMLESS = re.compile(r"warning: the compiler differs from the one used to build the kernel")
COMPLAINT = re.compile(r"\b(warning|error):", re.IGNORECASE)

SPARSE = "sparse"


class BuildFailed(AssertionError):
    """Modules did not build without complaints; the text has the complaints."""


@dataclass(frozen=True)
class Kernel:
    """A stock kernel, unpacked in the cache."""

    name: str  # "6.1"
    release: str  # "6.1.0-56-amd64"
    suite: str
    files: Path  # the unpacked packages

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
    """The kernel NAME, fetched now if need be."""
    suite = KERNELS[name]
    release = roots.release(suite, name)
    files = cached("kernels", release, lambda path: _fetch(suite, release, path))
    return Kernel(name, release, suite, files)


def _fetch(suite, release, target):
    """Unpack the packages of kernel RELEASE at TARGET and index its modules."""
    names = apt.package_names(suite, "linux-")
    # Up to 6.12 one package has it all; in 7.x that one only depends on these.
    parts = [f"linux-{part}-{release}" for part in ("binary", "modules", "base")]
    split = [name for name in parts if name in names]
    try:
        debs = apt.download(suite, split or [f"linux-image-{release}"])
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
            f"{Path(srcdir).name}-{target.release}-{key}",
            lambda path: _build(target, source, extra_make_args, path),
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
        command = [
            "make", "-C", f"/lib/modules/{target.release}/build", "M=/work/src",
            "W=1", "KCFLAGS=-Werror", *extra_make_args, "modules",
        ]  # fmt: skip
        _make(clone, command, _compiler_complaints)
        modules = list(inside.rglob("*.ko"))
        if not modules:
            raise BuildFailed(f"{target.release}: the build made no module")
        into.mkdir()
        for module in modules:
            shutil.copy2(module, into)
        # C=2 checks all files without compiling them again.
        _make(clone, [*command, "C=2", f"CHECK={SPARSE}"], _sparse_complaints)


def _make(clone, command, complaints):
    """Run make; BuildFailed if it fails or if COMPLAINTS finds any in its output."""
    done = clone.run(command, check=False)
    found = complaints(done.stdout)
    if found or done.returncode:
        lines = found or done.stdout.splitlines()[-40:]
        raise BuildFailed("\n".join([f"{clone.name}: {' '.join(command)}", *lines]))


def _compiler_complaints(output):
    lines = output.splitlines()
    return [line for line in lines if COMPLAINT.search(line) and not HARMLESS.search(line)]


def _sparse_complaints(output):
    """What sparse says about our files; a header's own problems are the kernel's."""
    return [line for line in output.splitlines() if re.match(r"(/work/src/|[^/]+:\d)", line)]


def main():
    """The command line: fetch the kernels named."""
    parser = argparse.ArgumentParser(description="Fetch the stock kernels.")
    parser.add_argument("kernels", nargs="*", default=list(KERNELS), metavar="KERNEL")
    for name in parser.parse_args().kernels:
        print(f"{name}: {kernel(name).release}")


if __name__ == "__main__":
    main()
