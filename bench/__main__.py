# SPDX-License-Identifier: GPL-2.0-only
"""Run the benchmark: tables on the terminal, results.json and plots beside it.

    python3 -m bench [--kernels 6.1,7.3] [--out build/bench/results.json] [--no-wall]

Exits 0 if everything was measured and every limit is kept, 1 otherwise.
"""

import argparse
import json
import sys
from pathlib import Path

from bench import guest, plot, report, verdict
from tests.lib.cache import progress
from tests.lib.kernels import KERNELS


def kernel_names(text):
    """The kernels of a list with commas."""
    names = text.split(",")
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise argparse.ArgumentTypeError(f"not one of {', '.join(KERNELS)}: {', '.join(unknown)}")
    return names


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="What each operation costs.")
    parser.add_argument("--kernels", type=kernel_names, default=["6.1", "7.3"])
    parser.add_argument("--out", type=Path, default=guest.TOP / "build/bench/results.json")
    parser.add_argument("--no-wall", action="store_true", help="leave the wall clock out")
    options = parser.parse_args()

    rows, checks, problems = [], [], []
    for name in options.kernels:
        with progress(f"bench: kernel {name}"):
            results, failed = guest.measure(name, wall=not options.no_wall)
        report.print_kernel(name, results)
        rows += report.rows(name, results)
        checks += verdict.checks(name, results)
        problems += failed + verdict.missing(name, results)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    plots = plot.write_plots(rows, options.out.parent)
    report.print_verdict(checks)
    print()
    for line in problems:
        print(line)
    print(f"written: {options.out} and {len(plots)} plots beside it")
    bad = sum(not check.ok for check in checks)
    print(f"{len(checks) - bad} limits kept, {bad} exceeded or not measured, "
          f"{len(problems)} other problems")  # fmt: skip
    return 1 if bad or problems else 0


if __name__ == "__main__":
    sys.exit(main())
