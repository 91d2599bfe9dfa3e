# SPDX-License-Identifier: GPL-2.0-or-later
"""A few of the mutations of tests/mutants; all of them take a tier of their own."""

import pytest

from tests.mutants.mutations import SAMPLE
from tests.mutants.runner import caught_by


@pytest.mark.parametrize("name", SAMPLE)
def test_is_caught(name):
    assert caught_by(name)
