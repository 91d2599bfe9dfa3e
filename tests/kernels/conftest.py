# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes too long for each run: arm64 is there with FULL=1 only."""

import os

collect_ignore = [] if os.environ.get("FULL") else ["test_arm64.py"]
