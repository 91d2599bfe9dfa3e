# SPDX-License-Identifier: GPL-2.0-or-later
"""Headers that no suite has any more: the driver compiles with them.

The stock kernels of this day have each the newest headers of their series. Those of
older ones are made of them by taking back what has changed, in a throw-away root.
"""

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from tests.lib import roots
from tests.lib.cache import digest
from tests.lib.kernels import KERNELS, Kernel, build_modules, kernel

SRC = Path(__file__).parents[2] / "src"


def del_timer_sync(headers, build):
    """Before 6.1.85 and 5.10.216: del_timer_sync() is the function, and the only name."""
    timer = headers / "include/linux/timer.h"
    text, declared = re.subn(r"extern int timer_delete_sync\(.*\);\n", "", timer.read_text())
    text, defined = re.subn(r"static inline (int del_timer_sync\(.*\))\n{\n.*\n}\n", r"extern \1;\n", text)
    text = text.replace("timer_delete_sync", "del_timer_sync")
    assert (declared, defined) == (1, 1)
    timer.write_text(text)
    symbols = build / "Module.symvers"
    symbols.write_text(symbols.read_text().replace("\ttimer_delete_sync\t", "\tdel_timer_sync\t"))


def victim_by_pid(headers, _build):
    """Before 6.8, and stable releases of then: the tracepoint had the number, and no task."""
    events = headers / "include/trace/events/oom.h"
    text, changed = re.subn(
        r"TP_PROTO\(struct task_struct \*task, uid_t uid\),\n\n\tTP_ARGS\(task, uid\),",
        "TP_PROTO(int pid),\n\n\tTP_ARGS(pid),", events.read_text())  # fmt: skip
    assert changed == 1
    events.write_text(text)


# What the stock kernels all have -> how the headers were before.
CHANGES = {
    "FLIGHTREC_HAVE_TIMER_DELETE_SYNC": del_timer_sync,
    "FLIGHTREC_HAVE_MARK_VICTIM_TASK": victim_by_pid,
}


class Older(Kernel):
    """A stock kernel with headers as the first ones of its series had them."""

    @property
    def identity(self):
        return f"{self.release}-older-{digest(Path(__file__).read_text())}"

    def prepare(self, clone):
        headers = clone.path / "usr/src" / f"linux-headers-{self.release.replace('-amd64', '-common')}"
        for change in CHANGES.values():
            change(headers, clone.path / "usr/src" / f"linux-headers-{self.release}")


DEFAULT = ["5.10", "6.1"] if os.environ.get("FULL") else ["6.1"]
SELECTED = [series for series in DEFAULT if series in os.environ.get("K", series).split(",")]


@pytest.mark.parametrize("series", SELECTED)
def test_compiles_with_older_headers(series):
    stock = kernel(series)
    built = build_modules(Older(**{f.name: getattr(stock, f.name) for f in fields(Kernel)}), SRC)
    names = sorted(path.name for path in built.glob("*.ko"))
    assert names == ["flightrec-events.ko", "flightrec.ko"]
    undefined = subprocess.run(["nm", "-u", *built.glob("*.ko")], capture_output=True, text=True, check=True)
    assert re.search(r"^ +U del_timer_sync$", undefined.stdout, re.M), undefined.stdout
    assert re.search(r"^ +U find_pid_ns$", undefined.stdout, re.M), undefined.stdout


def lookups():
    """{define: the condition in Kbuild under which it is set}."""
    text = (SRC / "Kbuild").read_text()
    found = {}
    for condition, body in re.findall(r"^ifneq \((\$\([^\n]*\)),\)\n(.*?)\nendif$", text, re.M | re.S):
        define = re.search(r"-D(FLIGHTREC_HAVE_\w+)", body)
        if define:
            found[define[1]] = condition
    return found


def answer(condition, suite, series):
    """Is CONDITION true with the headers of SERIES?  make itself says it."""
    build = roots.root(suite) / "usr/src" / f"linux-headers-{roots.release(suite, series)}"
    tree = build.with_name(build.name.replace("-amd64", "-common"))
    made = subprocess.run(["make", "-s", "-f", "-", f"srctree={tree}", f"objtree={build}"],
                          input=f"$(info $(if {condition},yes,no))\nall: ;\n",
                          capture_output=True, text=True, check=True)  # fmt: skip
    return {"yes": True, "no": False}[made.stdout.strip()]


@pytest.mark.parametrize("define", lookups())
def test_each_lookup_goes_both_ways(define):
    """What Kbuild looks for is there with a kernel that is built for, and missing with another."""
    outcomes = {series: answer(lookups()[define], suite, series) for series, suite in KERNELS.items()}
    if define in CHANGES:
        outcomes["older"] = False  # else its change finds nothing to take back
    assert set(outcomes.values()) == {True, False}, outcomes
