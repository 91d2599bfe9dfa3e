# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo: shows the main job in a throw-away guest with Secure Boot on.

Leaves the pictures of MokManager, the guest's console log and a transcript in
build/demo.  Exits 0 only if every step was observed.
"""

import os
import sys

from tests.demo.report import perform
from tests.demo.story import TOP, Story

OUT = TOP / "build/demo"
DISKS = ("disk.qcow2", "packages.img", "efivars.fd")  # large, and of no use afterwards


def main():
    """Tell the story; the exit code."""
    if os.geteuid() != 0:
        print("the demo makes a Debian image, which takes root (nothing is installed): "
              "sudo make demo", file=sys.stderr)
        return 1
    if not perform(OUT, lambda report: Story(report, OUT)):
        return 1
    for name in DISKS:
        (OUT / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
