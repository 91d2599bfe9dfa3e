# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/proof.md: what was predicted of each driver, and what modprobe did.

What it is made of is kept in docs/proof.json: for each system the answers of one whole run, put
there by `make test-proof KEEP=1`.
"""

import datetime
import json
from typing import NamedTuple

from tests.lib.cache import locked
from tests.proof.system import DRIVERS, TOP

PAGE, KEPT = TOP / "docs/proof.md", TOP / "docs/proof.json"


class Answer(NamedTuple):
    """About one module on one kernel."""

    driver: str
    version: str
    module: str
    kernel: str
    predicted: str  # the verdict's word
    served: bool
    seen: str  # what modprobe did, in words

    @property
    def right(self):
        return (self.predicted == "ok") == self.served


def seen(load):
    """What modprobe did, in words."""
    if load.served:
        return "loaded" if load.status == 0 else "taken; it found no device"
    if load.taint == "in-tree":
        return "the kernel's own module of that name"
    if "not found in directory" in load.said:
        return "not loaded: there is none"
    return f"not loaded: {load.said.rpartition(': ')[2]}"


def answers(record):
    """Those of a Record, in the order of the table."""
    versions = record.system.versions
    return [Answer(driver, versions[driver], module, kernel,
                   record.predicted[kernel, module]["verdict"],
                   record.loads[kernel, module].served, seen(record.loads[kernel, module]))
            for driver in sorted(record.system.drivers) for kernel in record.kernels
            for module in sorted(record.system.drivers[driver])]


def keep(record):
    """Put RECORD on the page, and what it is made of into KEPT."""
    run = {"when": datetime.date.today().isoformat(), "kernels": record.kernels,
           "answers": answers(record)}  # fmt: skip
    with locked("proof-page"):  # two systems run side by side
        everything = {**kept(), record.name: run}
        KEPT.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(everything), encoding="utf-8")


def kept():
    """{name of a system: its run} of the runs before."""
    loaded = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return {name: {**run, "answers": [Answer(*answer) for answer in run["answers"]]}
            for name, run in loaded.items()}


def page(everything):
    """The text of docs/proof.md."""
    return HEAD + "".join(section(name, everything[name]) for name in DRIVERS if name in everything)


def section(name, run):
    """The table of the system NAME."""
    given = run["answers"]
    right = sum(answer.right for answer in given)
    unknown = sum(answer.predicted == "unknown" for answer in given)
    lines = [f"## {name}: {' and '.join(run['kernels'])}", "",
             f"{run['when']}: {len({answer.driver for answer in given})} drivers, "
             f"{len({answer.module for answer in given})} modules, {len(given)} answers: "
             f"{right} right, {len(given) - right} wrong, {unknown} unknown.", "",
             "| driver | version | kernel | predicted | what modprobe did |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    return "\n".join(["", *lines, *rows(given), ""])


def rows(given):
    """One for the modules of a driver that were predicted and seen alike on a kernel."""
    groups = {}
    for answer in given:
        key = answer._replace(module="")
        groups.setdefault(key, []).append(answer.module)
    for key, modules in groups.items():
        alone = sum(other[:2] == key[:2] and other.kernel == key.kernel for other in groups) == 1
        which = key.driver if alone else f"{key.driver}: {', '.join(modules)}"
        yield (f"| {which} | {key.version} | {key.kernel} | {key.predicted} | "
               f"{key.seen if key.right else 'WRONG: ' + key.seen} |")


HEAD = """# What was predicted, and what the kernel did

Unmodified DKMS drivers of the Debian archive, contrib and non-free included, in guests with UEFI,
shim, Secure Boot and lockdown; the key that dkms signs with is enrolled, and nobody configured
anything. dkms built each driver for the suite's kernel, and for that of backports, where it could.

1. The guest boots the suite's kernel. kmodkeep is installed, and `kmodkeep doctor --all --json` is
   asked about both kernels. What it says is written down: *predicted* below, with the words of
   kmodkeep(8).
2. `modprobe` is run for every module of every driver.
3. The guest boots the other kernel; doctor is asked again, and must say of that kernel what it said
   before the boot. `modprobe` is run for every module once more.

A prediction of `ok` is right if the kernel took the module, which `/sys/module/*/taint` shows, or the
module's own code found no device (ENODEV): the guests have none for some. Any other prediction is
right if the kernel did not take it. A module of the kernel's own with the same name is not the
driver's.

This page is written by `make test-proof KEEP=1`; `SYSTEM=bookworm` narrows it to one section.
`tests/proof/test_drivers.py` fails where one answer is wrong or `unknown`.

`tests/proof/test_adopt.py` compares the same through the life of one host, which has five drivers of
others: `kmodkeep adopt --all`; a kernel update for which one driver does not build; `kmodkeep repair`
when a newer source of it has come (Debian 12) or a newer package (Debian 13); a firmware that forgot
all enrolled keys, and one enrolment at MokManager's screens; `dpkg --purge kmodkeep`. After each
reboot every module is loaded, or refused, as was predicted. `tests/rpm/adopt.py` does the same with
dnf, on the RPM system of the tests.

All predictions and loads were right in what was run last, on 2026-11-28, stage by stage: on the RPM
system all of it; on Debian 12 all up to the boot without keys, where nothing loads; on Debian 13
adopt. The enrolment after that boot and the purge on Debian 12, and the update on Debian 13, are not
among it.

`tests/proof/test_versions.py` has dkms 3.0.10 with two versions of a driver, in a chroot: it tries
the older one for a kernel that has the newer installed, so that the kernel's packages stay
unfinished. `repair` builds the newer, names the older, and ends; once that is removed as it says,
`repair` finishes the packages.
"""
