# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong on hosts: each kernel keeps what it had, and a line says what to do.

Each test has a system of its own with one kernel, or two where that matters.
They run with dkms of Debian 12; FULL=1 runs them with that of all suites.
"""

import os
import shutil
import subprocess

import pytest

from tests.packaging.target import DRIVER, MODULES, OURS, Target
from tests.packaging.variants import EVERYWHERE, NEXT, NOT_ON_6_12, VERSION, later, packages

FULL = os.environ.get("FULL")
SUITES = ["bullseye", "bookworm", "trixie", "sid"] if FULL else ["bookworm"]

HEADERS_MISSING = "not built, its headers are missing"


@pytest.fixture(params=SUITES)
def target(request):
    """A system with one kernel, and nothing of ours."""
    with Target(request.param) as clone:
        for kernel in clone.kernels[1:]:
            shutil.rmtree(clone.path / "lib/modules" / kernel)
        (clone.kernel,) = clone.kernels
        clone.directory = clone.path / "lib/modules" / clone.kernel
        (clone.directory / "kernel").mkdir(exist_ok=True)  # it has an image, not just headers
        clone.run(["depmod", clone.kernel])
        yield clone


@pytest.fixture
def installed(target):
    """A system with one kernel, and our packages."""
    target.install(packages(target.suite).values())
    assert target.dkms() == target.installed_everywhere()
    return target


def take_headers_away(target):
    (target.directory / "build").rename(target.path / "headers")


def bring_headers_back(target):
    """... as their package does, by way of dkms's hook."""
    (target.path / "headers").rename(target.directory / "build")
    target.run(["dkms", "autoinstall", "-k", target.kernel])


def check_all_configured(target):
    assert set(target.states(*OURS).values()) == {"ii"}
    assert not target.run(["dpkg", "--audit"]).stdout


# --- what a kernel needs is not there


def test_no_headers(target):
    take_headers_away(target)
    output = target.install(packages(target.suite).values())
    line = f"kernel {target.kernel}: {HEADERS_MISSING}. Next: apt install linux-headers-{target.kernel}"
    assert line in output
    check_all_configured(target)
    assert target.dkms() == {(VERSION, "", "added")}
    bring_headers_back(target)
    assert target.dkms() == target.installed_everywhere()
    target.check_modules()


def test_upgrade_without_headers(installed):
    take_headers_away(installed)
    output = installed.install(later(installed.suite).values())
    assert f"{HEADERS_MISSING}; {VERSION} stays installed and loadable. Next: " in output
    check_all_configured(installed)
    assert (VERSION, installed.kernel, "installed") in installed.dkms()
    bring_headers_back(installed)
    installed.check_modules(NEXT)
    installed.run(["dpkg-reconfigure", DRIVER])
    assert installed.dkms() == installed.installed_everywhere(NEXT)
    installed.check_nothing_left_over(NEXT)


def test_no_compiler(target):
    compilers = "rm $(find /usr/bin -name '*gcc' -o -name '*gcc-[0-9]*')"
    target.run(compilers)
    output = target.install(packages(target.suite).values())
    assert f"kernel {target.kernel}: FAILED, the compiler gcc is not installed." in output
    assert f"Next: apt install gcc, then dpkg-reconfigure {DRIVER}" in output
    check_all_configured(target)


def test_no_kernel(target):
    shutil.rmtree(target.directory)
    output = target.install(packages(target.suite).values())
    assert "nothing to build: no kernel is installed here" in output
    check_all_configured(target)


def test_administrator_wants_no_builds(target):
    target.write("/etc/dkms/no-autoinstall", "")
    output = target.install(packages(target.suite).values())
    assert "registered, not built: /etc/dkms/no-autoinstall says so" in output
    check_all_configured(target)
    assert target.dkms() == {(VERSION, "", "added")}


# --- a version that one kernel cannot have


def test_upgrade_that_builds_for_one_kernel_of_two():
    with Target("bookworm") as target:
        old, new = target.kernels
        assert old.startswith("6.1.") and new.startswith("6.12.")
        target.install(packages(target.suite).values())
        kept = target.module_files(new)
        output = target.install(later(target.suite, NOT_ON_6_12).values())
        assert f"kernel {old}: installed in place of {VERSION}" in output
        assert f"kernel {new}: FAILED, the build failed" in output
        check_all_configured(target)
        assert target.dkms() == {(NEXT, old, "installed"), (VERSION, new, "installed")}
        assert target.modinfo(old, "flightrec", "version") == NEXT
        assert target.module_files(new) == kept
        assert target.source_link(VERSION) == "kept-source"

        target.install(later(target.suite).values(), "--reinstall")
        assert target.dkms() == target.installed_everywhere(NEXT)
        target.check_modules(NEXT)
        target.check_nothing_left_over(NEXT)


def test_downgrade_is_not_undone():
    """A kernel that the older version does not build for keeps the newer one; no other gets it."""
    with Target("bookworm") as target:
        old, new = target.kernels
        target.install(later(target.suite).values())
        output = target.install(later(target.suite, NOT_ON_6_12, VERSION).values())
        assert f"kernel {new}: FAILED, the build failed" in output
        kept = {(VERSION, old, "installed"), (NEXT, new, "installed")}
        assert target.dkms() == kept
        # As if the kernel had just been installed.
        target.run(["dkms", "uninstall", "-m", "flightrec", "-v", VERSION, "-k", old])
        target.run(["dkms", "autoinstall", "-k", old])
        assert target.dkms() == kept
        assert target.modinfo(old, "flightrec", "version") == VERSION


def test_first_installation_that_does_not_build(target):
    output = target.install(later(target.suite, EVERYWHERE).values())
    assert f"kernel {target.kernel}: FAILED, the build failed (dkms exit code 10). Log: " in output
    check_all_configured(target)
    target.install(later(target.suite).values(), "--reinstall")
    assert target.dkms() == target.installed_everywhere(NEXT)
    target.check_nothing_left_over(NEXT)


def test_reinstallation_that_does_not_build(installed):
    kept = installed.module_files(installed.kernel)
    installed.in_front_of("make", "exit 2")
    output = installed.install([packages(installed.suite)[DRIVER]], "--reinstall")
    assert f"FAILED, the build failed (dkms exit code 10); {VERSION} stays installed" in output
    check_all_configured(installed)
    assert installed.module_files(installed.kernel) == kept
    assert installed.dkms() == installed.installed_everywhere()
    installed.no_longer_in_front_of("make")
    installed.run(["dpkg-reconfigure", DRIVER])
    assert installed.dkms() == installed.installed_everywhere()
    installed.check_nothing_left_over()


def test_newer_version_of_the_administrator(installed):
    own = "99.0"
    source = f"/usr/src/flightrec-{own}"
    installed.run(["cp", "-a", f"/usr/src/flightrec-{VERSION}", source])
    installed.run(["sed", "-i", f"s/{VERSION}/{own}/", f"{source}/dkms.conf"])
    installed.run(["dkms", "install", "-m", "flightrec", "-v", own, "-k", installed.kernel])
    output = installed.install(later(installed.suite).values())
    assert f"left alone, it has flightrec {own}, which this package did not install" in output
    check_all_configured(installed)
    assert (own, installed.kernel, "installed") in installed.dkms()
    output = installed.apt("purge", DRIVER)
    assert f"version {own} stays: this package did not register it" in output
    assert installed.dkms() == installed.installed_everywhere(own)
    installed.check_modules(own)


# --- something breaks half-way


def test_installation_fails_after_the_build(installed):
    """dkms removes the module when depmod fails; the old one must come back."""
    kept = installed.module_files(installed.kernel)
    installed.in_front_of("depmod", "exit 1")
    output = installed.install(later(installed.suite).values())
    assert f"FAILED, dkms could not install it; {VERSION} stays installed and loadable" in output
    check_all_configured(installed)
    assert installed.module_files(installed.kernel) == kept
    assert (VERSION, installed.kernel, "installed") in installed.dkms()
    installed.no_longer_in_front_of("depmod")
    installed.run(["dpkg-reconfigure", DRIVER])
    assert installed.dkms() == installed.installed_everywhere(NEXT)
    installed.check_nothing_left_over(NEXT)


KILLS = [("reinstall", "before"), ("upgrade", "after")]
if FULL:
    KILLS += [("reinstall", "after"), ("upgrade", "before")]


@pytest.mark.parametrize("what, when", KILLS)
def test_killed_while_dkms_installs(installed, what, when):
    ours = later(installed.suite) if what == "upgrade" else packages(installed.suite)
    version = NEXT if what == "upgrade" else VERSION
    work = {"before": "", "after": '"$real" "$@";'}[when]
    installed.in_front_of("dkms", f'if [ "$1" = install ]; then {work} kill -9 $PPID; exit; fi\n'
                                  'exec "$real" "$@"')  # fmt: skip
    installed.install(ours.values(), "--reinstall", check=False)
    assert installed.states(DRIVER) == {DRIVER: "iF"}
    assert sorted(name.split(".")[0] for name in installed.module_files(installed.kernel)) == MODULES
    installed.no_longer_in_front_of("dkms")
    installed.run(["dpkg", "--configure", "-a"])
    check_all_configured(installed)
    assert installed.dkms() == installed.installed_everywhere(version)
    installed.check_modules(version)
    installed.check_nothing_left_over(version)


def test_upgrade_that_does_not_unpack(installed, tmp_path):
    """dpkg takes the new package back; dkms must have the old source again."""
    subprocess.run(["dpkg-deb", "-R", later(installed.suite)[DRIVER], tmp_path / "d"], check=True)
    (tmp_path / "d/usr/sbin").mkdir()
    (tmp_path / "d/usr/sbin/dkms").write_text("a file of another package\n")
    bad = tmp_path / "bad.deb"
    subprocess.run(["dpkg-deb", "-b", tmp_path / "d", bad], check=True)
    shutil.copy(bad, installed.path / "debs")
    done = installed.run(["dpkg", "-i", "/debs/bad.deb"], check=False)
    assert done.returncode and "trying to overwrite" in done.stdout
    assert installed.states(DRIVER) == {DRIVER: "ii"}
    assert installed.dkms() == installed.installed_everywhere()
    installed.check_modules()
    installed.check_nothing_left_over()
