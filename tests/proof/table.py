# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/proof.md, from what the tests of this folder left in build/results:

    make test-proof && /usr/bin/python3 -m tests.proof.table >docs/proof.md
"""

import json
import sys

from tests.proof.system import DRIVERS, TOP

HEAD = """\
# What was predicted, and what the kernel did

Unmodified DKMS drivers of the Debian archive, in guests with UEFI, shim and Secure Boot on;
the key that dkms signs with is enrolled. The drivers were built by dkms for the suite's kernel and for the one
of backports. On the suite's kernel `kmodkeep doctor --all` was asked about both, and its answers
were written down. Then `modprobe` was run for every module, and again after a reboot into the
other kernel. *loaded*: the kernel took the module (a driver without its device may then say so).

This page is written by

    make test-proof && /usr/bin/python3 -m tests.proof.table >docs/proof.md

and `tests/proof/test_drivers.py` fails where one answer is wrong, or one is `unknown`.
"""


def rows(proof):
    """A line for each driver: its modules by what was said and seen of them, on each kernel."""
    for driver, modules in sorted(proof["drivers"].items()):
        cells = []
        for kernel in proof["kernels"]:
            told = {}
            for module in sorted(modules):
                word, served = proof["modules"][kernel][module]
                told.setdefault((word, served), []).append(module)
            cells.append("; ".join(cell(*key, names, len(told)) for key, names in told.items()))
        yield f"| {driver} | " + " | ".join(cells) + " |"


def cell(word, served, names, kinds):
    """What was predicted of the modules NAMES, and seen."""
    which = f"{', '.join(names)}: " if kinds > 1 else ""
    many = f" ({len(names)} modules)" if len(names) > 1 and kinds == 1 else ""
    return f"{which}`{word}`, {'loaded' if served else 'not loaded'}{many}"


def main():
    print(HEAD, end="")
    for name in DRIVERS:
        path = TOP / f"build/results/drivers-{name}/proof.json"
        if not path.exists():
            print(f"{path} is not there. Next: SYSTEM={name} make test-proof", file=sys.stderr)
            continue
        proof = json.loads(path.read_text())
        count = sum(len(modules) for modules in proof["modules"].values())
        print(f"\n## {name}: {len(proof['drivers'])} drivers, {count} answers, "
              f"{proof['wrong']} wrong\n")
        print("| driver | " + " | ".join(proof["kernels"]) + " |")
        print("| --- |" + " --- |" * len(proof["kernels"]))
        print("\n".join(rows(proof)))


if __name__ == "__main__":
    main()
