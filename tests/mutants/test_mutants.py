# SPDX-License-Identifier: GPL-2.0-or-later
"""All mutations, as a tier: see __main__.py for the same with a table."""

import pytest

from tests.mutants.mutations import MUTATIONS
from tests.mutants.runner import UNCHANGED, caught_by, run


@pytest.fixture(scope="module")
def results():
    assert caught_by(UNCHANGED) is None
    return run(list(MUTATIONS), print)


@pytest.mark.parametrize("name", MUTATIONS)
def test_is_caught(results, name):
    assert results[name], f"no unit test of the ring fails on: {name}"
