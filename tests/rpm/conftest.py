# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this folder share: signed repositories, a system with our packages, guests."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rpm import chroot, trees
from tests.rpm.story import Stages, tell


def kind_of(item):
    """The kind of story that the test ITEM waits for, or None."""
    return item.callspec.params.get("kind") if item.path.name == "test_story.py" else None


def pytest_collection_modifyitems(items):
    """The stories come last: they go on beside each other and all other tests."""
    items.sort(key=lambda item: kind_of(item) is not None)


@pytest.fixture(scope="session")
def repositories(tmp_path_factory):
    """The directory with the signed repositories."""
    with trees.repositories(tmp_path_factory.mktemp("rpm")) as tree:
        yield tree


@pytest.fixture(scope="session", autouse=True)
def stories(request, tmp_path_factory):
    """{kind: what tell_one() gives, once it ends} for all stories that are wanted, begun now."""
    kinds = [kind for item in request.session.items if (kind := kind_of(item))]
    if not kinds:
        yield {}
        return
    tree = request.getfixturevalue("repositories")
    directory = tmp_path_factory.mktemp("stories")
    disk = trees.write_disk(directory, tree)
    with ThreadPoolExecutor(2) as pool:
        yield {kind: pool.submit(tell_one, kind, directory / kind.__name__, disk) for kind in kinds}


def tell_one(kind, out, disk):
    """Run the story KIND: its table of stages, and what it failed with, or None."""
    stages = Stages()
    out.mkdir()
    try:
        tell(kind, out, disk, stages)
    except Exception as error:  # pylint: disable=broad-exception-caught # the test raises it
        return stages.table(), error
    return stages.table(), None


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
