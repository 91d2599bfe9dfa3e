# SPDX-License-Identifier: GPL-2.0-or-later
"""How the packages are built."""

import subprocess

from tests.packaging.variants import (
    NEXT,
    TOP,
    VERSION,
    build_packages,
    edited_tree,
    packages,
)


def test_the_driver_is_one_file_for_all_suites():
    drivers = {packages(suite)["flightrec-dkms"] for suite in ("bookworm", "sid")}
    assert len(drivers) == 1


def test_the_same_source_gives_the_same_files(tmp_path):
    suite = build_packages.SOURCE_SUITE
    files = build_packages.source_files(TOP, "all")
    build_packages.build_in_root(TOP, files, suite, "all", tmp_path)
    first = {deb.name: deb.read_bytes() for deb in build_packages.built(TOP, suite, "all")}
    again = {deb.name: deb.read_bytes() for deb in tmp_path.glob("*.deb")}
    assert sorted(first) == sorted(again) and "flightrec-dkms" in "".join(first)
    assert not [name for name in first if first[name] != again[name]]


def test_two_versions_stop_the_build(tmp_path):
    edited_tree(tmp_path, NEXT, in_changelog=VERSION)
    done = subprocess.run(["make", "-f", "debian/rules", "clean"], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode
    assert f'dkms.conf has version "{NEXT}", debian/changelog has "{VERSION}"' in done.stderr
