# SPDX-License-Identifier: GPL-2.0-or-later
"""The root that all hosts of the lab share: a small Debian with sshd, apt, Python and kmodkeep.

python3 -m tests.fleet.base     make it now
"""

import shutil
import subprocess

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.lib.roots import mmdebstrap
from tests.packaging.variants import packages

SUITE = "bookworm"
PACKAGES = ["ca-certificates", "curl", "kmod", "openssh-server", "openssl", "procps", "prometheus-node-exporter",
            "python3", "python3-apt"]  # fmt: skip
RECIPE = 1  # raise it when the root must be made anew though its packages are the same


def plain():
    """The root without kmodkeep.  Never write to it."""
    key = digest(RECIPE, PACKAGES, apt.SUITES[SUITE])

    def build(path):
        apt.update(SUITE)
        with progress(f"{SUITE}: root of the fleet's hosts"):
            mmdebstrap(SUITE, PACKAGES, path, variant="minbase")

    return cached("roots", f"fleet-{key}", build)


def root():
    """The root with the kmodkeep of this tree.  Never write to it."""
    deb = packages(SUITE)["kmodkeep"]
    key = digest(RECIPE, plain().name, deb.read_bytes())

    def build(path):
        shutil.copytree(plain(), path, symlinks=True)
        shutil.copy(deb, path / "tmp")
        command = ["chroot", path, "dpkg", "--force-unsafe-io", "-i", f"/tmp/{deb.name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    return cached("roots", f"fleet-kmodkeep-{key}", build)


if __name__ == "__main__":
    print(root())
