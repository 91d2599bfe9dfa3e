# SPDX-License-Identifier: GPL-2.0-or-later
"""libflightrec: its tests in C, what it exports, and the fuzzers."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.lib.tools import HERE, OUT, TOP, build

CASES = re.findall(r"cmocka_unit_test\((\w+)\)", (HERE / "test_library.c").read_text())
FUZZERS = sorted(path.stem for path in HERE.glob("fuzz_*.c"))

# Runs that take a few seconds each; `make fuzz` goes on for as long as one likes.
RUNS = {"fuzz_containers": 20000, "fuzz_decode": 20000, "fuzz_dump": 600, "fuzz_export": 20000, "fuzz_fields": 20000,
        "fuzz_json": 8000, "fuzz_text": 800}  # fmt: skip


@pytest.fixture(scope="module")
def output():
    build()
    done = subprocess.run([OUT / "test_library"], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_library(output, case):
    assert f"[       OK ] {case}\n" in output and "Sanitizer" not in output, output[-4000:]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The library as `make install` leaves it."""
    root = tmp_path_factory.mktemp("root")
    build = tmp_path_factory.mktemp("build")
    make = ["make", "-s", "-C", TOP / "lib", f"BUILDDIR={build}", f"DESTDIR={root}",
            "FLIGHTREC_LIBDIR=/usr/lib/somewhere", "CFLAGS=-O1 -Werror", "install"]  # fmt: skip
    subprocess.run(make, check=True)
    return root


def test_exports_what_the_header_declares(installed):
    library = installed / "usr/lib/somewhere/libflightrec.so.0"
    symbols = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                             capture_output=True, text=True).stdout  # fmt: skip
    exported = re.findall(r" T (flightrec_\w+)@@FLIGHTREC_0\.1$", symbols, re.M)
    header = (installed / "usr/include/flightrec.h").read_text()
    declared = set(re.findall(r"\b(flightrec_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S)))
    inline = set(re.findall(r"^static inline .*\b(flightrec_\w+)\(", header, re.M))
    assert set(exported) == declared - inline and len(inline) == 3
    assert len(symbols.splitlines()) == len(exported) + 1, "and nothing but the version itself"
    # The lists that are committed; both package formats link with the first.
    assert re.findall(r"^\t(\w+);$", (TOP / "lib/libflightrec.map").read_text(), re.M) == exported
    debian = (TOP / "debian/libflightrec0.symbols").read_text()
    assert re.findall(r"^ (flightrec_\w+)@FLIGHTREC_0\.1 ", debian, re.M) == exported


def test_a_header_that_changes_is_compiled_anew():
    """make finds what an object depends on under the name that its rule has."""
    build()
    listed = [*OUT.glob("*/lib/*.d"), *OUT.glob("*/tools/*.d")]
    assert listed
    for path in listed:
        assert path.read_text().startswith(f"{path.with_suffix('.o')}: "), path


def test_manual_has_every_function():
    header = (TOP / "lib/flightrec.h").read_text()
    declared = set(re.findall(r"\b(flightrec_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S)))
    pages = (TOP / "man/flightrec.3").read_text() + (TOP / "man/flightrec_recover.3").read_text()
    named = set(re.findall(r"flightrec_\w+", re.sub(r".*\.SH NAME|\.SH SYNOPSIS.*", "", pages)))
    assert declared <= named


def test_has_a_soname_and_a_pkg_config_file(installed):
    directory = installed / "usr/lib/somewhere"
    dynamic = subprocess.run(["readelf", "-d", directory / "libflightrec.so"], check=True,
                             capture_output=True, text=True).stdout  # fmt: skip
    assert "soname: [libflightrec.so.0]" in dynamic
    pc = (directory / "pkgconfig/flightrec.pc").read_text()
    version = re.search(r'^PACKAGE_VERSION="(.*)"', (TOP / "dkms.conf").read_text(), re.M)[1]
    assert f"Version: {version}\n" in pc and "libdir=/usr/lib/somewhere\n" in pc


def test_uses_nothing_of_the_driver_but_its_abi():
    """src/uapi <- lib <- tools, and no other arrow."""
    for path in [*(TOP / "lib").glob("*.[ch]"), *(TOP / "tools").glob("*.[ch]")]:
        for name in re.findall(r'^#include ["<](.*)[">]$', path.read_text(), re.M):
            beside = (path.parent / name).exists()
            assert "/src/" not in name and ".." not in Path(name).parts, path
            if path.parent.name == "tools" and not beside:
                assert name not in ("internal.h", "recover.h", "linux/flightrec_crash.h"), path


@pytest.fixture(scope="module")
def fuzzers():
    make = ["make", "-s", "-C", HERE, f"OUT={OUT}", "fuzzers"]
    done = subprocess.run(make, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzed(fuzzers, tmp_path, fuzzer):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [OUT / fuzzer, f"-runs={RUNS[fuzzer]}", "-seed=1", "-rss_limit_mb=512", "-timeout=20",
               "-max_total_time=60", corpus, HERE / "seeds" / fuzzer]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0 and "Done " in done.stderr, done.stderr[-4000:]
