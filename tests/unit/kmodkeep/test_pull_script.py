# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep pull, the script: what it asks of apt, and when it reboots. Its programs are stand-ins."""

import fcntl
import subprocess

import pytest

from tests.unit.kmodkeep.host import TOP

# What each was called with goes to "calls"; files of its name say what it answers.
PROGRAM = """#!/bin/sh
name=${{0##*/}}
printf '%s\\n' "$name $*" >>{path}/calls
case "$name ${{1-}}" in
"kmodkeep gate")
	if [ "$2" != --mark ]; then cat {path}/said; fi
	if [ "$2 ${{3-}}" = "--mark failed" ] && [ -e {path}/full ]; then exit 3; fi
	exit 0
	;;
"kmodkeep state") exit 0 ;;
"kmodkeep "*) exit "$(cat {path}/"$1")" ;;
"apt-get "*)
	[ ! -e /proc/self/fd/9 ] || echo "the lock is open" >>{path}/calls
	case " $* " in *" install "*) [ ! -e {path}/next ] || cp {path}/next {path}/versions ;; esac
	exit 0
	;;
"dpkg-query "*) shift 3; grep "^installed $1=" {path}/versions ;;
"dpkg --compare-versions") exec /usr/bin/dpkg "$@" ;;
esac
"""


class Host:
    """A copy of the script that knows another /var and /run."""

    def __init__(self, path):
        self.path = path
        for name in ("state/gate", "run", "bin"):
            (path / name).mkdir(parents=True)
        text = (TOP / "kmodkeep/pull").read_text()
        self.script = path / "pull"
        self.script.write_text(text.replace("/var/lib/kmodkeep", f"{path}/state").replace("/run/", f"{path}/run/"))
        self.script.chmod(0o755)
        for name in ("kmodkeep", "apt-get", "dpkg-query", "dpkg", "shutdown"):
            (path / "bin" / name).write_text(PROGRAM.format(path=path))
            (path / "bin" / name).chmod(0o755)
        self.answer(status=0, guard=0, pin=0, versions="installed linux=1\n", next="installed linux=2\n")
        self.gate("update")

    def answer(self, **files):
        for name, content in files.items():
            (self.path / name).write_text(str(content))

    def gate(self, verdict, packages="linux", reboot="yes"):
        self.answer(said=f"verdict={verdict}\nrollout=r\npackages={packages}\nreboot={reboot}\n")

    def kept(self):
        return self.path / "state/gate/versions.r"

    def updated(self):
        """One that has been brought from version 1 to 2, and was running kernel 5."""
        self.kept().write_text("linux=1\n")
        (self.path / "state/gate/kernel.r").write_text("5\n")
        self.answer(versions="installed linux=2\n", next="installed linux=1\n")
        self.gate("go-back")

    def pull(self):
        self.answer(calls="")
        done = subprocess.run([self.script, self.path / "bin/kmodkeep"], capture_output=True, text=True, timeout=120,
                              env={"PATH": f"{self.path}/bin:/usr/sbin:/usr/bin:/sbin:/bin"})  # fmt: skip
        self.calls = (self.path / "calls").read_text().splitlines()
        assert "the lock is open" not in self.calls
        self.marks = [call.split()[3] for call in self.calls if call.startswith("kmodkeep gate --mark")]
        self.reboots = any(call.startswith("shutdown ") for call in self.calls)
        return done

    def installs(self):
        return [call.split(" install ")[1] for call in self.calls if call.startswith("apt-get ") and " install " in call]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_an_update(host):
    """The guard is asked right before the reboot, and nothing is removed for the update."""
    done = host.pull()
    assert done.returncode == 0 and host.marks == ["begun", "updated"], done.stderr
    assert host.installs() == ["--only-upgrade --no-remove linux"] and host.kept().read_text() == "linux=1\n"
    last = [call for call in host.calls if call.startswith(("kmodkeep guard", "shutdown"))][-2:]
    assert last == ["kmodkeep guard", "shutdown -r +1 kmodkeep: roll-out r"]


@pytest.mark.parametrize("code", [1, 3])
def test_no_reboot_into_what_is_not_safe(host, code):
    """After an update, and after one that was taken back."""
    host.answer(guard=code)
    done = host.pull()
    assert done.returncode == 1 and host.marks == ["begun", "failed"] and not host.reboots
    assert "with the update the next boot is not safe, or nobody can tell" in done.stderr
    host.updated()
    done = host.pull()
    assert done.returncode == 1 and host.marks == ["gone-back"] and not host.reboots
    assert "not rebooted: " in done.stderr


def test_an_index_that_is_old_and_valid(host):
    """apt has nothing to do then, and says that all is well."""
    (host.path / "next").unlink()
    host.gate("update", packages="linux=2 other=9")
    done = host.pull()
    assert done.returncode == 1 and host.marks == ["begun", "failed"] and not host.reboots
    assert "linux=1 is older than 2, which the gate names" in done.stderr
    assert host.installs() == ["--only-upgrade --no-remove linux other"]


@pytest.mark.parametrize("have", ["2", "10"])
def test_the_version_that_is_named_or_a_newer_one(host, have):
    host.answer(next=f"installed linux={have}\n")
    host.gate("update", packages="linux=2")
    assert host.pull().returncode == 0 and host.marks == ["begun", "updated"] and host.reboots


def test_a_package_that_the_update_took_away(host):
    host.answer(next="")
    done = host.pull()
    assert host.marks == ["begun", "failed"] and "linux is not installed any more" in done.stderr


def test_a_failure_that_cannot_be_recorded_is_said(host):
    host.answer(next="", full="")
    done = host.pull()
    assert done.returncode == 1 and "record.json cannot be written" in done.stderr
    # The state file is written nevertheless: the fleet sees its verdicts.
    assert "kmodkeep state --write" in host.calls


def test_one_that_was_cut_is_gone_on_with(host):
    """Because of that it may be unwell: it is not one that was left out, and that keeps the bad half."""
    host.kept().write_text("linux=1\n")
    host.answer(status=1)
    assert host.pull().returncode == 0 and host.marks == ["begun", "updated"]
    assert "dpkg --configure -a --force-confdef --force-confold" in host.calls


def test_one_that_is_unwell_is_left_out(host):
    host.answer(status=3)
    assert host.pull().returncode == 1 and host.marks == ["left-out"] and not host.installs()


def test_going_back(host):
    """The packages, then the boot loader's default, then the guard is asked, and it reboots."""
    host.updated()
    assert host.pull().returncode == 0 and host.marks == ["gone-back"] and host.reboots
    assert host.installs() == ["--allow-downgrades linux=1"]
    order = [call for call in host.calls if call.startswith(("kmodkeep pin", "kmodkeep guard", "shutdown"))]
    assert order == ["kmodkeep pin hold 5", "kmodkeep guard", "shutdown -r +1 kmodkeep: roll-out r"]


def test_the_kernel_from_before_is_kept(host):
    host.pull()
    running = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout
    assert (host.path / "state/gate/kernel.r").read_text() == running


@pytest.mark.parametrize("why", ["the kernel cannot be held", "the kernel is not known", "the package stays"])
def test_what_has_not_gone_back_does_not_say_so(host, why):
    host.updated()
    if why == "the kernel cannot be held":
        host.answer(pin=1)
    elif why == "the kernel is not known":
        (host.path / "state/gate/kernel.r").unlink()
    else:
        (host.path / "next").unlink()
    done = host.pull()
    assert done.returncode == 1 and host.marks == ["failed"] and not host.reboots
    assert "the update could not be taken back" in done.stderr


def test_the_versions_to_go_back_to_are_lost(host):
    """It has not gone back then, and does not say so."""
    host.gate("go-back")
    done = host.pull()
    assert done.returncode == 1 and host.marks == ["failed"] and not host.reboots
    assert "versions.r, with the versions to go back to, is not there" in done.stderr


def test_two_at_once(host):
    with open(host.path / "run/kmodkeep-pull.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = host.pull()
    assert done.returncode == 1 and "another one is at work" in done.stderr and not host.calls
    assert host.pull().returncode == 0
