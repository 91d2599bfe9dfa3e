# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmodkeep knows of drivers of others, compared with the packages that Debian has of them.

A name that changed there would make a file of system/known.d say nothing any more; one that
had come to need its driver in the initramfs would make it say something wrong.
"""

import re
import shutil

import pytest

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.lib.roots import Clone
from tests.proof.system import COMPONENTS
from tests.unit.kmodkeep.test_known import FILES, read

SUITE = "sid"

# By file: the package of its source.
PACKAGES = {
    "acpi-call": "acpi-call-dkms", "broadcom-sta": "broadcom-sta-dkms", "ddcci": "ddcci-dkms",
    "digimend": "digimend-dkms", "evdi": "evdi-dkms", "lttng": "lttng-modules-dkms",
    "nvidia": "nvidia-kernel-dkms", "openrazer": "openrazer-driver-dkms",
    "sysdig": "falcosecurity-scap-dkms", "tp-smapi": "tp-smapi-dkms",
    "v4l2loopback": "v4l2loopback-dkms", "virtualbox": "virtualbox-dkms", "xpadneo": "xpadneo-dkms",
}  # fmt: skip

# Vendors and others have these.
ELSEWHERE = {"anbox", "corefreq", "falco", "rtl8814au", "rtl8821cu", "rtl88xxau", "vmware"}

USERSPACE = {"nvidia": "libnvidia-ml1"}

# What needs no file: where the host has it in the initramfs it is needed there.
DEFAULT = ("r8168-dkms", "zfs-dkms")

# The names in the dkms.conf of the one source of a package, as dkms reads them.
NAMES = r"""
kernelver=$(ls /lib/modules | tail -n 1) arch=x86_64 dkms_tree=/var/lib/dkms source_tree=/usr/src
kernel_source_dir=/lib/modules/$kernelver/build
cd "$1" && . ./dkms.conf >/dev/null
echo "name $PACKAGE_NAME"
echo "version $PACKAGE_VERSION"
echo "initramfs $REMAKE_INITRD"
for n in "${!BUILT_MODULE_NAME[@]}"; do echo "module ${DEST_MODULE_NAME[n]:-${BUILT_MODULE_NAME[n]}}"; done
"""


def download(directory):
    """The packages of all of them, which the lists of apt.download() do not have."""
    names = [*PACKAGES.values(), *USERSPACE.values(), *DEFAULT]
    with Clone(SUITE) as clone, progress(f"{SUITE}: download {' '.join(names)}"):
        (clone.path / "etc/apt/sources.list").write_text(apt.sources_list(SUITE, COMPONENTS))
        clone.run(["apt-get", "-q", "update"])
        known = clone.run(["apt-cache", "pkgnames"]).stdout.split()
        (clone.path / "debs").mkdir()
        clone.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names], cwd="/debs")
        shutil.copytree(clone.path / "debs", directory)
        (directory / "names").write_text("\n".join(known))


@pytest.fixture(scope="module")
def archive():
    """A system with the files of the packages; `debs` has what is there to be had."""
    names = sorted([*PACKAGES.values(), *USERSPACE.values(), *DEFAULT])
    debs = cached("debs", f"{SUITE}-known-{digest(names)}", download)
    with Clone(SUITE) as clone:
        clone.debs = debs
        for package in names:
            deb, = debs.glob(f"{package}_*.deb")
            apt.extract(deb, clone.path / "unpacked" / package)
        yield clone


def names(archive, package):
    """{"name": …, "version": …, "initramfs": …, "module": [all of them]} of its dkms.conf."""
    source, = (archive.path / "unpacked" / package / "usr/src").glob("*/dkms.conf")
    inside = f"/{source.parent.relative_to(archive.path)}"
    found = {"module": []}
    for line in archive.run(["bash", "-c", NAMES, "bash", inside]).stdout.splitlines():
        key, _, value = line.partition(" ")
        if key == "module":
            found[key].append(value.replace("-", "_"))
        else:
            found[key] = value
    assert found["module"] and found["name"]
    return found


def in_initramfs(archive, package):
    """Files of the package that put something into an initramfs."""
    top = archive.path / "unpacked" / package
    places = ("usr/share/initramfs-tools", "etc/initramfs-tools", "usr/lib/dracut", "etc/dracut.conf.d")
    return [path for place in places for path in (top / place).rglob("*") if path.is_file()]


def test_each_file_was_looked_for():
    assert {path.stem for path in FILES} == set(PACKAGES) | ELSEWHERE


@pytest.mark.parametrize("file", PACKAGES)
def test_package_is_as_the_file_says(archive, file):
    known = read(next(path for path in FILES if path.stem == file))
    found = names(archive, PACKAGES[file])
    modules = {module.replace("-", "_") for module in known["modules"].split()}
    assert known.get("dkms") == found["name"] or set(found["module"]) <= modules, found
    assert modules & set(found["module"]), found
    if known.get("initramfs") == "no":
        assert not in_initramfs(archive, PACKAGES[file])


@pytest.mark.parametrize("file", USERSPACE)
def test_user_space_has_the_version_of_the_driver(archive, file):
    known = read(next(path for path in FILES if path.stem == file))
    name = known["userspace"].rpartition("/")[2].partition(".so")[0]
    libraries = [path.name for path in (archive.path / "unpacked" / USERSPACE[file]).rglob(f"{name}.so.*")]
    assert f"{name}.so.{names(archive, PACKAGES[file])['version']}" in libraries


@pytest.mark.parametrize("package", DEFAULT)
def test_no_file_speaks_of_those_that_the_default_fits(archive, package):
    found = names(archive, package)
    for path in FILES:
        known = read(path)
        assert known.get("dkms") != found["name"]
        assert not {m.replace("-", "_") for m in known["modules"].split()} & set(found["module"])


def test_what_is_elsewhere_is_not_there(archive):
    """Once it is, it belongs to the table above."""
    there = (archive.debs / "names").read_text().splitlines()
    wanted = re.compile(rf"(realtek-)?({'|'.join(sorted(ELSEWHERE))})-(dkms|modules-dkms)")
    assert [name for name in there if wanted.fullmatch(name)] == []
