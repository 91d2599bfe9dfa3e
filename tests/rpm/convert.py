# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages as RPM packages: the payload of the test system.

Names, versions, dependencies and files are taken over; maintainer scripts are
dropped, and so are dpkg and debconf themselves.  All packages come out of one run
of rpmbuild, which takes seconds where a run for each would take minutes.
"""

import re
import shutil
import subprocess
from pathlib import Path

from tests.lib import apt

FILES = Path(__file__).with_name("files")

# Not wanted on the system: other package managers' parts, and what only takes time.
LEFT_OUT = re.compile(r"dpkg|debconf|apt|perl|libperl.*|perl-modules.*|adduser|init-system-helpers")
DROPPED_PATHS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
                 "usr/share/lintian", "usr/share/bug", "usr/share/i18n", "usr/share/zoneinfo",
                 "usr/lib/python3/dist-packages/dnf-plugins")
MERGED = ("bin", "sbin", "lib", "lib64")  # links into usr

SPEC_HEAD = """\
Name: os-payload
Version: 1
Release: 1
Summary: Debian packages, converted
License: various
%description
Converted.
"""

BUILD_DEFINES = {
    "_binary_payload": "w1.zstdio",
    "_build_id_links": "none",
    "_unpackaged_files_terminate_build": "0",
    "__os_install_post": "%{nil}",
    "__spec_install_pre": "%{nil}",  # the files are there already
    "debug_package": "%{nil}",
    "_fileattrsdir": "/convert/attrs",  # the generator for shared libraries alone
    "_topdir": "/convert/top",
}


def convert(clone, debs):
    """Convert the files DEBS in the Builder CLONE; the directory with the RPMs."""
    work = clone.path / "convert"
    buildroot = work / "top/BUILDROOT"
    (work / "attrs").mkdir(parents=True)
    shutil.copy(clone.path / "usr/lib/rpm/fileattrs/elf.attr", work / "attrs")
    packages = [Package(deb) for deb in debs]
    packages = [p for p in packages if not LEFT_OUT.fullmatch(p.name)]
    names = {name for p in packages for name in (p.name, *p.provides)}
    spec = [SPEC_HEAD]
    for package in packages:
        files = work / f"{package.name}.files"
        files.write_text(package.unpack(work / "one", buildroot), encoding="utf-8")
        spec.append(package.spec(names))
    (work / "payload.spec").write_text("\n".join(spec), encoding="utf-8")
    return rpmbuild(clone, "/convert/payload.spec", BUILD_DEFINES, buildroot="/convert/top/BUILDROOT")


def rpmbuild(clone, spec, defines, buildroot=None, *more):
    """Build the binary RPMs of SPEC in CLONE; the directory with them."""
    options = [word for k, v in defines.items() for word in ("--define", f"{k} {v}")]
    if buildroot:
        options += ["--buildroot", buildroot]
    clone.run(["nice", "rpmbuild", "-bb", "--nodeps", "--noclean", *options, *more, spec])
    return clone.path / defines["_topdir"].lstrip("/") / "RPMS"


def keep(rpms, target):
    """Copy the packages below the directory RPMS into the new directory TARGET."""
    target.mkdir()
    for rpm in rpms.rglob("*.rpm"):
        shutil.copy(rpm, target)


class Package:
    """One Debian package."""

    def __init__(self, deb):
        self.deb = deb
        text = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True,
                              text=True).stdout
        self.fields = dict(re.findall(r"^(\S+): (.*)$", text, re.M))
        self.name = self.fields["Package"]
        self.provides = [p.split()[0] for p in self._list("Provides")]

    def _list(self, field):
        return [part.strip() for part in self.fields.get(field, "").split(",") if part.strip()]

    def requires(self, names):
        """What it depends on, as far as it is one of NAMES."""
        for clause in self._list("Depends") + self._list("Pre-Depends"):
            alternatives = [re.split(r"[\s:(]", a.strip())[0] for a in clause.split("|")]
            yield from [a for a in alternatives if a in names][:1]

    def spec(self, names):
        """Its part of the spec file, where NAMES is all that there is."""
        version = rpm_version(self.fields["Version"])
        lines = [f"%package -n {self.name}", f"Version: {version}", "Release: 1",
                 f"Summary: {self.fields['Description'].replace('%', '%%')}", "AutoReq: no"]
        lines += [f"Provides: {name}" for name in self.provides]
        lines += [f"Requires: {name}" for name in sorted(set(self.requires(names)))]
        lines += [f"%description -n {self.name}", "Converted.",
                  f"%files -n {self.name} -f /convert/{self.name}.files"]
        return "\n".join(lines)

    def unpack(self, scratch, buildroot):
        """Put its files into BUILDROOT; the lines for them in the spec file."""
        shutil.rmtree(scratch, ignore_errors=True)
        apt.extract(self.deb, scratch)
        for name in MERGED:
            if (scratch / name).is_dir() and not (scratch / name).is_symlink():
                subprocess.run(["cp", "-a", f"{scratch / name}/.", scratch / "usr" / name]
                               if (scratch / "usr" / name).is_dir() else
                               ["cp", "-aT", scratch / name, scratch / "usr" / name], check=True)
                shutil.rmtree(scratch / name)
        for path in DROPPED_PATHS:
            shutil.rmtree(scratch / path, ignore_errors=True)
        if self.name == "base-files":  # the test system says itself what it is
            for path in ("etc/os-release", "usr/lib/os-release", "etc/issue", "etc/motd"):
                (scratch / path).unlink(missing_ok=True)
        buildroot.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", f"{scratch}/.", buildroot], check=True)
        return file_list(scratch)


def file_list(root):
    """The files below ROOT, as a spec file lists them."""
    lines = ["%defattr(-,root,root)"]
    for path in sorted(root.rglob("*")):
        name = "/" + str(path.relative_to(root))
        name = name.replace("%", "%%")  # quotes keep the rest from being a pattern
        kind = "%dir " if path.is_dir() and not path.is_symlink() else ""
        lines.append(f'{kind}"{name}"')
    return "\n".join(lines) + "\n"


def rpm_version(version):
    """A Debian version as RPM takes it."""
    return re.sub(r"[^A-Za-z0-9._+~^]", ".", version.split(":")[-1])
