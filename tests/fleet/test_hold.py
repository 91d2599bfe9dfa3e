# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel waits for its driver: real apt and unattended-upgrades, kernels that are stand-ins.

FULL=1 tries all suites, and both solvers where apt has two.
"""

import fcntl
import os
import re
import subprocess
import time

import pytest

from tests.fleet.standins import DEPENDANTS, FIRST, META, SECOND, THIRD, Kernel, System, module

FULL = os.environ.get("FULL") == "1"
SOLVERS = {"classic": ['APT::Solver "internal"'], "3.0": ['APT::Solver "3.0"']}
PLACES = {"bookworm": ("bookworm", [])}
if FULL:
    PLACES |= {"bullseye": ("bullseye", [])}
    PLACES |= {f"{suite}, solver {name}": (suite, lines) for suite in ("trixie", "sid") for name, lines in SOLVERS.items()}

UPDATES = {
    "apt-get upgrade": ["apt-get", "upgrade"],
    "apt upgrade": ["apt", "upgrade"],
    "apt-get dist-upgrade": ["apt-get", "dist-upgrade"],
    "apt full-upgrade": ["apt", "full-upgrade"],
    "unattended-upgrade": ["unattended-upgrade", "-v"],
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def system(request):
    """A system on the first kernel, with its driver."""
    with System(*request.param) as one:
        one.install_first()
        assert one.versions()[META].endswith("99.1.1.1")
        yield one


def update_all(system, words):
    if words[0] == "unattended-upgrade":
        return system.run(words).stdout
    return system.apt(*words)


def there(system, kernel):
    """The driver and the kernel are those of KERNEL, and all is configured."""
    versions = system.versions()
    version = kernel.version.replace("-", ".")
    assert versions.get("linux-image-amd64") == versions.get("linux-headers-amd64") == kernel.version
    assert versions[META].endswith(version) and versions[f"{META}-{kernel.release}"].endswith(version)
    assert versions[f"linux-image-{kernel.release}"] == kernel.version
    assert not system.run(["dpkg", "--audit"]).stdout
    depended = system.run(["modprobe", "--show-depends", "-S", kernel.release, "sample"]).stdout
    assert f"/lib/modules/{kernel.release}/updates/prebuilt/sample.ko" in depended


def test_the_kernel_waits_and_moves_when_its_driver_comes(system):
    there(system, FIRST)
    system.put_kernel(SECOND)
    began = time.time()
    for number, (name, words) in enumerate(UPDATES.items(), 2):
        system.put("other", number)
        said = system.update()
        assert re.search(rf"linux-image-amd64 stays at {FIRST.version}: {SECOND.version} waits for {META}, since 20"
                         r".*It comes from Driver Team", said), said  # fmt: skip
        update_all(system, words)
        assert system.versions()["other"] == str(number), f"{name} did not update what need not wait"
        there(system, FIRST)
    assert f"{SECOND.version} waits for {META}" in system.waits()
    metrics = system.path / "metrics/kmodkeep-waits.prom"
    since = re.search(rf'^kmodkeep_kernel_wait_since_seconds{{package="{META}",kernel="linux-image-amd64",'
                      rf'stays="{FIRST.version}",waits="{SECOND.version}"}} (\d+)$', metrics.read_text(), re.M)  # fmt: skip
    assert abs(int(since[1]) - began) < 60
    # It comes.
    system.put_modules(FIRST, SECOND)
    assert "waits" not in system.update()
    system.apt("apt", "upgrade")
    there(system, SECOND)
    assert {system.versions()[name] for name in DEPENDANTS} == {SECOND.version}
    assert not system.waits() and "package=" not in metrics.read_text()
    # The kernel before, and its driver, are what one goes back to.
    system.apt("apt-get", "autoremove")
    assert f"linux-image-{FIRST.release}" in system.versions() and f"{META}-{FIRST.release}" in system.versions()
    # The next one waits again.
    system.put_kernel(THIRD)
    assert f"{THIRD.version} waits for {META}" in system.update()
    system.apt("apt", "full-upgrade")
    there(system, SECOND)


def test_the_prebuilt_module_wins_over_one_of_dkms(system):
    release = FIRST.release
    other = system.path / f"lib/modules/{release}/updates/dkms"
    other.mkdir()
    module(other / "sample.ko", release)
    system.run(["depmod", release])
    there(system, FIRST)
    system.apt("apt-get", "remove", META, f"{META}-{release}")
    depended = system.run(["modprobe", "--show-depends", "-S", release, "sample"]).stdout
    assert f"/lib/modules/{release}/updates/dkms/sample.ko" in depended


MOVES = list(UPDATES) if FULL else ["apt full-upgrade", "unattended-upgrade"]


@pytest.mark.parametrize("name", [name for name in MOVES if name != "apt-get upgrade"])
def test_each_way_of_updating_moves_both(system, name):
    system.put_kernel(SECOND)
    system.update()
    system.put_modules(FIRST, SECOND)
    system.update()
    update_all(system, UPDATES[name])
    there(system, SECOND)


def test_an_update_within_a_release_waits_too(system):
    again = Kernel(1, "99.1.1-2")
    system.put_kernel(again)
    assert f"{again.version} waits for {META}" in system.update()
    for words in UPDATES.values():
        update_all(system, words)
        there(system, FIRST)
    system.put_modules(again)
    system.update()
    system.apt("apt", "full-upgrade")
    there(system, again)


def test_half_published(system):
    """The driver's metapackage is there, the modules that it needs are not."""
    system.put_kernel(SECOND)
    system.put_modules(FIRST, SECOND, without=[f"{META}-{SECOND.release}"])
    assert "waits for" in system.update()
    system.apt("apt", "full-upgrade")
    there(system, FIRST)


def test_the_later_of_two_drivers_is_waited_for(system):
    system.put_modules(FIRST, driver="late")
    system.update()
    system.apt("apt-get", "install", "late-modules")
    system.put_kernel(SECOND)
    system.put_modules(FIRST, SECOND)
    said = system.update()
    assert "waits for late-modules" in said and f"waits for {META}" not in said
    system.apt("apt", "full-upgrade")
    assert system.kernel() == FIRST.version and "late-modules" in system.versions()
    system.put_modules(FIRST, SECOND, driver="late")
    system.update()
    system.apt("apt", "full-upgrade")
    there(system, SECOND)
    assert system.versions()["late-modules"].endswith("99.1.2.1")


def test_the_override_takes_the_kernel_and_keeps_the_old_one_with_its_driver(system):
    system.put_kernel(SECOND)
    said = system.update()
    command = re.search(r"go without the driver: (apt-get install .*)$", said, re.M)[1].split()
    system.apt(*command)
    system.apt("apt-get", "autoremove")
    versions = system.versions()
    assert versions["linux-image-amd64"] == SECOND.version and META not in versions
    assert f"linux-image-{FIRST.release}" in versions and f"{META}-{FIRST.release}" in versions
    assert not system.waits()


def test_removing_the_driver_lifts_the_hold(system):
    assert system.pins()["linux-image-amd64"] == FIRST.version
    system.apt("apt-get", "remove", META)
    # The kernel that has a driver keeps it.
    assert set(system.pins()) == {f"linux-image-{FIRST.release}", f"linux-headers-{FIRST.release}"}
    system.apt("apt-get", "remove", f"{META}-{FIRST.release}")
    assert not system.pins()
    system.put_kernel(SECOND)
    system.update()
    system.apt("apt", "full-upgrade")
    assert system.kernel() == SECOND.version


def test_a_signer_who_is_not_trusted_stops_the_run_before_anything_changes(system):
    """As kmodkeep's answer would have it, which unit tests ask for: see test_provenance.py."""
    programs = {"kmodkeep": 'case $1 in verify) echo "$6: untrusted-key: nobody knows it"; exit 1 ;; esac', "systemd-detect-virt": "exit 1"}
    for name, text in programs.items():
        (system.path / "usr/local/bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (system.path / "usr/local/bin" / name).chmod(0o755)
    before = system.versions()
    system.put_kernel(SECOND)
    system.put_modules(FIRST, SECOND)
    system.update()
    said = system.apt("apt", "full-upgrade", check=False)
    assert f"{META}-{SECOND.release} is not installed, since its kernel would not load sample.ko: untrusted-key: nobody knows it" in said, said
    assert "nothing was changed. Next: " in said
    assert system.versions() == before
    # What cannot be asked is in nobody's way.
    (system.path / "usr/local/bin/mktemp").write_text("#!/bin/sh\nexit 1\n")
    (system.path / "usr/local/bin/mktemp").chmod(0o755)
    system.put("other", "2")
    system.update()
    system.apt("apt-get", "install", "other")
    for name in ("mktemp", "kmodkeep"):
        (system.path / "usr/local/bin" / name).unlink()
    system.update()
    system.apt("apt", "full-upgrade")
    there(system, SECOND)


BROKEN_APT = """#!/bin/sh
case "$*" in *-s*) echo refused >>/asked; exit 100 ;; esac
exec /usr/bin/apt-get "$@"
"""


def test_a_hold_stays_where_apt_cannot_be_asked(system):
    broken = system.path / "usr/local/bin/apt-get"
    broken.write_text(BROKEN_APT)
    broken.chmod(0o755)
    before = system.pins()
    system.put_kernel(SECOND)
    system.put_modules(FIRST, SECOND)
    assert f"{SECOND.version} waits for {META}" in system.update()
    assert (system.path / "asked").exists() and system.pins() == before
    system.apt("apt", "full-upgrade")
    there(system, FIRST)
    broken.unlink()
    assert "waits for" not in system.update()
    system.apt("apt", "full-upgrade")
    there(system, SECOND)


def test_a_pin_that_cannot_be_written_leaves_no_package_half_configured(system):
    """As on a full disk: it is said, and done after the next "apt update"."""
    system.apt("apt-get", "remove", META, f"{META}-{FIRST.release}")
    obstacle = system.path / "etc/apt/preferences.d/kmodkeep-kernel.new"
    obstacle.mkdir()
    said = system.apt("apt-get", "install", META)
    assert "the kernel's hold is not as it should be" in said
    assert not system.run(["dpkg", "--audit"]).stdout and META in system.versions() and not system.pins()
    obstacle.rmdir()
    system.update()
    assert system.pins()["linux-image-amd64"] == FIRST.version


def test_a_hold_stays_where_dpkg_does_not_answer(system):
    broken = system.path / "usr/local/bin/dpkg-query"
    broken.write_text("#!/bin/sh\nexit 2\n")
    broken.chmod(0o755)
    before = system.pins()
    assert before
    for word in ("write", "update"):
        done = system.run(["/usr/lib/kmodkeep/kernel-hold", word], check=False)
        assert done.returncode and system.pins() == before, word


def test_a_driver_goes_also_without_depmod(system):
    broken = system.path / "usr/sbin/depmod"
    broken.unlink()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    said = system.apt("apt-get", "purge", META, f"{META}-{FIRST.release}")
    assert f"Next: depmod {FIRST.release}" in said
    assert not system.run(["dpkg", "--audit"]).stdout and f"{META}-{FIRST.release}" not in system.versions()


def test_who_may_read_what_it_writes(system):
    """Whatever the mask of who calls apt; and nobody else can hold its lock."""
    pins = system.path / "etc/apt/preferences.d/kmodkeep-kernel"
    lock = system.path / "var/lib/kmodkeep/kernel-waits.lock"
    for path in (pins, lock):
        path.unlink()
    system.run("umask 077; /usr/lib/kmodkeep/kernel-hold update")
    files = (pins, system.path / "metrics/kmodkeep-waits.prom", lock)
    assert [path.stat().st_mode & 0o777 for path in files] == [0o644, 0o644, 0o600]


def test_scripts_wait_for_a_run_that_is_under_way(system):
    lock = system.path / "var/lib/kmodkeep/kernel-waits.lock"
    with open(lock, "a", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(system.command(["/usr/lib/kmodkeep/kernel-hold", "write", "--without", META])) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(2)
            assert "linux-image-amd64" in system.pins()
            fcntl.flock(held, fcntl.LOCK_UN)
            assert waiting.wait(300) == 0
    assert "linux-image-amd64" not in system.pins()
