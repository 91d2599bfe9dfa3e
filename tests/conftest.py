# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes `import tests.lib` work from any test folder, and says which tests can run side by side.

tests/run.py has two processes run the tests of a tier, or three. Tests that share a fixture stay
together in one of them, so that what takes long to make is made once.
"""

import re
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

# All tests of such a folder use one place of the disk.
TOGETHER = {TOP / "tests/unit/lib"}


def shared_with(item):
    """What ITEM shares with its neighbours: the values of the fixtures of its file, or None."""
    if item.path.parent in TOGETHER:
        return item.path.parent
    manager = item.session._fixturemanager  # there is no public way to ask for a scope
    fixtures = [name for name in item.fixturenames
                for found in manager.getfixturedefs(name, item.nodeid) or ()
                if found.scope == "module"]  # fmt: skip
    if not fixtures:
        return None
    values = getattr(item, "callspec", None)
    return [item.path, *(str(values.params[name]) for name in sorted(set(fixtures))
                         if values and name in values.params)]  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the marks
def pytest_collection_modifyitems(items):
    # The longest group first: begun last, it would run while the others have nothing to do.
    items.sort(key=lambda item: item.path.parent not in TOGETHER)
    for item in items:
        shared = shared_with(item)
        if shared and not item.get_closest_marker("xdist_group"):
            # xdist takes a name with a bracket in it for a parameter.
            name = re.sub(r"[][@]", " ", str(shared))
            item.add_marker(pytest.mark.xdist_group(name))
