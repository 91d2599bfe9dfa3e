# SPDX-License-Identifier: GPL-2.0-only
"""The driver, built for each stock kernel without a warning and exercised in it.

One boot per kernel runs all programs of tests/guest; each of their cases is a
test here.  A case that the guest said nothing about has failed.
"""

import functools
import os
import re
import tempfile
from pathlib import Path

import pytest

from tests.lib.kernels import KERNELS, build_modules
from tests.qemu.direct import compile_static, run_direct

TOP = Path(__file__).parents[2]
GUEST = TOP / "tests/guest"
PROGRAMS = ["load", "abi", "stamps", "events"]

# The cases hand bad pointers to system calls on purpose.
FLAGS = ["-std=gnu11", "-Wno-stringop-overread", "-Wno-stringop-overflow"]

SCRIPT = """
run_program /tests/load
check load-core insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 events=none
run_program /tests/abi
run_program /tests/stamps
check unload-core rmmod flightrec
check modprobe-with-defaults modprobe flightrec
run_program /tests/events
check unload-both modprobe -r flightrec_events flightrec
"""
SCRIPT_CASES = re.findall(r"^check (\S+)", SCRIPT, re.M)

# K=6.12 narrows.
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else list(KERNELS)


def cases_of(program):
    """The names in the table of cases of a test program."""
    return re.findall(r'^\t\{ "(\S+)", \w+ \},$', (GUEST / f"{program}.c").read_text(), re.M)


def all_cases():
    return [case for program in PROGRAMS for case in cases_of(program)] + SCRIPT_CASES


@functools.lru_cache(maxsize=None)
def programs():
    """The static test programs, built once: {path in the guest: path here}."""
    directory = Path(tempfile.mkdtemp(prefix="guest-programs-"))
    return {
        f"tests/{name}": compile_static(
            [GUEST / f"{name}.c", GUEST / "harness.c"], directory / name, FLAGS
        )
        for name in PROGRAMS
    }


@functools.lru_cache(maxsize=None)
def verdict(kernel):
    """What the guest with KERNEL reported."""
    built = build_modules(kernel, TOP / "src")
    modules = sorted(built.glob("*.ko"))
    return run_direct(kernel, programs(), SCRIPT, timeout=900, modules=modules, cpus=2)


@pytest.mark.parametrize("kernel", SELECTED)
def test_builds_without_a_warning(kernel):
    names = [path.name for path in build_modules(kernel, TOP / "src").glob("*.ko")]
    assert sorted(names) == ["flightrec-events.ko", "flightrec.ko"]


@pytest.mark.parametrize("case", all_cases())
@pytest.mark.parametrize("kernel", SELECTED)
def test_driver(kernel, case):
    result = verdict(kernel)
    for name, reason in result.failed:
        assert name != case, reason
    assert case in result.passed, f"the guest said nothing about it\n{result.explain()}"


@pytest.mark.parametrize("kernel", SELECTED)
def test_guest_ends_clean(kernel):
    """No oops, no warning, no stall on the console, and nothing unaccounted for."""
    result = verdict(kernel)
    assert result.done and not result.problems, result.explain()
    assert sorted(result.passed + [n for n, _ in result.failed]) == sorted(all_cases())
