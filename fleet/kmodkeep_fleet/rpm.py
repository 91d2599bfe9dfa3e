# SPDX-License-Identifier: GPL-2.0-or-later
"""RPM packages of modules, as "package --format rpm" makes them.

    kmod-DRIVER-RELEASE    the modules of one kernel; requires exactly its package
    kmod-DRIVER            requires those of the newest kernel, and conflicts with kernels that are newer

A kernel is installed beside the one before, so the conflict is with a package that is not there yet:
dnf would give up its whole transaction for it.  That it leaves the kernel out, and brings all else, is
done by kmodkeep's plug-in of dnf 4, which finds what to do in the provide kmodkeep-hold(KERNEL), and for
dnf5 by a setting.  Modules lie where those of Debian packages do, below /usr.  weak-modules is not
called: for which kernels a module was built and tried is what these packages say.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import cache
from .states import Usage

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
FOLDER = "updates/prebuilt"
KEEPER = "kmodkeep >= 0.1.0"
PLUGIN = "(python3-dnf-plugin-kmodkeep if python3-dnf)"
# Where no plug-in leaves out what has to wait, one update that cannot be had must not stop all others.
DNF5 = ("# A kernel without this driver waits; this lets all other updates go on meanwhile.\n"
        "[main]\nbest=False\n")  # fmt: skip

# What rpm would do to what it packs: strip signatures off, compress, ask what it needs.
DEFINES = {
    "__os_install_post": "%{nil}", "debug_package": "%{nil}", "_build_id_links": "none", "__spec_install_pre": "%{nil}",
    "_buildhost": "kmodkeep", "use_source_date_epoch_as_buildtime": "1", "_binary_payload": "w6.xzdio",
}  # fmt: skip

SPEC = """Name: {name}
Version: {version}
Release: {release}
Summary: {summary}
License: see the source of the driver
Packager: {packager}
AutoReqProv: no
{relations}
%description
{summary}.
{scripts}
%files
{files}
"""

# The kernel's own script runs depmod where the kernel is installed later.
SCRIPTS = """
%pre
{check}
accepted || exit $?

%post
if [ -e /usr/lib/modules/{release}/modules.builtin ]; then depmod {release} || exit $?; fi

%postun
if [ "$1" = 0 ] && [ -e /usr/lib/modules/{release}/modules.dep ]; then
	depmod {release} || echo "kmodkeep: the list of modules still has removed ones. Next: depmod {release}" >&2
fi
"""


def call(*command, **more):
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", **more)
    except FileNotFoundError:
        raise Usage(f"no {command[0]} here. Next: install the package that has it (rpm, rpm-build)") from None


def later(one, other):
    """For sorting, as rpm compares versions."""
    done = call("rpm", "--eval", f'%{{lua: print(rpm.vercmp("{one}", "{other}"))}}')
    if done.stdout.strip() not in ("-1", "0", "1"):
        raise Usage(f"rpm cannot compare {one} and {other}: {done.stderr.strip()}")
    return int(done.stdout)


def word(text):
    """TEXT as the version or the release of a package can have it."""
    return re.sub(r"[^A-Za-z0-9.+~^]", ".", text)


def name_of(one):
    return f"kmod-{re.sub(r'[^A-Za-z0-9.+_-]', '-', one.driver)}"


def version_of(one, options):
    """(version, release), higher for a later driver, and for the same driver and a later kernel."""
    return word(options.version or one.driver_version), f"{options.revision}.{word(one.kernel_version)}"


def rpm(options, one, name, summary, relations, files, scripts=""):
    """A package file in options.out; the same input gives the same bytes."""
    version, release = version_of(one, options)
    architecture = ARCHITECTURES.get(one.architecture, one.architecture)
    with tempfile.TemporaryDirectory(prefix="kmodkeep-package-") as directory:
        root = Path(directory, "root")
        for path, data in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
            (root / path).chmod(0o644)
            os.utime(root / path, (0, 0))
        text = SPEC.format(name=name, version=version, release=release, summary=summary,
                           packager=options.maintainer.replace("%", "%%"), relations="".join(f"{line}\n" for line in relations),
                           scripts=scripts, files="%defattr(-,root,root)\n" + "".join(f'"/{path}"\n' for path, _ in sorted(files)))  # fmt: skip
        spec = Path(directory, "package.spec")
        spec.write_text(text, encoding="utf-8")
        defines = {**DEFINES, "_topdir": f"{directory}/top"}
        words = [part for key, value in defines.items() for part in ("--define", f"{key} {value}")]
        done = call("rpmbuild", "-bb", "--nodeps", "--target", architecture, "--buildroot", root, *words, spec,
                    env={**os.environ, "SOURCE_DATE_EPOCH": "1", "LC_ALL": "C", "TZ": "UTC"})  # fmt: skip
        made = list(Path(directory, "top/RPMS").rglob("*.rpm"))
        if done.returncode or len(made) != 1:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing was said"]
            raise OSError(0, f"rpmbuild failed: {last[0]}")
        target = Path(options.out, made[0].name)
        partial = target.with_name(f".partial-{target.name}")
        shutil.copyfile(made[0], partial)
        cache.publish(partial, target)
        return target


def modules_package(one, options):
    name = f"{name_of(one)}-{one.release}"
    version, release = version_of(one, options)
    relations = [f"Requires: {one.kernel_package} = {one.kernel_version}", "Requires(pre): coreutils gzip", "Requires(post): kmod", "Requires(postun): kmod",
                 f"Provides: {one.driver}-kmod = {version}-{release}"]  # fmt: skip
    # One dash is all that a version can have.
    if one.release.count("-") == 1:
        relations.append(f"Requires: kernel-uname-r = {one.release}")
    files = [(f"usr/lib/modules/{one.release}/{FOLDER}/{file}", data) for file, data in one.files.items()]
    files.append((f"usr/lib/depmod.d/{name}.conf", one.overrides()))
    files += one.provenance(f"{version}-{release}", options.log, name)
    return rpm(options, one, name, f"Modules of {one.driver} for Linux {one.release}", relations, files,
               SCRIPTS.format(release=one.release, check=one.check(name)))  # fmt: skip


def meta_package(newest, options):
    name = name_of(newest)
    flavour = newest.kernel_package.removeprefix("kernel").removesuffix("-core").strip("-")
    if flavour:
        name += f"-{flavour}"
    version, release = version_of(newest, options)
    kernel = f"{newest.kernel_package} = {newest.kernel_version}"
    # A later driver for the same kernel may come without a new one of this.
    relations = [f"Requires: {name_of(newest)}-{newest.release} >= {version}-{release}", f"Requires: {KEEPER}", f"Requires: {PLUGIN}",
                 f"Conflicts: {kernel.replace('=', '>')}", f"Provides: kmodkeep-hold({kernel.replace(' =', ') =')}"]  # fmt: skip
    files = [(f"usr/share/dnf5/libdnf.conf.d/80-{name}.conf", DNF5.encode())]
    return rpm(options, newest, name, f"Modules of {newest.driver} for the newest kernel that has them", relations, files)
