# SPDX-License-Identifier: GPL-2.0-or-later
"""How the sanitizers of the programs under test are set.

A program of the tests runs for milliseconds, and the sanitizer costs most of them.  So leaks
are looked for at the end of each program of a quarter of the tests, always the same ones, and
of all tests with FULL=1, as `make test-all` has it.  The tests in C look for them always.
Without leaks the stacks of allocations are not kept: a report has that of the access
nevertheless, and with FULL=1 also that of the allocation.
"""

import os
import zlib

import pytest

# With fewer than two frames of each allocation no leak would be found.
QUICK = "detect_leaks=0:malloc_context_size=1"


def looks_for_leaks(name):
    """Of the test NAME."""
    return bool(os.environ.get("FULL")) or zlib.crc32(name.encode()) % 4 == 0


@pytest.fixture(autouse=True)
def leaks(request, monkeypatch):
    if not looks_for_leaks(request.node.name):
        monkeypatch.setenv("ASAN_OPTIONS", f"{os.environ.get('ASAN_OPTIONS', '')}:{QUICK}")
