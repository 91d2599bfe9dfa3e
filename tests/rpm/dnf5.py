# SPDX-License-Identifier: GPL-2.0-or-later
"""A root with dnf5, which Fedora has since 41: Debian's build of it, from sid."""

from tests.lib.clone import ThrowAwayRoot
from tests.rpm import builder

SUITE = "sid"
PACKAGES = "ca-certificates cpio dnf5 rpm".split()


def root():
    """The root directory, made now if need be.  Never write to it."""
    return builder.make_root(SUITE, PACKAGES)


class Dnf5(ThrowAwayRoot):
    """A throw-away copy of that root."""

    def __init__(self):
        super().__init__(root(), "rpm-dnf5")
