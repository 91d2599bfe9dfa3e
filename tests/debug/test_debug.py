# SPDX-License-Identifier: GPL-2.0-only
"""The driver in kernels that watch memory, locks, contexts and races.

The programs of the stock kernels' guests again; every allocation fails once;
and the fuzzer, for longer.
"""

import functools
import os
import re

import pytest

from tests.debug.kernels import DEBUG_KERNELS, debug_kernel
from tests.debug.races import races
from tests.kernels import test_driver as stock
from tests.lib.guestmodules import build_guest_modules
from tests.qemu.direct import run_direct

WATCH = stock.TOP / "tests/debug/watch.sh"
KASAN = [name for name in DEBUG_KERNELS if name.endswith("kasan")]
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else list(DEBUG_KERNELS)

# Without ACPI the kernel finds its CPUs in a table that has one of each socket.
SOCKETS = "2,sockets=2"

# Calls of each of the fuzzer's two runs.
CALLS = {"kasan": 5_000_000, "kcsan": 250_000}

START = ". /tests/watch.sh\ncheck start-watching start_watching\n"
MEMORY = """
run_program /tests/nomem
check no-leaks no_leaks
check lockdep-still-works lockdep_still_works
"""
FUZZ = """
FUZZ_CALLS={calls}
export FUZZ_CALLS
check load-for-the-fuzzer insmod /modules/flightrec.ko channels=default,small size_kb=1024,128
run_program /tests/fuzz
check unload-after-the-fuzzer modprobe -r flightrec_events flightrec
"""
LEAKS = "check no-leaks no_leaks\ncheck lockdep-still-works lockdep_still_works\n"


def kind(name):
    return name.split("-")[1]


def driver_script(name):
    return START + stock.SCRIPT + (MEMORY if kind(name) == "kasan" else "")


def fuzz_script(name):
    script = START + FUZZ.format(calls=CALLS[kind(name)])
    return script + (LEAKS if kind(name) == "kasan" else "")


def cases(script):
    """The names of all cases of SCRIPT, those of its programs included."""
    found = []
    for program in re.findall(r"^run_program /tests/(\S+)", script, re.M):
        prefix = "32-bit-" if program.endswith("-32") else ""
        found += [prefix + case for case in stock.cases_of(program.removesuffix("-32"))]
    return found + re.findall(r"^check (\S+)", script, re.M)


@functools.lru_cache(maxsize=None)
def verdict(name, script):
    """What the guest with the debug kernel NAME said to SCRIPT."""
    kernel = debug_kernel(name)
    files = {**stock.programs(("nomem",)), "tests/watch.sh": WATCH}
    modules = sorted(build_guest_modules(kernel).values())
    # The kernel's own races are not ours: those that are come from races().
    return run_direct(kernel, files, script, timeout=7200, modules=modules, stock=["dummy"],
                      cpus=SOCKETS, memory="1G", allow=[r"BUG: KCSAN:"])  # fmt: skip


def runs(script_of):
    return [(name, case) for name in SELECTED for case in cases(script_of(name))]


def judge(result, case):
    for name, reason in result.failed:
        assert name != case, reason
    assert case in result.passed, f"the guest said nothing about it\n{result.explain()}"


@pytest.mark.parametrize("name, case", runs(driver_script))
def test_driver(name, case):
    judge(verdict(name, driver_script(name)), case)


@pytest.mark.parametrize("name, case", runs(fuzz_script))
def test_fuzzer(name, case):
    judge(verdict(name, fuzz_script(name)), case)


@pytest.mark.parametrize("script_of", [driver_script, fuzz_script])
@pytest.mark.parametrize("name", SELECTED)
def test_guest_ends_clean(name, script_of):
    """Nothing that the kernel watches for was found."""
    result = verdict(name, script_of(name))
    assert result.done and not result.problems, result.explain()
    assert not races(result.console), "\n\n".join(races(result.console))


@pytest.mark.parametrize("name", [name for name in SELECTED if name in KASAN])
def test_ten_million_calls(name):
    console = verdict(name, fuzz_script(name)).console
    calls = [int(n) for n in re.findall(r"# fuzz: seed=\d+ calls=(\d+)", console)]
    assert sum(calls) >= 10_000_000
