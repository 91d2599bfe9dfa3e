# SPDX-License-Identifier: GPL-2.0-or-later
"""A cached root with the compilers of Go and Rust, as Debian 13 has them.

    python3 -m tests.bindings.root      make it now

Debian 12's Go has no log/slog.
"""

from tests.lib import apt, roots
from tests.lib.cache import cached, digest, progress
from tests.lib.clone import ThrowAwayRoot

SUITE = "trixie"
PACKAGES = ["cargo", "gcc", "golang-go", "libc6-dev", "librust-tracing-subscriber-dev", "rustc"]


def root():
    """The root directory, made now if need be.  Never write to it."""
    return cached("roots", f"bindings-{digest(SUITE, PACKAGES)}", _build)


def _build(target):
    apt.update(SUITE)
    with progress(f"{SUITE}: root with the compilers of Go and Rust"):
        roots.mmdebstrap(SUITE, PACKAGES, target)


class Clone(ThrowAwayRoot):
    """A throw-away copy of it."""

    def __init__(self):
        super().__init__(root(), "bindings")


if __name__ == "__main__":
    print(root())
