# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver on arm64: cross-built without a warning, and exercised in an emulated guest.

The same programs as on amd64, but for what needs the tools, and the storm without NMIs,
which arm64 does not have. Takes minutes: see conftest.py.
"""

import functools
import tempfile
from pathlib import Path

import pytest

from tests.kernels.test_driver import cases_of, compile_program
from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import KERNELS_ARM64
from tests.qemu.direct import run_direct

PROGRAMS = ["load", "abi", "reading", "quota", "procfs", "stamps", "storm", "torture", "badinput",
            "unload"]  # fmt: skip

SCRIPT = """
run_program /tests/load
insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 quota=67108864 events=cpu
insmod /modules/guest-storm.ko
for program in abi reading quota procfs stamps storm torture badinput; do
    run_program /tests/$program
done
rmmod guest-storm
check unload-core rmmod flightrec_events flightrec
run_program /tests/unload
"""
CASES = [case for program in PROGRAMS for case in cases_of(program)] + ["unload-core"]


@functools.lru_cache(maxsize=None)
def verdict(kernel):
    """What the guest with KERNEL reported."""
    modules = sorted(build_guest_modules(kernel).values())
    with tempfile.TemporaryDirectory(prefix="guest-arm64-") as directory:
        programs = {
            f"tests/{name}": compile_program(
                name, Path(directory), compiler="aarch64-linux-gnu-gcc"
            )
            for name in PROGRAMS
        }
        return run_direct(kernel, programs, SCRIPT, timeout=1800, modules=modules, cpus=2)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", KERNELS_ARM64)
def test_driver(kernel, case):
    result = verdict(kernel)
    for name, reason in result.failed:
        assert name != case, reason
    assert case in result.passed, f"the guest said nothing about it\n{result.explain()}"


@pytest.mark.parametrize("kernel", KERNELS_ARM64)
def test_guest_ends_clean(kernel):
    result = verdict(kernel)
    assert result.done and not result.problems, result.explain()
    assert sorted(result.passed + [n for n, _ in result.failed]) == sorted(CASES)
