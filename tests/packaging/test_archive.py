# SPDX-License-Identifier: GPL-2.0-or-later
"""Every DKMS package of the archive: kmodkeep finds the modules that its dkms.conf names.

kmodkeep runs no dkms.conf; here bash does, in a root of the suite, as dkms would.
"""

import json

import pytest

from tests.lib import apt
from tests.packaging.target import Target
from tests.packaging.variants import packages

SUITES = ["bookworm", "trixie"]

# Only a command tells whether dkms.conf names them: they count once dkms has built them.
TOLD_BY_COMMANDS = {"lttng_probe_9p"}

# NAME<tab>VERSION<tab>SOURCE<tab>MODULE..., for each source and kernel.
ASK = r"""
for kernel; do
    for source in /usr/src/*; do
        [ -e "$source/dkms.conf" ] || continue
        (
            uname() { if [ "$1" = -r ]; then echo "$kernel"; else command uname "$@"; fi; }
            kernelver=$kernel arch=x86_64 dkms_tree=/var/lib/dkms source_tree=/usr/src
            kernel_source_dir=/lib/modules/$kernel/build
            cd "$source" && . ./dkms.conf >/dev/null 2>&1
            [ ${#BUILT_MODULE_NAME[@]} -gt 0 ] || BUILT_MODULE_NAME=("$PACKAGE_NAME")
            names=
            for i in "${!BUILT_MODULE_NAME[@]}"; do
                names="$names ${DEST_MODULE_NAME[i]:-${BUILT_MODULE_NAME[i]}}"
            done
            printf '%s\t%s\t%s\t%s\n' "$PACKAGE_NAME" "$PACKAGE_VERSION" "$source" "$names"
        )
    done
done
"""


def installed(clone, suite):
    """Put the sources of all DKMS packages of SUITE into CLONE; {driver: modules} by bash."""
    names = sorted(n for n in apt.package_names(suite, "") if n.endswith("-dkms"))
    assert len(names) > 20
    names.remove("dh-dkms")
    for deb in apt.download(suite, names).iterdir():
        apt.extract(deb, clone.path / "unpacked")
    for source in (clone.path / "unpacked/usr/src").iterdir():
        source.rename(clone.path / "usr/src" / source.name)
    kernels = [d.name for d in (clone.path / "lib/modules").iterdir() if (d / "build").is_symlink()]
    for kernel in kernels:
        headers = clone.path / "usr/src" / f"linux-headers-{kernel}"
        clone.path.joinpath(f"boot/config-{kernel}").write_bytes((headers / ".config").read_bytes())
        clone.path.joinpath(f"boot/vmlinuz-{kernel}").write_bytes(b"MZ")
    found, sources = {}, {}
    for line in clone.run(["bash", "-c", ASK, "bash", *kernels]).stdout.splitlines():
        name, version, source, modules = line.split("\t")
        # Two packages that conflict may have one driver: the first is installed.
        if sources.setdefault(name, source) == source:
            found.setdefault(name, set()).update(m.replace("-", "_") for m in modules.split())
            link = clone.path / "var/lib/dkms" / name / version / "source"
            if not link.is_symlink():
                link.parent.mkdir(parents=True)
                link.symlink_to(source)
    return found


@pytest.mark.parametrize("suite", SUITES)
def test_modules_of_every_driver(suite):
    with Target(suite) as clone:
        clone.install([packages(suite)["kmodkeep"]])
        expected = installed(clone, suite)
        said = clone.run(["kmodkeep", "doctor", "--all", "--json"], check=False).stdout
    document = json.loads(said)
    named = {}
    for finding in document["findings"]:
        named.setdefault(finding["driver"], set()).add(finding["module"].replace("-", "_"))
    assert len(expected) > 20
    assert named == {name: modules - TOLD_BY_COMMANDS for name, modules in expected.items()}
