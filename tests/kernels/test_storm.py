# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver under load on four CPUs: records from every context, NMIs injected by the
emulator, writers that stall and are killed, descriptors passed on, bad input, channels that
come and go.

One boot per kernel.  FULL=1 makes the storm longer.
"""

import functools
import os
import tempfile

import pytest

from tests.kernels.test_driver import SELECTED, cases_of, compile_program
from tests.lib.guestmodules import build_guest_modules
from tests.lib.scratch import scratch
from tests.qemu.direct import direct_guest

PROGRAMS = ["storm", "torture", "badinput", "comings", "unload"]
SECONDS = 120 if os.environ.get("FULL") else 3
LIMIT = 600
# Without the event module, which would hold the driver.
MODULES = ["flightrec", "guest-storm", "guest-int3"]

# Without the quota, which a fast machine meets.
SCRIPT = f"""
insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 events=cpu quota=0
insmod /modules/guest-storm.ko
export STORM_SECONDS={SECONDS} UNLOAD_SECONDS={SECONDS} STORM_NMIS=1
run_program /tests/storm
run_program /tests/torture
run_program /tests/badinput
run_program /tests/comings
rmmod guest-storm
check unload-after-the-storm rmmod flightrec
run_program /tests/unload
"""

CASES = [case for program in PROGRAMS for case in cases_of(program)] + ["unload-after-the-storm"]


@functools.lru_cache(maxsize=None)
def programs():
    directory = scratch("guest-storm-")
    return {f"tests/{name}": compile_program(name, directory) for name in PROGRAMS}


def inject_nmis(guest, until, batch=25):
    """Send NMIs to all CPUs as fast as they are taken until the console has UNTIL."""
    while guest.running() and until not in guest.console.text:
        for _ in range(batch):
            guest.qmp.inject_nmi()
        guest.console.update()


def run_storm(kernel, files, script, limit=LIMIT, allow=(), **options):
    """The Verdict of a guest that runs SCRIPT, and takes NMIs during the storm in it."""
    with tempfile.TemporaryDirectory(prefix="storm-") as workdir:
        with direct_guest(kernel, files, script, workdir, append="apic_extnmi=all",
                          **options) as guest:  # fmt: skip
            begun = guest.wait_for(r"(== storm|\[result\] not ok storm).*\n", limit, "the storm")
            if begun[1] == "== storm":
                inject_nmis(guest, "== calm")
                guest.send("\n")
            return guest.wait_verdict(limit, f"the end of {guest.name}", exits=True, allow=allow)


@functools.lru_cache(maxsize=None)
def verdict(kernel):
    """What the guest with KERNEL reported."""
    built = build_guest_modules(kernel)
    modules = [built[name] for name in MODULES]
    return run_storm(kernel, programs(), SCRIPT, modules=modules, cpus=4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", SELECTED)
def test_storm(kernel, case):
    result = verdict(kernel)
    for name, reason in result.failed:
        assert name != case, f"{reason}\n{result.explain()}"
    assert case in result.passed, f"the guest said nothing about it\n{result.explain()}"


@pytest.mark.parametrize("kernel", SELECTED)
def test_guest_ends_clean(kernel):
    """No oops, no warning, no stall on the console, and nothing unaccounted for."""
    result = verdict(kernel)
    assert result.done and not result.problems, result.explain()
    assert sorted(result.passed + [n for n, _ in result.failed]) == sorted(CASES)
