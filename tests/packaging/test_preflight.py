# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep preflight with the real dkms: a kernel that apt has, and is not installed.

apt itself is played, as the roots have no archive: it would upgrade to the kernel
whose headers were taken away into packages.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lib.roots import root
from tests.packaging.target import Target
from tests.packaging.variants import packages

APT_GET = """#!/bin/sh
case "$*" in
*full-upgrade*) cat /archive/simulation ;;
*download*) for name; do case $name in linux-*) cp "/archive/$name.deb" . || exit; esac; done ;;
*) exec /usr/bin/apt-get.real "$@" ;;
esac
"""
APT_CACHE = """#!/bin/sh
ls /archive | sed -n 's/\\.deb$//p'
"""
CONTROL = """Package: {0}
Version: 1
Architecture: amd64
Maintainer: nobody <nobody@flightrec.example>
Description: played
"""


@pytest.fixture(scope="module")
def target():
    """A system with the driver on one kernel, and another kernel's headers in the archive."""
    with Target("bookworm") as clone:
        clone.next = clone.kernels[-1]
        for kernel in clone.kernels[1:-1]:
            shutil.rmtree(clone.path / "lib/modules" / kernel)
        put_headers_into_archive(clone)
        clone.install(packages("bookworm").values())
        assert {kernel for _, kernel, _ in clone.dkms()} == {clone.kernels[0]}
        for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE)):
            (clone.path / "usr/bin" / name).rename(clone.path / f"usr/bin/{name}.real")
            clone.write(f"/usr/bin/{name}", text, 0o755)
        yield clone


def put_headers_into_archive(clone):
    """Package what the headers of the next kernel are, as Debian does, and take them away."""
    short = clone.next.removesuffix("-amd64")
    for name, path in (
        (f"linux-headers-{clone.next}", f"usr/src/linux-headers-{clone.next}"),
        (f"linux-headers-{short}-common", f"usr/src/linux-headers-{short}-common"),
        (f"linux-kbuild-{short}", f"usr/lib/linux-kbuild-{short}"),
    ):
        clone.run(f"mkdir -p /archive/{name}/DEBIAN /archive/{name}/$(dirname {path});"
                  f" mv /{path} /archive/{name}/{path}")
        clone.write(f"/archive/{name}/DEBIAN/control", CONTROL.format(name))
        clone.run(["dpkg-deb", "-Znone", "-b", f"/archive/{name}", f"/archive/{name}.deb"])
        shutil.rmtree(clone.path / "archive" / name)
    shutil.rmtree(clone.path / "lib/modules" / clone.next)
    clone.write("/archive/simulation", f"""\
Inst linux-image-{clone.next} (1 archive [amd64])
Inst linux-image-{clone.next}-dbg (1 archive [amd64])
Inst linux-headers-{clone.next} (1 archive [amd64])
Conf linux-image-{clone.next} (1 archive [amd64])
""")


PREFLIGHT = Path(__file__).parents[2] / "kmodkeep/preflight"


@pytest.mark.parametrize("suite", ["bullseye", "bookworm", "trixie", "sid"])
def test_release_of_stock_headers(suite):
    """What goes into a module, of the headers as Debian ships them.

    include/config/kernel.release has the number of the upstream version in some.
    """
    function = subprocess.run(["sed", "-n", "/^release_of()/,/^}/p", PREFLIGHT],
                              capture_output=True, text=True, check=True).stdout  # fmt: skip
    found = [d for d in (root(suite) / "usr/src").glob("linux-headers-*-*64") if (d / ".config").exists()]
    assert found
    for headers in found:
        said = subprocess.run(["sh", "-euc", f'{function}\nrelease_of "$1"', "sh", headers],
                              capture_output=True, text=True, check=True).stdout  # fmt: skip
        assert said.strip() == headers.name.removeprefix("linux-headers-")


def preflight(target, *words):
    """Its exit code and output; nothing may be left behind by it."""
    before = target.files()
    done = target.run(["kmodkeep", "preflight", *words], check=False)
    assert target.files() == before
    assert not list((target.path / "var/tmp").glob("kmodkeep-preflight*"))
    return done.returncode, done.stdout


def test_safe(target):
    code, text = preflight(target, "--candidate")
    assert code == 0, text
    assert f"{target.next}: flightrec: ok: " in text and "-dbg" not in text
    assert f"safe: all guarded drivers load on: {target.next}" in text


def test_no_key_of_dkms_is_left_behind(target):
    """dkms makes the one that it signs with, where it has none."""
    for path in (target.path / "var/lib/dkms").glob("mok.*"):
        path.unlink()
    code, text = preflight(target)
    assert code == 0 and "gets one for this test alone" in text, text


def test_build_that_fails(target):
    source = next((target.path / "usr/src").glob("flightrec-*/main.c"))
    text = source.read_text()
    source.write_text("#error broken by the test\n" + text)
    code, said = preflight(target)
    source.write_text(text)
    assert code == 1, said
    assert f"{target.next}: flightrec: missing: version " in said
    assert "broken by the test" in said and "not safe: " in said


def test_no_kernel_to_install(target):
    simulation = target.path / "archive/simulation"
    text = simulation.read_text()
    simulation.write_text("Inst bash (1 archive [amd64])\n")
    assert preflight(target) == (0, "kmodkeep: apt would install no kernel\n")
    simulation.write_text(text)


def test_headers_that_cannot_be_had(target):
    code, text = preflight(target, "--kernel", "9.9-amd64")
    assert code == 3 and "its headers cannot be fetched" in text


def test_usage(target):
    for words in (["--kernel"], ["--kernel", "../x"], ["nonsense"]):
        assert preflight(target, *words)[0] == 2
    assert "Exit code" in preflight(target, "--help")[1]
