# SPDX-License-Identifier: GPL-2.0-or-later
"""What the gate costs for 1,000 hosts, and the report for 10,000, whose states have 4 KiB each.

    /usr/bin/python3 -m bench.fleet

Exit code 1: one of them took more than its limit.  What a host does each hour is bounded by
tests/fleet/test_hosts.py.

Processor time, since other work on the machine does not change it much; and the most memory.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.unit.fleet.hosts import PROGRAM, finding, losing, rebooted, state

GATE_HOSTS, GATE_SECONDS = 1000, 1
REPORT_HOSTS, REPORT_SECONDS, REPORT_MIB = 10_000, 5, 256
SIZE = 4096
BAD = 50  # one of so many would lose a driver


def put(directory, hosts, make):
    """State files of HOSTS hosts, as MAKE(name) has them, and findings of more drivers up to SIZE."""
    directory.mkdir()
    for number in range(hosts):
        name = f"host{number:05}"
        doc = make(name)
        more = 0
        while len(json.dumps(doc)) < SIZE:
            doc["findings"].append(finding(f"driver{more}"))
            more += 1
        (directory / f"{name}.json").write_text(json.dumps(doc))
    return directory


def costs(*words):
    """Seconds of processor and MiB of memory of kmodkeep fleet WORDS, and its exit code."""
    with subprocess.Popen([PROGRAM, "kmodkeep", *words], stdout=subprocess.DEVNULL) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, running.returncode


def main():
    """Measure, print, and compare; the exit code."""
    with tempfile.TemporaryDirectory() as path:
        top = Path(path)
        before = put(top / "before", GATE_HOSTS, state)
        now = put(top / "now", GATE_HOSTS, rebooted)
        seconds, mib, code = costs("gate", "--rebooted", "--before", before, now)
        good = code == 0 and seconds <= GATE_SECONDS
        print(f"gate, {GATE_HOSTS} hosts and their states before: {seconds:.2f} s, {mib:.0f} MiB")
        all_of_them = put(top / "all", REPORT_HOSTS, lambda name: (state if int(name[4:]) % BAD else losing)(name))
        seconds, mib, code = costs("report", all_of_them)
        good = good and code == 1 and seconds <= REPORT_SECONDS and mib <= REPORT_MIB
        print(f"report, {REPORT_HOSTS} hosts: {seconds:.2f} s, {mib:.0f} MiB")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
