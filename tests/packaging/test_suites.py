# SPDX-License-Identifier: GPL-2.0-or-later
"""A life of the packages on each Debian suite, beside the driver of somebody else.

The tests of a suite share one system and are steps, each from where the one
before left it: install, reinstall, an upgrade that does not build, one that
does, downgrade, remove, purge.
"""

import shutil

import pytest

from tests.lib import apt
from tests.packaging.target import DRIVER, OURS, Target
from tests.packaging.variants import EVERYWHERE, NEXT, VERSION, later, packages

SUITES = ["bullseye", "bookworm", "trixie", "sid"]

# The other driver: a real one of Debian's, small, unchanged, that builds on all
# kernels of these suites. (v4l2loopback of bookworm does not build on its 6.12.)
OTHER = "acpi-call"

# What libflightrec0 and python3-flightrec need and the roots may not have.
DEPENDENCIES = ["liblzo2-2", "libsnappy1v5", "python3"]


@pytest.fixture(scope="module", params=SUITES)
def target(request):
    suite = request.param
    with Target(suite) as clone:
        clone.apt("install", *DEPENDENCIES)  # which stay when ours are purged
        clone.before = clone.files()
        yield clone


def check_other_driver(target):
    states = {(kernel, state) for _, kernel, state in target.dkms(OTHER)}
    assert states == {(kernel, "installed") for kernel in target.kernels}


def test_install(target):
    target.install([packages(target.suite)["kmodkeep"]])
    target.make_key()
    output = target.install(packages(target.suite).values())
    assert set(target.states(*OURS).values()) == {"ii"}
    for kernel in target.kernels:
        assert f"flightrec {VERSION}: kernel {kernel}: installed" in output
    assert target.dkms() == target.installed_everywhere()
    target.check_modules()
    target.check_nothing_left_over()
    target.run(["getent", "group", "flightrec", "flightrec-write"])
    enabled = target.run(["systemctl", "is-enabled", "kmodkeep-smoke.service"]).stdout
    assert enabled.strip() == "enabled"


def test_another_driver_beside_it(target):
    target.install(apt.download(target.suite, [f"{OTHER}-dkms"]).glob("*.deb"))
    check_other_driver(target)
    assert target.dkms() == target.installed_everywhere()


def test_only_our_modules_are_signed_with_this_hosts_key(target):
    key = target.run(["kmodkeep", "key", "status", "--shell"], check=False).stdout
    name = dict(line.split("=", 1) for line in key.splitlines())["name"]
    assert name
    for kernel in target.kernels:
        assert target.modinfo(kernel, "flightrec", "signer") == name
        assert target.modinfo(kernel, "flightrec-events", "signer") == name
        assert target.modinfo(kernel, "acpi_call", "signer") != name


def test_reinstall(target):
    target.install([packages(target.suite)[DRIVER]], "--reinstall")
    assert target.dkms() == target.installed_everywhere()
    target.check_modules()
    target.check_nothing_left_over()


def test_upgrade_that_does_not_build(target):
    before = {kernel: target.module_files(kernel) for kernel in target.kernels}
    output = target.install(later(target.suite, EVERYWHERE).values())
    assert set(target.states(*OURS).values()) == {"ii"}
    for kernel in target.kernels:
        assert (
            f"flightrec {NEXT}: kernel {kernel}: FAILED, the build failed (dkms exit code 10); "
            f"{VERSION} stays installed and loadable. Log: " in output
        )
    assert target.dkms() == target.installed_everywhere(), "the old version, and no other"
    assert before == {kernel: target.module_files(kernel) for kernel in target.kernels}
    target.check_modules()
    assert target.source_link(VERSION) == "kept-source"
    logs = list((target.path / "var/lib/kmodkeep/dkms/flightrec/log").iterdir())
    assert len(logs) == len(target.kernels)
    assert all("broken by the test" in log.read_text() for log in logs)


def test_dkms_still_builds_both_for_a_new_kernel(target):
    for kernel in target.kernels:
        shutil.rmtree(target.path / "lib/modules" / kernel / "updates")
        for module in (target.path / "var/lib/dkms").glob("*/"):
            for link in module.glob(f"kernel-{kernel}-*"):
                link.unlink()
            for build in module.glob(f"*/{kernel}"):
                shutil.rmtree(build)
        target.run(["dkms", "autoinstall", "-k", kernel])
    check_other_driver(target)
    assert target.dkms() == target.installed_everywhere(), "the version that builds"
    target.check_modules()


def test_upgrade_that_builds(target):
    # The same number again: a fixed package, not one that apt takes for newer.
    target.install(later(target.suite).values(), "--reinstall")
    assert target.dkms() == target.installed_everywhere(NEXT)
    target.check_modules(NEXT)
    target.check_nothing_left_over(NEXT)
    assert not (target.path / f"usr/src/flightrec-{VERSION}").exists()


def test_downgrade(target):
    target.install(packages(target.suite).values())
    assert target.dkms() == target.installed_everywhere()
    target.check_modules()
    target.check_nothing_left_over()
    assert not (target.path / f"usr/src/flightrec-{NEXT}").exists()


def test_a_folder_is_not_acted_on_whatever_is_in_it(target):
    """The mark by which the unit tests' own program knows its folders means nothing to this one."""
    target.write("/image/etc/kmodkeep-test-root", "")
    target.write("/image/usr/bin/mokutil", "#!/bin/sh\n: >/ran\n", 0o755)
    state = target.run(["kmodkeep", "key", "status", "--shell", "--root", "/image"], check=False).stdout
    assert "may_act=no\n" in state
    done = target.run(["kmodkeep", "key", "enroll", "--root", "/image"], check=False)
    assert done.returncode == 1 and "enrolled on the system that runs" in done.stdout
    assert not (target.path / "ran").exists()
    shutil.rmtree(target.path / "image")


def test_remove(target):
    target.apt("remove", DRIVER)
    assert not target.dkms()
    assert not any(target.module_files(kernel) for kernel in target.kernels)
    check_other_driver(target)
    target.apt("purge", f"{OTHER}-dkms")


def test_purge_leaves_nothing_but_the_key(target):
    output = target.apt("purge", *OURS)
    assert not set(target.states(*OURS).values()) - {"un"}
    assert "the signing key stays in /var/lib/kmodkeep/keys" in output
    left = target.files()
    assert target.before - left == set()
    keys = "var/lib/kmodkeep/keys"
    assert left - target.before == {
        "var/lib/kmodkeep", keys,
        f"{keys}/signing.key", f"{keys}/signing.der", f"{keys}/machine-id",
    }  # fmt: skip
    assert target.run(["getent", "group", "flightrec"], check=False).returncode
