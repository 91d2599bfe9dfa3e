# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the benchmark: tables on the terminal, results.json and plots beside it.

    python3 -m bench [--kernels 6.1,7.3] [--out build/bench/results.json] [--no-wall]
                     [--keep docs/bench]

--keep also puts the results and the plots there, and the figures into README.md and
docs/design.md: only from a whole run, in which nothing was missing.

Exits 0 if everything was measured and every limit is kept, 1 otherwise.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from bench import figures, measure, plot, report, retention, verdict
from bench.guest import TOP
from tests.lib.cache import progress
from tests.lib.kernels import KERNELS

USUAL = ["6.1", "7.3"]


def kernel_names(text):
    """The kernels of a list with commas."""
    names = text.split(",")
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise argparse.ArgumentTypeError(f"not one of {', '.join(KERNELS)}: {', '.join(unknown)}")
    return names


def measure_all(kernels, wall):
    """Measure and print: the rows, the checks, and lines of what is missing or went wrong."""
    rows, checks, problems = [], [], []
    for name in kernels:
        with progress(f"bench: kernel {name}"):
            results, failed = measure.measure(name, wall=wall)
        report.print_kernel(name, results)
        rows += report.rows(name, results)
        checks += verdict.checks(name, results)
        problems += failed + verdict.missing(name, results, wall)
    return rows, checks, problems


def write(rows, problems, out):
    """Write the results to OUT and, unless there are PROBLEMS, the plots beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    plots = [] if problems else plot.write_plots(rows, out.parent)
    print("written: " + ", ".join(str(path) for path in [out, *plots]))
    return [out, *plots]


def keep(rows, paths, directory):
    """Put PATHS into DIRECTORY, and the figures of ROWS into the texts that show them."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.copy(path, directory)
    figures.update_texts(rows)
    print(f"kept in {directory}, README.md and docs/design.md")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description="What each operation costs.")
    parser.add_argument("--kernels", type=kernel_names, default=USUAL)
    parser.add_argument("--out", type=Path, default=TOP / "build/bench/results.json")
    parser.add_argument("--no-wall", action="store_true", help="leave the wall clock out")
    parser.add_argument("--keep", type=Path, help="a directory for results that are committed")
    options = parser.parse_args()
    if options.keep and (options.kernels != USUAL or options.no_wall):
        parser.error(f"--keep is for whole runs, of the kernels {', '.join(USUAL)}")

    rows, checks, problems = measure_all(options.kernels, not options.no_wall)
    with progress("bench: retention"):
        shares = retention.measure()
    retention.print_table(shares)
    checks += retention.checks(shares)
    report.print_verdict(checks)
    print()
    for line in problems:
        print(line)
    paths = write(rows, problems, options.out)
    if options.keep and problems:
        print(f"not kept in {options.keep}: the run is not whole")
    elif options.keep:
        keep(rows, paths, options.keep)
    bad = sum(not check.ok for check in checks)
    print(f"{len(checks) - bad} limits kept, {bad} exceeded or not measured, "
          f"{len(problems)} other problems")  # fmt: skip
    return 1 if bad or problems else 0


if __name__ == "__main__":
    sys.exit(main())
