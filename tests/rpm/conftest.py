# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of this folder share: signed repositories, and a system with our packages."""

import pytest

from tests.rpm import chroot, trees


@pytest.fixture(scope="session")
def repositories(tmp_path_factory):
    """The directory with the signed repositories."""
    with trees.repositories(tmp_path_factory.mktemp("rpm")) as tree:
        yield tree


@pytest.fixture(name="installed", scope="session")
def fixture_installed(repositories):
    """A chroot with release 1 installed. Not to be changed: see host."""
    with chroot.installed(repositories) as host:
        yield host


@pytest.fixture
def host(installed):
    """A copy of that chroot, for one test."""
    with installed.copy() as copy:
        copy.said = installed.said
        yield copy
