# SPDX-License-Identifier: GPL-2.0-or-later
"""A guard that fails never breaks a package; its units are confined."""

import re
import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.host import TOP

# That of pull starts the package manager, whose scripts do anything.
UNITS = sorted(set(TOP.glob("system/kmodkeep*.service")) - {TOP / "system/kmodkeep-pull.service"})
# Ways in which a program ends that has no time to say so.
ENDS = {"crash": "kill -SEGV $$", "out of memory": "kill -KILL $$", "error": "exit 3"}


def kmodkeep(tmp_path, how):
    """A kmodkeep that ends like this, first in the path."""
    program = tmp_path / "bin/kmodkeep"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{how}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("hook", ["debian/kmodkeep.postinst triggered /lib/modules",
                                  "system/95-kmodkeep.install add 6.1.0"])  # fmt: skip
def test_guard_that_ends_badly_breaks_no_package(tmp_path, hook, end):
    environment = kmodkeep(tmp_path, ENDS[end])
    done = subprocess.run(["/bin/sh", *hook.split()], cwd=TOP, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "was not checked. Next: kmodkeep guard" in done.stderr
    environment = kmodkeep(tmp_path, "exit 0")
    done = subprocess.run(["/bin/sh", *hook.split()], cwd=TOP, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_library_breaks_no_package(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kmodkeep").write_bytes(b"")
    (tmp_path / "bin/kmodkeep").chmod(0o755)
    (tmp_path / "bin/kmodkeep").write_text("#!/no/such/loader\n")
    done = subprocess.run(["/bin/sh", "debian/kmodkeep.postinst", "triggered"], cwd=TOP,
                          env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}, capture_output=True)  # fmt: skip
    assert done.returncode == 0 and b"was not checked" in done.stderr


@pytest.mark.parametrize("end", [*ENDS, "nothing"])
def test_real_apt_goes_on(tmp_path, end):
    """apt itself runs the hook, for a package that is not there to install."""
    program = tmp_path / "kmodkeep"
    program.write_text(f"#!/bin/sh\necho asked: \"$@\"\n{ENDS.get(end, 'exit 0')}\n")
    program.chmod(0o755)
    hook = (TOP / "system/kmodkeep.apt.conf").read_text()
    # The condition must be the program alone: no file of a trigger.
    assert hook.count("/usr/sbin/kmodkeep") == 2
    conf = tmp_path / "apt.conf"
    conf.write_text(hook.replace("/usr/sbin/kmodkeep", str(program)))
    package = tmp_path / "p"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: kmodkeep-test-hook\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y.z>\nDescription: x\n"
    )
    subprocess.run(["dpkg-deb", "-b", package, tmp_path / "p.deb"], check=True, capture_output=True)
    root = tmp_path / "root"
    for name in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "var/cache/apt/archives/partial",
                 "var/lib/apt/lists/partial", "var/log/apt", "etc/apt/preferences.d", "etc/apt/apt.conf.d"):  # fmt: skip
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    options = [f"-oDir={root}", f"-oDir::State::status={root}/var/lib/dpkg/status",
               f"-oDPkg::Options::=--root={root}", "-oDPkg::Options::=--force-not-root",
               "-oDPkg::Options::=--force-script-chrootless", "-oDebug::NoLocking=1",
               "-oDPkg::Use-Pty=0", "-oAPT::Sandbox::User=root", "-oDir::Bin::dpkg=/usr/bin/dpkg"]  # fmt: skip
    done = subprocess.run(
        ["apt-get", "-y", *options, "install", str(tmp_path / "p.deb")],
        env={"APT_CONFIG": str(conf), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asked: guard --transaction" in done.stdout
    assert ("was not checked" in done.stderr) == (end != "nothing")


def test_hooks_of_apt_do_not_fail_where_nothing_can_be_said(tmp_path):
    """As with a log on a full disk: apt takes what a hook returns for its own end."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    text = (TOP / "system/kmodkeep.apt.conf").read_text()
    hooks = re.findall(r'^\S+ \{ "(.*)"; \};$', text, re.M)
    assert len(hooks) == 4
    for hook in hooks:
        hook = re.sub(r"/usr/sbin/kmodkeep|/usr/lib/kmodkeep/kernel-hold", str(program), hook)
        with open("/dev/full", "w", encoding="ascii") as full:
            assert subprocess.run(["sh", "-c", hook], stdout=full, stderr=full).returncode == 0, hook


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_are_confined(unit, tmp_path):
    copy = shutil.copy(unit, tmp_path)
    # What it starts is not installed on the machine that tests.
    text = re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", unit.read_text(), flags=re.M)
    (tmp_path / unit.name).write_text(text)
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=40", copy],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    # That would hide the modules.
    assert "\nProtectKernelModules=yes" not in text


def test_what_kernel_hold_writes_goes_through_no_link(tmp_path):
    """Metrics lie in a folder that the exporter's user can change; root writes there."""
    other, folder, target = tmp_path / "other", tmp_path / "folder", tmp_path / "metrics/waits.prom"
    other.write_text("not ours")
    folder.mkdir()
    target.parent.mkdir()
    target.symlink_to(folder)
    target.with_name("waits.prom.new").symlink_to(other)
    function = re.search(r"^replace\(\) \{.*?^\}", (TOP / "system/kernel-hold").read_text(), re.M | re.S)[0]
    subprocess.run(["sh", "-euc", f'{function}\nreplace "$1"', "sh", target], input=b"ours", check=True, timeout=60)
    assert other.read_text() == "not ours" and target.read_text() == "ours" and not target.is_symlink()
    assert list(target.parent.iterdir()) == [target] and not list(folder.iterdir())
