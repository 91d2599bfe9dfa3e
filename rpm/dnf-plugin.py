# SPDX-License-Identifier: GPL-2.0-or-later
"""dnf 4: while kmodkeep has the boot loader pinned to a kernel, none is too many.

installonly_limit removes the oldest kernels, and the pinned one may be the oldest.
dnf spares the one that runs; this spares the pinned one also where another runs. A
pin ends by its age, or by: kmodkeep pin release. dnf5 gets a setting instead.
"""

import json
import os

import dnf

STATE = "var/lib/kmodkeep/state.json"


class Kmodkeep(dnf.Plugin):
    """Lifts dnf's limit while there is a pin."""

    name = "kmodkeep"

    def config(self):
        """Called once dnf has read its settings."""
        kernel = pinned(os.path.join(self.base.conf.installroot, STATE))
        if kernel:
            self.base.conf.installonly_limit = 0


def pinned(state):
    """The kernel that the file STATE says is pinned, or None."""
    try:
        with open(state, encoding="utf-8") as file:
            return json.load(file)["pin"]["kernel"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no guard here, or no pin
