# SPDX-License-Identifier: GPL-2.0-or-later
"""Run tiers of tests, and say what each took and what came of it.

    tests/run.py TIER...

Prints a table of the tiers with their minutes against their budget, and as
the last line "N passed, N failed, N skipped".  Exits 1 if anything failed, and
if nothing ran.
"""

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
RESULTS = TOP / "build" / "results"

# Of the RPM packages what needs no guest; and a kill of each kind.
RPM = [f"tests/rpm/test_{name}.py" for name in ("spec", "repository", "ccache", "upgrades", "kernels")]
RPM_KILLS = ["test_every_scriptlet_is_known",
             "test_killed_at_a_scriptlet[post of flightrec-dkms]",
             "test_killed_at_a_step_of_dkms[install-after]"]

# tier -> (what pytest runs, minutes that a fresh machine may take)
TIERS = {
    "check": (["tests/unit", "tests/style", "bench"], 3),
    "mutants": (["tests/mutants"], 4),
    "bindings": (["tests/bindings"], 10),
    "kernels": (["tests/roots", "tests/kernels", "tests/qemu"], 12),
    "secureboot": (["tests/secureboot"], 16),
    "packaging": (["tests/packaging"], 25),
    "rpm-chroot": ([*RPM, *[f"tests/rpm/test_kills.py::{name}" for name in RPM_KILLS]], 10),
    "rpm": (["tests/rpm"], 25),
    "guard": (["tests/guard"], 25),
    "proof": (["tests/proof"], 90),
    "fleet": (["tests/fleet"], 11),
    "fleet-200": (["tests/fleet/test_hosts.py"], 60),
    "debug": (["tests/debug"], 120),
    "demo": (["tests/demo"], 25),
}

# What Python and pytest make of a test's source is kept for the next run: it takes seconds. Not where
# a test installs packages: they would put theirs there, too.
COMPILED = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(TOP / "build/pycache")}

# What a tier finds in the cache, and who puts it there with progress; pytest would hide it.
EMULATOR = ["tests.lib.emulator"]
STOCK = ["tests.lib.roots"], ["tests.lib.kernels"], EMULATOR
FLEET = (["tests.fleet.base"],)
PREPARE = {"check": (), "mutants": (), "fleet": FLEET, "fleet-200": FLEET, "rpm-chroot": (["tests.rpm.prepare"],),
           "rpm": (["tests.rpm.prepare", "--guest"], EMULATOR),
           "bindings": (["tests.bindings.root"], *STOCK),
           "debug": (*STOCK, ["tests.debug.kernels"])}

PREPARE_BUDGET = 12

# Their guests have two processors, or they run two at a time already, or share one installation.
ALONE = {"fleet-200", "rpm", "rpm-chroot", "guard", "debug", "demo", "mutants"}


def prepare(programs):
    """Fill the cache by PROGRAMS.  (passed, failed, skipped, seconds)."""
    started = time.monotonic()
    for program in programs:
        command = ["/usr/bin/python3", "-m", *program]
        if subprocess.run(command, cwd=TOP, check=False).returncode:
            return 0, 1, 0, time.monotonic() - started
    return 0, 0, 0, time.monotonic() - started


def side_by_side(tier):
    """Options of pytest that run tests of TIER side by side, where one does not fill the machine."""
    processors = os.cpu_count()
    if tier in ALONE or processors < 2:
        return ()
    # A third of the time a test of these waits, for a disk or for a second to pass.
    number = processors + 1 if tier == "check" else 2
    return (f"-n{number}", "--dist=loadgroup", "--max-worker-restart=0")


def run_tier(tier):
    """Run TIER, its output passing through; (passed, failed, skipped, seconds)."""
    paths, _ = TIERS[tier]
    report = RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    command = [
        "/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short",
        "--durations=5", "--durations-min=5", f"--junitxml={report}", *side_by_side(tier), *paths,
    ]  # fmt: skip
    started = time.monotonic()
    environment = {**os.environ, **(COMPILED if tier == "check" else {})}
    status = subprocess.run(command, cwd=TOP, check=False, env=environment).returncode
    passed, failed, skipped = count(report)
    if status and not failed:
        failed = 1  # pytest itself went wrong: no test says so
    return passed, failed, skipped, time.monotonic() - started


def count(report):
    """What a JUnit file says: passed, failed, skipped."""
    if not report.exists():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests"))
        failed += int(suite.get("failures")) + int(suite.get("errors"))
        skipped += int(suite.get("skipped"))
    return total - failed - skipped, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tier", nargs="+", choices=TIERS)
    tiers = parser.parse_args().tier
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = []
    programs = []
    for program in [program for tier in tiers for program in PREPARE.get(tier, STOCK)]:
        if program not in programs:
            programs.append(program)
    if programs:
        print("\n=== roots of the suites, kernels, emulator, packages", flush=True)
        rows.append(("prepare", *prepare(programs)))
    for number, tier in enumerate(tiers, start=1):
        print(f"\n=== {tier} ({number} of {len(tiers)})", flush=True)
        rows.append((tier, *run_tier(tier)))
    print(f"\n{'tier':<12}{'passed':>8}{'failed':>8}{'skipped':>8}{'minutes':>9}{'budget':>8}")
    for tier, passed, failed, skipped, seconds in rows:
        budget = TIERS[tier][1] if tier in TIERS else PREPARE_BUDGET
        print(f"{tier:<12}{passed:>8}{failed:>8}{skipped:>8}{seconds / 60:>9.1f}{budget:>8}")
    passed, failed, skipped = (sum(row[i] for row in rows) for i in (1, 2, 3))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
