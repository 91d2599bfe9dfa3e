# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's signed kernels as packages in the shape of Fedora's: core, modules, devel."""

import re
import shutil

from tests.lib import apt
from tests.lib.cache import progress
from tests.rpm import builder
from tests.rpm.convert import BUILD_DEFINES, FILES, file_list, keep, rpmbuild

FLAVOUR = "cloud-amd64"  # signed as the others, and small


def release(name):
    """The newest release of the kernel NAME that the archive has in FLAVOUR."""
    wanted = re.compile(rf"linux-headers-({re.escape(name)}\.[^-]*-{FLAVOUR})")
    names = apt.package_names(builder.SUITE, f"linux-headers-{name}.")
    found = [m[1] for m in map(wanted.fullmatch, names) if m]
    return max(found, key=lambda r: [int(n) for n in re.findall(r"\d+", r)])


def make(name, target):
    """Put the packages of the newest kernel NAME into the new directory TARGET."""
    apt.update(builder.SUITE)
    version = release(name)
    base = version.removesuffix(f"-{FLAVOUR}")
    names = apt.package_names(builder.SUITE, "linux-")
    split = [n for n in (f"linux-{p}-{version}" for p in ("binary", "modules", "base")) if n in names]
    debs = apt.download(builder.SUITE, [
        *(split or [f"linux-image-{version}"]), f"linux-headers-{version}",
        f"linux-headers-{base}-common", f"linux-kbuild-{base}"])
    with progress(f"RPM payload: kernel {version}"), builder.Builder() as clone:
        rpms = _pack_kernel(clone, version, sorted(debs.iterdir()))
        keep(rpms, target)


def _pack_kernel(clone, version, debs):
    """Rearrange the kernel in DEBS as Fedora's packages have it, and build those."""
    work = clone.path / "convert"
    tree = work / "top/BUILDROOT"
    for deb in debs:
        apt.extract(deb, work / "one")
    modules = tree / "usr/lib/modules" / version
    for place in ("usr/lib/modules", "lib/modules"):
        if (work / "one" / place / version).is_dir():
            shutil.copytree(work / "one" / place / version, modules, symlinks=True,
                            dirs_exist_ok=True)
    for kind in ("vmlinuz", "config", "System.map"):
        if (work / f"one/boot/{kind}-{version}").exists():
            shutil.copy(work / f"one/boot/{kind}-{version}", modules / kind)
    shutil.copytree(work / "one/usr/src", tree / "usr/src", symlinks=True)
    for kbuild in (work / "one/usr/lib").glob("linux-kbuild-*"):
        shutil.copytree(kbuild, tree / "usr/lib" / kbuild.name, symlinks=True)
    for link in ("build", "source"):
        (modules / link).unlink(missing_ok=True)
    (modules / "build").symlink_to(f"/usr/src/linux-headers-{version}")
    lists = _kernel_lists(tree, modules)
    for part, lines in lists.items():
        (work / f"{part}.files").write_text(lines, encoding="utf-8")
    shutil.copy(FILES / "kernel.spec", work)
    number, suffix = re.match(r"([0-9.]+)(?:\+(\w+))?", version).groups()
    defines = {k: v for k, v in BUILD_DEFINES.items() if k != "_fileattrsdir"}
    return rpmbuild(clone, "/convert/kernel.spec",
                    {**defines, "kver": version,
                     "kernel_version": number, "kernel_release": f"1.{suffix or 'deb'}"},
                    "/convert/top/BUILDROOT")


def _kernel_lists(tree, modules):
    """The files of each package of the kernel whose files are in TREE."""
    lists = {"core": [], "modules": [], "devel": []}
    for line in file_list(tree).splitlines():
        name = line.split('"')[1] if '"' in line else ""
        inside = name.removeprefix(f"/usr/lib/modules/{modules.name}").lstrip("/")
        if not name or name in ("/usr", "/usr/lib", "/usr/src", "/usr/lib/modules"):
            continue
        if name.startswith(("/usr/src", "/usr/lib/linux-kbuild")) or inside == "build":
            lists["devel"].append(line)
        elif inside.startswith("kernel") and inside != "kernel":
            lists["modules"].append(line)
        else:
            lists["core"].append(line)
    return {part: "%defattr(-,root,root)\n" + "\n".join(lines) + "\n"
            for part, lines in lists.items()}
