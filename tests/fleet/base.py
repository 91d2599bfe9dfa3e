# SPDX-License-Identifier: GPL-2.0-or-later
"""The root that all hosts of the lab share: a small Debian with sshd, apt and Python.

python3 -m tests.fleet.base     make it now, and the packages that go onto it
"""

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.lib.roots import mmdebstrap
from tests.packaging.variants import packages

SUITE = "bookworm"
PACKAGES = ["ca-certificates", "curl", "kmod", "openssh-server", "openssl", "procps", "prometheus-node-exporter",
            "python3", "python3-apt"]  # fmt: skip
RECIPE = 1  # raise it when the root must be made anew though its packages are the same


def root():
    """The root.  Never write to it."""
    key = digest(RECIPE, PACKAGES, apt.SUITES[SUITE])

    def build(path):
        apt.update(SUITE)
        with progress(f"{SUITE}: root of the fleet's hosts"):
            mmdebstrap(SUITE, PACKAGES, path, variant="minbase")

    return cached("roots", f"fleet-{key}", build)


if __name__ == "__main__":
    print(root(), *packages(SUITE).values(), sep="\n")
