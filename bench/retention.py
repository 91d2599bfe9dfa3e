# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of a ring of the default size holds the newest records without a gap.

The driver's own ring, compiled in user space: see retention.c.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from bench.guest import TOP
from bench.verdict import Check

CPUS = [4, 16, 64, 256]
LOADS = ["even", "skewed", "random"]
LIMIT = 25  # per cent of the capacity that is not the newest, at most


def default_blocks(cpus):
    """The blocks of a ring of the default size: 1 MiB, or so many for each CPU."""
    bounds = (TOP / "src/bounds.c").read_text(encoding="utf-8")
    per_cpu = int(re.search(r"#define DEFAULT_CPU_BLOCKS (\d+)", bounds)[1])
    return per_cpu * cpus


def measure(cpus=tuple(CPUS)):
    """{(CPUs, load): (worst, mean)}, in per cent of the capacity."""
    shares = {}
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "retention")
        sources = [Path(__file__).with_suffix(".c"), TOP / "src/ring.c", TOP / "src/ring_init.c"]
        subprocess.run(
            ["gcc", "-O2", "-std=gnu11", "-fno-strict-aliasing", "-I", TOP / "src"]
            + [*sources, "-o", program],
            check=True,
        )
        for n in cpus:
            text = subprocess.run(
                [program, str(n), str(default_blocks(n))],
                check=True, capture_output=True, text=True, timeout=600,
            ).stdout  # fmt: skip
            for load, worst, mean in map(str.split, text.splitlines()):
                shares[n, load] = (float(worst), float(mean))
    return shares


def print_table(shares):
    """Print what was measured."""
    print("\n== newest records without a gap, per cent of the capacity: worst, mean ==")
    print(f"{'CPUs':>6}" + "".join(f"{load:>16}" for load in LOADS))
    for n in dict.fromkeys(n for n, _ in shares):
        cells = [f"{shares[n, load][0]:.1f}, {shares[n, load][1]:.1f}" for load in LOADS]
        print(f"{n:>6}" + "".join(f"{cell:>16}" for cell in cells))


def checks(shares):
    """The limit, for each number of CPUs and each load."""
    found = []
    for n in CPUS:
        for load in LOADS:
            worst = shares.get((n, load))
            found.append(Check("-", f"retention, {n} CPUs, {load} load: not the newest",
                               None if worst is None else 100 - worst[0], LIMIT, "%"))  # fmt: skip
    return found
