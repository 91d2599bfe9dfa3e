# SPDX-License-Identifier: GPL-2.0-or-later
"""A dkms that does to its tree what dkms does, for hosts in a folder.

What it "builds" is made beforehand.  A test can put a piece of shell before and
after each of its verbs.  What dkms itself does is tested in the suites' roots.
"""

import os
import platform
import re
import signal
import subprocess

from tests.unit.kmodkeep.host import PROGRAM
from tests.unit.kmodkeep.system import NEW, OLD, module_bytes

ARCH = platform.machine()
NAME = "sample"

SCRIPT = """#!/bin/sh
set -eu
fake=${0%/*}
verb=$1
shift
echo "$verb" >>"$fake/asked"
all=
while [ $# -gt 0 ]; do
	case $1 in
	-m) m=$2; shift ;;
	-v) v=$2; shift ;;
	-k) k=$2; shift ;;
	-a) a=$2; shift ;;
	--dkmstree) tree=$2; shift ;;
	--sourcetree) sources=$2; shift ;;
	--installtree) modules=$2; shift ;;
	--all | --force | --no-depmod) ;;
	*) exit 99 ;;
	esac
	shift
done
entry=$tree/$m
add() {
	[ -f "$sources/$m-$v/dkms.conf" ] || exit 2
	mkdir -p "$entry/$v/build"
	ln -sfn "$sources/$m-$v" "$entry/$v/source"
}
uninstall() { # KERNEL
	link=$entry/kernel-$1-$a
	[ "$(readlink "$link")" = "$v/$1/$a" ] || return 0
	rm "$link"
	for file in "$entry/$v/$1/$a"/module/*.ko; do rm -f "$modules/$1/updates/dkms/${file##*/}"; done
}
if [ -e "$fake/$verb-before" ]; then . "$fake/$verb-before"; fi
case $verb in
add) add ;;
build)
	[ -d "$entry/$v" ] || add
	mkdir -p "$entry/$v/$k/$a/module" "$entry/$v/$k/$a/log"
	echo "built $v for $k"
	cp "$fake/$v-$k.ko" "$entry/$v/$k/$a/module/sample.ko"
	;;
install)
	[ -d "$entry/$v/$k/$a/module" ]
	rm -f "$entry/kernel-$k-$a"
	mkdir -p "$modules/$k/updates/dkms"
	cp "$entry/$v/$k/$a/module"/*.ko "$modules/$k/updates/dkms/"
	if [ -e "$fake/install-between" ]; then . "$fake/install-between"; fi
	ln -s "$v/$k/$a" "$entry/kernel-$k-$a"
	;;
uninstall) uninstall "$k" ;;
remove)
	a=$(uname -m)
	for dir in "$entry/$v"/*/"$a"; do
		[ ! -d "$dir" ] || { dir=${dir%/*}; uninstall "${dir##*/}"; }
	done
	rm -rf "${entry:?}/$v"
	;;
esac
if [ -e "$fake/$verb-after" ]; then . "$fake/$verb-after"; fi
"""


class Dkms:
    """Sources of versions of the driver on a host in a folder, and a dkms that knows it."""

    def __init__(self, tree, directory, dkms_tree="var/lib/dkms"):
        self.tree = tree
        self.path = tree.path
        self.fake = directory
        self.entry = tree.path / dkms_tree / NAME
        script = directory / "dkms"
        script.parent.mkdir(parents=True)
        script.write_text(SCRIPT)
        script.chmod(0o755)
        for kernel in (OLD, NEW):
            for name in ("kernel/", "build/include/"):
                tree.put(f"lib/modules/{kernel}/{name}x")
        self.env = {
            **os.environ, "PATH": f"{directory}:{os.environ['PATH']}",
            "DPKG_MAINTSCRIPT_PACKAGE": f"{NAME}-dkms",
        }  # fmt: skip

    def source(self, version, conf=""):
        """Unpack the sources of VERSION."""
        self.tree.put(f"usr/src/{NAME}-{version}/dkms.conf", f'PACKAGE_NAME="{NAME}"\n{conf}')
        for kernel in (OLD, NEW):
            data = module_bytes(kernel, version=version)
            (self.fake / f"{version}-{kernel}.ko").write_bytes(data)

    def keep_source(self, version):
        """What preinst does, and dpkg when it unpacks the next version."""
        original = self.path / f"usr/src/{NAME}-{version}"
        kept = self.entry / version / "kept-source"
        original.rename(kept)
        link = self.entry / version / "source"
        link.unlink()
        link.symlink_to("kept-source")

    def at(self, where, script):
        (self.fake / where).write_text(script + "\n")

    def no_more(self, where):
        (self.fake / where).unlink()

    def run(self, verb, version="1.0", code=0, prefix=(), **kwargs):
        """kmodkeep package VERB; what it printed."""
        done = subprocess.run(
            [*prefix, PROGRAM, "package", verb, NAME, version, "--root", self.path],
            capture_output=True, text=True, timeout=120, env=self.env, check=False, **kwargs,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert "Sanitizer" not in text and "runtime error" not in text, text
        assert done.returncode == code, (done.returncode, text)
        return text

    def killed(self, verb, version="1.0"):
        self.run(verb, version, code=-signal.SIGKILL)

    def installed(self, kernel):
        """The version whose module KERNEL has, whole; None for none."""
        file = self.path / f"lib/modules/{kernel}/updates/dkms/{NAME}.ko"
        if not file.exists():
            return None
        for made in self.fake.glob(f"*-{kernel}.ko"):
            if made.read_bytes() == file.read_bytes():
                return made.name.removesuffix(f"-{kernel}.ko")
        raise AssertionError(f"{file} is not whole")

    def registered(self, kernel):
        """The version that dkms takes for the one installed on KERNEL."""
        link = self.entry / f"kernel-{kernel}-{ARCH}"
        return str(link.readlink()).split("/")[0] if (link / "module").is_dir() else None

    def check(self, version):
        """VERSION is there for all kernels, as if nothing else had ever been."""
        for kernel in (OLD, NEW):
            assert self.installed(kernel) == version
            assert self.registered(kernel) == version
        assert (self.entry / version / "source").resolve() == self.path / f"usr/src/{NAME}-{version}"
        assert sorted(p.name for p in self.entry.iterdir() if not p.is_symlink()) == [version]
        self.check_nothing_put_aside()

    def check_nothing_put_aside(self):
        odd = [p for p in self.path.rglob("*") if re.search(r"kept|staged|\.new$", p.name)]
        assert not odd
        assert not (self.path / "var/lib/kmodkeep/dkms").exists()
