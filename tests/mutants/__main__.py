# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the ring on purpose, and see that the unit tests notice each time.

    python3 -m tests.mutants

The tests must pass on the ring as it is, and at least one must fail on each
mutation. Prints a table of what caught which; exits 1 if one survives.
"""

import sys

from tests.mutants.mutations import MUTATIONS
from tests.mutants.runner import UNCHANGED, caught_by, run


def main():
    print(f"{UNCHANGED}: ", end="", flush=True)
    broken = caught_by(UNCHANGED)
    print(broken or "all tests pass", flush=True)
    if broken:
        print("The tests fail without a mutation: fix that first.")
        return 1
    results = run(list(MUTATIONS), lambda line: print(line, flush=True))
    survivors = [name for name, caught in results.items() if not caught]
    print(f"\n{'mutation':<56}caught by")
    for name, caught in results.items():
        print(f"{name:<56}{caught or 'NOTHING'}")
    print(f"\n{len(results) - len(survivors)} caught, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
