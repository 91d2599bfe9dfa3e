# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes `import tests.lib` work from any test folder, wherever pytest is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
