# SPDX-License-Identifier: GPL-2.0-only
"""What takes too long for each run: arm64 is there with FULL=1, or K=6.12-arm64."""

import os

from tests.lib.kernels import KERNELS_ARM64

WANTED = os.environ.get("FULL") or os.environ.get("K") in KERNELS_ARM64
collect_ignore = [] if WANTED else ["test_arm64.py"]
