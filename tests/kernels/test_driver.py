# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver, built for each stock kernel without a warning and exercised in it.

One boot per kernel runs all programs of tests/guest; each of their cases is a
test here.  A case that the guest said nothing about has failed.
"""

import functools
import os
import re
from pathlib import Path

import pytest

from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import KERNELS, KERNELS_RT, build_modules
from tests.lib.scratch import scratch
from tests.lib.tool import flightrec_tool
from tests.qemu.direct import compile_static, run_direct

TOP = Path(__file__).parents[2]
GUEST = TOP / "tests/guest"
PROGRAMS = ["load", "abi", "reading", "quota", "procfs", "stamps", "trace", "channels", "events",
            "fuzz"]
# Run a second time as 32-bit programs on the 64-bit kernel.
PROGRAMS_32 = ["abi", "reading", "procfs"]

# Without gcc-multilib, which nothing that cross-compiles tolerates.
FLAGS_32 = ["-m32", "-I/usr/include/x86_64-linux-gnu"]

# The cases hand bad pointers to system calls on purpose.
FLAGS = ["-std=gnu11", "-Wno-stringop-overread", "-Wno-stringop-overflow"]

SCRIPT = """
. /tests/tools.sh
run_program /tests/load
check load-core insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 quota=67108864 events=none
run_program /tests/abi
run_program /tests/reading
run_program /tests/quota
run_program /tests/procfs
run_program /tests/stamps
run_program /tests/trace
run_program /tests/channels
run_program /tests/abi-32
run_program /tests/reading-32
run_program /tests/procfs-32
check unload-core rmmod flightrec
check tool-without-driver tool_without_driver
check smoke-test-fails-without-driver smoke_test_fails_without_driver
check modprobe-with-defaults modprobe flightrec
check tool-writes-and-reads tool_writes_and_reads
check tool-reads-lines tool_reads_lines
check tool-json tool_json
check tool-goes-on-after-a-refused-line tool_goes_on_after_a_refused_line
check tool-follows tool_follows
check tool-since tool_since
check tool-follows-over-a-reload tool_follows_over_a_reload
check tool-survives-a-closed-pipe tool_survives_a_closed_pipe
check tool-stats tool_stats
check tool-makes-channels tool_makes_channels
check tool-follows-to-a-removal tool_follows_to_a_removal
check tool-refuses-nonsense tool_refuses_nonsense
run_program /tests/events
check unload-both modprobe -r flightrec_events flightrec
check load-for-the-fuzzer insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 quota=67108864
run_program /tests/fuzz
check unload-after-the-fuzzer modprobe -r flightrec_events flightrec
"""
SCRIPT_CASES = re.findall(r"^check (\S+)", SCRIPT, re.M)

# K=6.12 narrows, K=6.12-rt chooses the one that else only FULL=1 runs.
ALL = [*KERNELS, *(KERNELS_RT if os.environ.get("FULL") else [])]
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else ALL


def cases_of(program):
    """The names in the table of cases of a test program."""
    return re.findall(r'^\t\{ "(\S+)", \w+ \},$', (GUEST / f"{program}.c").read_text(), re.M)


def all_cases():
    cases_32 = [f"32-bit-{case}" for program in PROGRAMS_32 for case in cases_of(program)]
    return [c for program in PROGRAMS for c in cases_of(program)] + cases_32 + SCRIPT_CASES


def compile_program(name, directory, suffix="", flags=(), **options):
    """Compile the test program NAME, static, into DIRECTORY; its path."""
    sources = [GUEST / f"{name}.c", *sorted(GUEST.glob(f"{name}_*.c")), GUEST / "harness.c"]
    return compile_static(sources, directory / (name + suffix), [*FLAGS, *flags], **options)


@functools.lru_cache(maxsize=None)
def programs(more=()):
    """What goes into the guests, built once, with MORE: {path in the guest: path here}."""
    directory = scratch("guest-programs-")
    files = {f"tests/{name}": compile_program(name, directory) for name in [*PROGRAMS, *more]}
    for name in PROGRAMS_32:
        files[f"tests/{name}-32"] = compile_program(name, directory, "-32", FLAGS_32)
    files.update(flightrec_tool(directory))
    files["tests/tools.sh"] = GUEST / "tools.sh"
    files["usr/lib/flightrec/smoke-test"] = TOP / "system/flightrec-smoke-test"
    return files


@functools.lru_cache(maxsize=None)
def verdict(kernel):
    """What the guest with KERNEL reported."""
    modules = sorted(build_guest_modules(kernel).values())
    return run_direct(kernel, programs(), SCRIPT, timeout=900, modules=modules, stock=["dummy"], cpus=2)


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
