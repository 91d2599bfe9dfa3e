# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver in kernels that watch memory, locks, contexts and races; and the fuzzer, for long.

In a kernel of its own kind run the programs of the stock kernels' guests, those of the
storm, one in which every allocation fails once, and the fuzzer.  That is slow, so most of
the fuzzer's calls are made where nothing watches, in the stock kernels: together ten
million, a million of them under KASAN.
"""

import functools
import os
import re

import pytest

from tests.debug.kernels import DEBUG_KERNELS, DEFAULT, debug_kernel, wanted
from tests.debug.races import races
from tests.kernels import test_driver as stock
from tests.kernels import test_storm
from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import KERNELS
from tests.qemu.direct import run_direct

HERE = stock.TOP / "tests/debug"
NAMES = os.environ["K"].split(",") if os.environ.get("K") else [*DEFAULT, *KERNELS]
WATCHED = wanted()

# Seconds that a guest may take; on an idle machine none needs a fifth of it.
LIMIT = 5400

# Calls of each of the fuzzer's two runs, with a known seed and with a new one.
CALLS = {"kasan": 500_000, "kcsan": 100_000, "stock": 900_000}

START = ". /tests/watch.sh\ncheck start-watching start_watching\n"
END = {
    "kasan": "check no-leaks no_leaks\ncheck lockdep-still-works lockdep_still_works\n",
    "kcsan": "",
}
FUZZ = """
FUZZ_CALLS={calls}
export FUZZ_CALLS
check load-for-the-fuzzer insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 quota=67108864
run_program /tests/fuzz
check unload-after-the-fuzzer modprobe -r flightrec_events flightrec
"""
SCRIPTS = {
    # The fuzzer has guests of its own.
    "driver": stock.SCRIPT.partition("check load-for-the-fuzzer")[0],
    "storm": test_storm.SCRIPT,
    "fuzz": FUZZ,
    "memory": "run_program /tests/nomem\n",
}
PARTS = {"kasan": list(SCRIPTS), "kcsan": ["driver", "storm", "fuzz"], "stock": ["fuzz"]}


def kind(name):
    return name.split("-")[1] if name in DEBUG_KERNELS else "stock"


def script(name, part):
    text = SCRIPTS[part].replace("{calls}", str(CALLS[kind(name)]))
    return START + text + END[kind(name)] if name in DEBUG_KERNELS else text


def cases(name, part):
    """The names of all cases of a guest, those of its programs included."""
    found = []
    text = script(name, part)
    for program in re.findall(r"^run_program /tests/(\S+)", text, re.M):
        prefix = "32-bit-" if program.endswith("-32") else ""
        found += [prefix + case for case in stock.cases_of(program.removesuffix("-32"))]
    return found + re.findall(r"^check (\S+)", text, re.M)


def files():
    return {**stock.programs(("nomem",)), **test_storm.programs(),
            "tests/watch.sh": HERE / "watch.sh", "tests/leaks.awk": HERE / "leaks.awk"}  # fmt: skip


@functools.lru_cache(maxsize=None)
def verdict(name, part):
    """What the guest with the kernel NAME said to that PART of the tests."""
    kernel = debug_kernel(name) if name in DEBUG_KERNELS else name
    # The kernel's own races and leaks are not ours: those that are come from races() and no_leaks.
    options = {"allow": [r"BUG: KCSAN:", r"kmemleak: \d+ new suspected"], "cpus": 2}
    if name in DEBUG_KERNELS:
        options |= {"cpus": 4, "memory": "1G", "boot_timeout": 600}
    built = build_guest_modules(kernel)
    if part == "storm":
        options["modules"] = [built[name] for name in test_storm.MODULES]
        return test_storm.run_storm(kernel, files(), script(name, part), LIMIT, **options)
    options["modules"] = sorted(built.values())
    return run_direct(kernel, files(), script(name, part), LIMIT, stock=["dummy"], **options)


GUESTS = [(name, part) for name in NAMES for part in PARTS[kind(name)]]


@pytest.mark.parametrize(
    "name, part, case", [(*guest, case) for guest in GUESTS for case in cases(*guest)]
)
def test_guest(name, part, case):
    result = verdict(name, part)
    for failed, reason in result.failed:
        assert failed != case, f"{reason}\n{result.explain()}"
    assert case in result.passed, f"the guest said nothing about it\n{result.explain()}"


@pytest.mark.parametrize("name, part", GUESTS)
def test_guest_ends_clean(name, part):
    """Nothing that the kernel watches for was found."""
    result = verdict(name, part)
    assert result.done and not result.problems, result.explain()
    assert not races(result.console), "\n\n".join(races(result.console))


@pytest.mark.parametrize("name", WATCHED)
def test_several_cpus(name):
    assert re.search(r"^guest: \S+, 4 CPUs$", verdict(name, "storm").console, re.M)


@pytest.mark.parametrize("name", NAMES)
def test_all_calls_were_made(name):
    console = verdict(name, "fuzz").console
    calls = [int(n) for n in re.findall(r"^# fuzz: seed=\d+ calls=(\d+)", console, re.M)]
    assert calls == [CALLS[kind(name)]] * 2


def test_ten_million_calls():
    """Of all guests of a run that K does not narrow."""
    assert 2 * sum(CALLS[kind(name)] for name in [*DEFAULT, *KERNELS]) >= 10_000_000
    assert 2 * CALLS["kasan"] >= 1_000_000
