# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of modules that "build" made, signed since or not, and the one that holds the kernel.

    DRIVER-modules-RELEASE    the modules of one kernel; needs exactly the kernel package that they
                              were built against.  apt keeps it as long as that kernel, by its name.
    DRIVER-modules            follows the kernel's own metapackages, no further than there are modules

Modules lie in updates/prebuilt, and win by a line of depmod's configuration over those of DKMS.
rpm.py has the same for RPM.
"""

import base64
import functools
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import cache, module, provenance, rpm
from .states import Usage, plain

FOLDER = "updates/prebuilt"
HOLD = "/usr/lib/kmodkeep/kernel-hold"
KEEPER = "kmodkeep (>= 0.1.0~)"  # the first that has it

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:_-]{0,199}")
FILE = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*\.ko")
RELEASE = re.compile(r"[0-9][^-]*(?:-[0-9]+(?:\.[^-]*)?)?-(.+)")

# A package is never left half-configured for it: what the next "apt update" does is the same.
WRITE = f"""
	timeout -k 10 300 {HOLD} write {{without}}|| echo "kmodkeep: the kernel's hold is not as it should be. Next: {HOLD} update" >&2
"""
# The kernel's own script runs depmod where the kernel is unpacked later.
# Asked before anything is replaced, about one module of the package that the script carries.  What
# waits for its key to be enrolled is taken: it is loaded at the earliest after the next boot.
CHECK = """
accepted() {{
	if [ -n "${{DPKG_ROOT-}}" ] || ! command -v kmodkeep >/dev/null; then return 0; fi
	# What this machine trusts is not what an image will.
	if ! command -v systemd-detect-virt >/dev/null; then
		timeout -k 10 300 kmodkeep key status --shell | grep -qx place=host || return 0
	elif systemd-detect-virt -q -r || systemd-detect-virt -q -c; then return 0; fi
	# A full disk, or a program that is missing, says nothing about the signer.
	if ! dir=$(mktemp -d) || ! base64 -d <<'END' | gzip -d >"$dir/{file}"
{module}END
	then
		[ -z "$dir" ] || rm -rf "$dir"
		echo "kmodkeep: whether its kernel loads {file} could not be told: it could not be unpacked" >&2
		return 0
	fi
	code=0
	said=$(timeout -k 10 300 kmodkeep verify --kernel {release} --accept pending-enrolment "$dir/{file}") || code=$?
	rm -rf "$dir"
	case $code in
	0) ;;
	1)
		echo "kmodkeep: {package} is not installed, since its kernel would not load {file}: ${{said#"$dir/{file}: "}}" >&2
		return 1
		;;
	*) echo "kmodkeep: whether its kernel loads {file} could not be told: ${{said#"$dir/{file}: "}}" >&2 ;;
	esac
}}
"""
PREINST = """#!/bin/sh
set -e
{check}
case $1 in install | upgrade) accepted ;; esac
"""
POSTINST = f"""#!/bin/sh
set -e
if [ "$1" = configure ] && [ -e /lib/modules/{{release}}/modules.builtin ]; then
	depmod {{release}}
fi
if [ -x {HOLD} ]; then{WRITE.format(without="")}fi
"""
# depmod may be gone already, or the disk be full: the modules are gone all the same.
POSTRM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -e /lib/modules/{release}/modules.dep ]; then
	depmod {release} || echo "kmodkeep: the list of modules still has removed ones. Next: depmod {release}" >&2
fi
"""
# dpkg calls the first also when a removal did not come off: then the pin is there again.
META_POSTINST = f"""#!/bin/sh
set -e
if [ -x {HOLD} ]; then{WRITE.format(without="")}fi
"""
PRERM = f"""#!/bin/sh
set -e
if [ "$1" = remove ] && [ -x {HOLD} ]; then{WRITE.format(without="--without {name} ")}fi
"""


class Modules:
    """A folder with manifest.json, checked: the modules are those of the manifest, or these and a signature."""

    def __init__(self, directory):
        self.directory = Path(directory)
        path = self.directory / "manifest.json"
        try:
            self.manifest, doc = provenance.read_json(path)
            if doc["schema"] != 1:
                raise ValueError("schema is not 1")
            self.release = self._word(doc, "kernel")
            self.kernel_package = self._word(doc, "kernel_package")
            self.kernel_version = self._word(doc, "kernel_package_version")
            self.driver = self._word(doc, "driver")
            self.driver_version = self._word(doc, "driver_version")
            self.architecture = self._word(doc, "architecture")
            self.files = {}
            self.signed = True
            for one in doc["modules"]:
                if not FILE.fullmatch(one["file"]) or not re.fullmatch(r"[A-Za-z0-9_-]+", one["name"]):
                    raise ValueError("a module has no plain name")
                self.files[one["file"]] = self._checked(one)
            self.names = [one["name"] for one in doc["modules"]]
            if not self.files or len(self.files) != len(doc["modules"]):
                raise ValueError("no module, or one twice")
            inputs = doc.setdefault("inputs", {})
            if not isinstance(inputs, dict) or not all(isinstance(one, str) for one in inputs.values()):
                raise ValueError("'inputs' are no packages and versions")
            if doc.get("source_sha256") is not None and not re.fullmatch("[0-9a-f]{64}", doc["source_sha256"]):
                raise ValueError("'source_sha256' is no SHA-256")
            self.doc = doc
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Usage(f"{path}: not used: {error}. Next: build it anew") from None
        found = RELEASE.fullmatch(self.release)
        if not found:
            raise Usage(f"{path}: kernel '{self.release}' names no flavour, so no metapackage can be followed. "
                        "Next: --follow PACKAGE,PACKAGE")  # fmt: skip
        self.flavour = found[1]
        self.others = provenance.others(directory, self.doc)

    def provenance(self, version, logs, package=None):
        """(path, content) of what the package carries of where it comes from."""
        digests = {one["sha256"] for one in self.doc["modules"]}
        found = {"manifest.json": self.manifest, **self.others}
        package = package or self.package
        lines = [line for log in logs for line in provenance.log_lines(log, digests)]
        if lines:
            found["log.jsonl"] = b"".join(lines)
        found["sbom.spdx.json"] = provenance.spdx(package, version, self.doc, self.files)
        return [(f"{provenance.FOLDER}/{package}/{name}", data) for name, data in sorted(found.items())]

    def check(self, package):
        """The function accepted() of a script, about the smallest module."""
        file, data = min(self.files.items(), key=lambda item: (len(item[1]), item[0]))
        text = base64.encodebytes(gzip.compress(data, mtime=0)).decode("ascii")
        return CHECK.format(file=file, module=text, release=self.release, package=package)

    def overrides(self):
        """For depmod: these modules win over others of the same name."""
        return "".join(f"override {name} {self.release} {FOLDER}\n" for name in self.names).encode()

    @staticmethod
    def _word(doc, key):
        if not isinstance(doc[key], str) or not WORD.fullmatch(doc[key]):
            raise ValueError(f"'{key}' is no plain word")
        return doc[key]

    def _checked(self, one):
        with open(self.directory / one["file"], "rb") as file:
            data = file.read()
        differs = provenance.difference(data, one)
        if differs:
            raise ValueError(differs)
        wrong = other_kernel(one["file"], data[: one["size"]], self.release)
        if wrong:
            raise ValueError(wrong)
        self.signed &= len(data) > one["size"]
        return data

    @property
    def package(self):
        return f"{package_name(self.driver)}-modules-{self.release.lower()}"

    def version(self, upstream, revision):
        """Higher for a later driver, and for the same driver and a later kernel."""
        return f"{upstream or upstream_of(self.driver_version)}-{revision}+{self.kernel_version.replace(':', '.').replace('-', '.')}"


def other_kernel(file, data, release):
    """None where the module DATA, without a signature, is for kernel RELEASE, else what it is for."""
    its = module.describe(data)["vermagic"].split(" ")[0]
    return None if its == release else f"{file} is for kernel {plain(its)}, not for {release}"


def package_name(driver):
    return re.sub(r"[^a-z0-9.+-]", "-", driver.lower())


def upstream_of(version):
    version = re.sub(r"[^A-Za-z0-9.+~-]", ".", version)
    return version if version[0].isdigit() else f"0+{version}"


def later(one, other):
    """For sorting, as dpkg compares versions; rpm.later() does it as rpm does."""
    if one == other:
        return 0
    return 1 if subprocess.run(["dpkg", "--compare-versions", one, "gt", other]).returncode == 0 else -1


def deb(out, control, files=(), scripts=()):
    """A package file in OUT; the same input gives the same bytes."""
    with tempfile.TemporaryDirectory(prefix="kmodkeep-package-") as directory:
        top = Path(directory, "package")
        (top / "DEBIAN").mkdir(parents=True)
        for path, data in files:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)
        size = sum(len(data) for _, data in files) // 1024 + 1
        text = "".join(f"{key}: {value}\n" for key, value in {**control, "Installed-Size": size}.items())
        (top / "DEBIAN/control").write_text(text, encoding="utf-8")
        for name, body in scripts:
            (top / "DEBIAN" / name).write_text(body, encoding="utf-8")
        for path in top.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "DEBIAN" and path.name != "control" else 0o644)
        top.chmod(0o755)
        made = Path(directory, f"{control['Package']}_{control['Version'].split(':')[-1]}_{control['Architecture']}.deb")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", top, made], check=True,
                       stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})  # fmt: skip
        partial = Path(out, f".partial-{made.name}")
        shutil.copyfile(made, partial)
        cache.publish(partial, Path(out, made.name))
        return Path(out, made.name)


def fields(deb):
    """The control file of a package."""
    names = ("Package", "Version", "Architecture", "Depends", "Kmodkeep-Kernel-Metas", "Kmodkeep-Kernel-Release")
    form = "".join("${%s}\\n" % name for name in names)
    done = subprocess.run(["dpkg-deb", "-W", f"--showformat={form}", deb], capture_output=True, text=True)
    values = done.stdout.split("\n")
    if done.returncode or len(values) < len(names):
        raise Usage(f"{deb}: is no Debian package")
    return dict(zip(names, values))


def extract(deb, into):
    """The files of a package, below the folder INTO."""
    done = subprocess.run(["dpkg-deb", "-x", deb, into], capture_output=True)
    if done.returncode:
        raise Usage(f"{deb}: cannot be unpacked")


def modules_package(one, options):
    fields = {
        "Package": one.package,
        "Version": one.version(options.version, options.revision),
        "Architecture": one.architecture,
        "Maintainer": options.maintainer,
        "Section": "kernel",
        "Priority": "optional",
        "Depends": " | ".join(f"linux-image-{one.release}{kind} (= {one.kernel_version})" for kind in ("", "-unsigned"))
                   + ", kmod",
        "Kmodkeep-Kernel-Version": one.kernel_version,
        "Kmodkeep-Kernel-Release": one.release,
        "Description": f"modules of {one.driver} for Linux {one.release}\n"
                       f" They were built against version {one.kernel_version} of that kernel's package,\n"
                       " so that no compiler is needed here.",
    }  # fmt: skip
    files = [(f"lib/modules/{one.release}/{FOLDER}/{name}", data) for name, data in sorted(one.files.items())]
    files.append((f"lib/depmod.d/{one.package}.conf", one.overrides()))
    files += one.provenance(fields["Version"], options.log)
    scripts = [("preinst", PREINST.format(check=one.check(one.package))),
               ("postinst", POSTINST.format(release=one.release)), ("postrm", POSTRM.format(release=one.release)),
               ("prerm", PRERM.format(name=one.package))]  # fmt: skip
    return deb(options.out, fields, files, scripts)


def meta_package(newest, options):
    metas = options.follow.split(",") if options.follow else \
        [f"linux-image-{newest.flavour}", f"linux-headers-{newest.flavour}"]  # fmt: skip
    name = f"{package_name(newest.driver)}-modules"
    if newest.flavour != newest.architecture:
        name += f"-{newest.flavour}"
    version = newest.version(options.version, options.revision)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": newest.architecture,
        "Maintainer": options.maintainer,
        "Section": "metapackages",
        "Priority": "optional",
        "Depends": f"{newest.package} (= {version}), {metas[0]} (>= {newest.kernel_version}), {KEEPER}",
        "Breaks": ", ".join(f"{meta} (>> {newest.kernel_version})" for meta in metas),
        "Kmodkeep-Kernel-Version": newest.kernel_version,
        "Kmodkeep-Kernel-Metas": " ".join(metas),
        "Description": f"modules of {newest.driver} for the newest kernel that has them\n"
                       f" A newer {metas[0]} waits until there are modules for it.",
    }  # fmt: skip
    scripts = [("postinst", META_POSTINST), ("prerm", PRERM.format(name=name))]
    return deb(options.out, fields, scripts=scripts)


# ---- the verb


def add_options(parser):
    parser.add_argument("--out", metavar="DIR", required=True, help="gets the packages")
    parser.add_argument("--maintainer", metavar="'NAME <ADDRESS>'", required=True,
                        help="who is named where a kernel waits for these packages")  # fmt: skip
    parser.add_argument("--version", metavar="VERSION", help="of the packages, in place of the driver's own")
    parser.add_argument("--revision", metavar="N", type=int, default=1, help="higher for the same version once more")
    parser.add_argument("--follow", metavar="PACKAGE[,PACKAGE]",
                        help="the kernel's metapackages (default: linux-image- and linux-headers-FLAVOUR)")  # fmt: skip
    parser.add_argument("--log", metavar="FILE", action="append", default=[],
                        help="the log of a signer, whose lines about these modules go into their packages")  # fmt: skip
    parser.add_argument("--format", choices=("deb", "rpm"), default="deb", help="of the packages (default: deb)")
    parser.add_argument("--unsigned", action="store_true", help="take modules that nobody has signed")
    parser.add_argument("modules", metavar="DIR", nargs="+",
                        help="a folder that build made: manifest.json and modules; and NAME.manifest.json of other builders")  # fmt: skip


def run(options):
    if not re.fullmatch(r"[^\n<>]+ <[^\n<> ]+@[^\n<> ]+>", options.maintainer):
        raise Usage(f"'{options.maintainer}' is no maintainer. Next: --maintainer 'NAME <ADDRESS>'")
    if options.version and not re.fullmatch(r"[0-9][A-Za-z0-9.+~-]*", options.version):
        raise Usage(f"'{options.version}' is no version of a Debian package")
    if options.follow and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+(,[a-z0-9][a-z0-9.+-]+)*", options.follow):
        raise Usage(f"'{options.follow}' are no names of packages, with commas between them")
    if options.follow and options.format == "rpm":
        raise Usage("--follow: the kernel that RPM packages wait with is the manifest's 'kernel_package'")
    every = [Modules(directory) for directory in options.modules]
    for one in every:
        if not one.signed and not options.unsigned:
            raise Usage(f"{one.directory}: not all of its modules are signed. "
                        "Next: kmodkeep manifest sign and join; or --unsigned, for hosts without Secure Boot")  # fmt: skip
    form = rpm if options.format == "rpm" else sys.modules[__name__]
    groups = {}
    for one in every:
        kernel = one.kernel_package if form is rpm else one.flavour
        groups.setdefault((one.driver, one.architecture, kernel), []).append(one)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    made = []
    for group in groups.values():
        made += [form.modules_package(one, options) for one in group]
        newest = max(group, key=functools.cmp_to_key(lambda a, b: form.later(a.kernel_version, b.kernel_version)))
        made.append(form.meta_package(newest, options))
    for path in made:
        print(path)
    return 0
