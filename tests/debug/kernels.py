# SPDX-License-Identifier: GPL-2.0-or-later
"""Own kernels that watch themselves, built from Debian's source packages.

    python3 -m tests.debug.kernels [KERNEL...]      build them now

A kernel is made once per source version, configuration and compiler.  A build
that was interrupted goes on where it was.
"""

import argparse
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cache_dir, cached, digest, progress, say
from tests.lib.kernels import Kernel

HERE = Path(__file__).parent

# name -> (suite, source package, fragments of its configuration)
DEBUG_KERNELS = {
    "6.1-kasan": ("bookworm", "linux-source-6.1", ["base", "kasan"]),
    "6.1-kcsan": ("bookworm", "linux-source-6.1", ["base", "kcsan"]),
}

# Those that are built, and run in, without being named.
DEFAULT = ["6.1-kasan", "6.1-kcsan"]

# Never compiled for these guests, and half of what the package unpacks to.
UNUSED = ["arch/[!x]*/boot/*", "sound/*.[ch]", "tools/testing/*",
          *[f"drivers/{part}/*.[ch]" for part in (
              "gpu", "media", "infiniband", "scsi", "staging", "net/ethernet", "net/wireless")]]  # fmt: skip

NICENESS = 15

# What modules are not built from.
OBJECTS = ("*.o", "*.a", "vmlinux", "System.map", "*.cmd")


class BuildFailed(RuntimeError):
    """A kernel did not build as wanted; the text has the last lines, or what is missing."""


@dataclass(frozen=True)
class DebugKernel(Kernel):
    """An own kernel; FILES is the tree that it was built in, without its objects."""

    @property
    def identity(self):
        """Not the release: it is the same whatever the configuration."""
        return self.files.name

    @property
    def vmlinuz(self):
        return self.files / "arch/x86/boot/bzImage"

    @property
    def config(self):
        return self.files / ".config"

    @property
    def modules(self):
        return self.files / "installed/lib/modules" / self.release

    def build(self, source, make_args, into):
        """Build the modules in SOURCE, with no warning, and keep them in INTO."""
        with progress(f"build {source.name} for {self.name}"):
            _make(["-C", self.files, f"M={source}", "KCFLAGS=-Werror", *make_args, "modules"])
        into.mkdir()
        for module in source.rglob("*.ko"):
            shutil.copy2(module, into)


def wanted():
    """Those that K names; all that need no naming without it."""
    names = os.environ.get("K")
    return [name for name in names.split(",") if name in DEBUG_KERNELS] if names else DEFAULT


def debug_kernel(name):
    """The kernel NAME, built now if need be."""
    suite, package, fragments = DEBUG_KERNELS[name]
    source = _source(suite, package)
    config = "".join((HERE / f"{part}.config").read_text(encoding="ascii") for part in fragments)
    compiler = subprocess.run(["gcc", "--version"], capture_output=True, check=True).stdout
    entry = f"{name}-{digest(source.name, config, compiler)}"
    files = cached("debug-kernels", entry, lambda path: _build(name, source, config, entry, path))
    release = (files / "include/config/kernel.release").read_text(encoding="ascii").strip()
    return DebugKernel(name, release, suite, files)


def _source(suite, package):
    """The unpacked sources of PACKAGE, in a directory with its version in the name."""
    deb = next(apt.download(suite, [package]).glob("*.deb"))
    return cached("kernel-source", deb.stem, lambda path: _unpack(deb, package, path))


def _unpack(deb, package, into):
    with progress(f"unpack {package}"):
        into.mkdir()
        apt.extract(deb, into / "package")
        archive = into / f"package/usr/src/{package}.tar.xz"
        unused = [f"--exclude={package}/{pattern}" for pattern in UNUSED]
        command = ["tar", "-C", into, "--strip-components=1", *unused, "-xf", archive]
        subprocess.run(command, check=True)
        shutil.rmtree(into / "package")


def _build(name, source, config, entry, into):
    """Build a kernel in a place where an interrupted build is found again; move it to INTO."""
    work = cache_dir("debug-build", entry)
    if not (work / ".config").exists():
        _configure(name, source, config, work)
    with progress(f"build kernel {name}"):
        _make(["-C", source, f"O={work}", "-j2", "bzImage", "modules"])
        _make(["-C", source, f"O={work}", f"INSTALL_MOD_PATH={work}/installed", "modules_install"])
    for pattern in OBJECTS:
        for path in work.rglob(pattern):
            path.unlink()
    work.rename(into)


def _configure(name, source, config, work):
    """Write WORK/.config: CONFIG and what that needs, no more.  All of CONFIG must be in it."""
    wanted = work / "wanted.config"
    wanted.write_text(config, encoding="ascii")
    _make(["-C", source, f"O={work}", f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig"])
    have = dict(_settings((work / ".config").read_text(encoding="ascii")))
    missing = [f"CONFIG_{option}={value} (is {have.get(option, 'n')})"
               for option, value in _settings(config) if have.get(option, "n") != value]  # fmt: skip
    if missing:
        (work / ".config").unlink()
        raise BuildFailed("\n".join([f"{name}: the configuration is not to be had:", *missing]))


def _settings(config):
    return re.findall(r"^CONFIG_(\w+)=(.*)$", config, re.M)


def _make(arguments):
    """Run make with ARGUMENTS, quiet and giving way to all else."""
    nicer = max(0, NICENESS - os.nice(0))
    command = ["nice", "-n", str(nicer), "make", "-s", *[str(argument) for argument in arguments]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        tail = (done.stdout + done.stderr).splitlines()[-40:]
        raise BuildFailed("\n".join([f"make failed ({done.returncode}):", *tail]))
    for line in done.stderr.splitlines():
        say(line)


def main():
    """The command line: build the kernels named."""
    parser = argparse.ArgumentParser(description="Build the debug kernels.")
    parser.add_argument("kernels", nargs="*", default=wanted(), metavar="KERNEL")
    for name in parser.parse_args().kernels:
        print(f"{name}: {debug_kernel(name).release}")


if __name__ == "__main__":
    main()
