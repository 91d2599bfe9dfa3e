# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmodkeep knows of drivers of others: the files, and what they change."""

import json
import re
import shutil

import pytest

from tests.unit.kmodkeep.host import TOP
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes

FILES = sorted((TOP / "system/known.d").iterdir())
# They must not load, run, pin or leave out anything.
KEYS = {"modules", "dkms", "initramfs", "userspace"}


def read(path):
    lines = path.read_text().splitlines()
    assert lines[0] == "# SPDX-License-Identifier: GPL-2.0-or-later"
    pairs = [re.fullmatch(r"(\w+) = (\S.*)", line).groups() for line in lines[1:]]
    settings = dict(pairs)
    assert len(settings) == len(pairs)
    return settings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(path):
    settings = read(path)
    assert re.fullmatch(r"[a-z0-9-]+\.conf", path.name)
    assert set(settings) <= KEYS and "modules" in settings
    # One that changes nothing is not needed; with "auto" it is needed where it was.
    assert settings.get("initramfs", "no") == "no"
    assert "initramfs" in settings or "userspace" in settings
    for module in settings["modules"].split():
        assert re.fullmatch(r"[A-Za-z0-9_-]+", module)
    if "userspace" in settings:  # a file, not a program that would be run
        assert re.fullmatch(r"/usr/(lib|share)/\S+", settings["userspace"])


def test_no_module_is_in_two_files():
    modules = [m.replace("-", "_") for path in FILES for m in read(path)["modules"].split()]
    assert len(modules) == len(set(modules)) and len(FILES) >= 20


@pytest.fixture
def system(tree):
    """The driver is found by itself; the running kernel has it in its initramfs."""
    system = System(tree)
    (system.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    system.initramfs(OLD, {"updates/dkms/sample.ko": module_bytes(OLD)})
    system.initramfs(NEW, {})
    return system


def know(system, text):
    system.tree.put("usr/lib/kmodkeep/known.d/x.conf", text)


def verdict(system):
    findings = json.loads(system.tree.run("doctor", "--json", "--next-boot").out)["findings"]
    assert [f["module"] for f in findings] == ["sample"]
    return findings[0]["verdict"]


def test_it_refines_what_was_found(system):
    assert verdict(system) == "stale-initramfs"
    know(system, "modules = sample\ninitramfs = no\n")
    assert verdict(system) == "ok"


def test_the_dkms_name_is_enough(system):
    system.tree.put("var/lib/dkms/sample/1.2/source/dkms.conf",
                    'PACKAGE_NAME="sample"\nPACKAGE_VERSION="1.2"\nBUILT_MODULE_NAME[0]="sample"\n')
    know(system, "modules = other\ndkms = sample\ninitramfs = no\n")
    assert verdict(system) == "ok"


def test_user_space_of_another_version(system):
    know(system, "modules = sample\ninitramfs = no\nuserspace = /usr/lib/libsample.so.1\n")
    assert verdict(system) == "ok"  # it is not installed
    (system.path / "usr/lib/libsample.so.1").symlink_to("libsample.so.9.9")
    system.tree.put("usr/lib/libsample.so.9.9")
    assert verdict(system) == "other-version"


def test_a_drop_in_says_all_itself(system):
    know(system, "modules = sample\ninitramfs = no\n")
    system.driver("sample")
    assert verdict(system) == "stale-initramfs"


def test_they_make_no_driver_exist_and_no_loss(tree):
    system = System(tree)
    for path in FILES:
        dest = system.path / "usr/lib/kmodkeep/known.d" / path.name
        dest.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, dest)
    result = tree.run("doctor", "--drivers")
    assert (result.code, result.out, result.err) == (0, "sample sample drop-in, module file\n", "")
    assert tree.run("status").code == 0


def test_an_error_is_named_and_no_answer_is_given_that_may_be_wrong(system):
    know(system, "modules = sample\ninitramfs = never\n")
    result = system.tree.run("status")
    assert result.code == 1 or result.code == 3
    assert "known.d/x.conf:2" in result.err
