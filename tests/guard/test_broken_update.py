# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel update that breaks a driver, on a full Debian 12 with Secure Boot on.

The driver is Debian's own v4l2loopback-dkms, unmodified: its source of Debian 12 does
not compile on the kernel of backports.  flightrec, beside it, does.  Then the fault
goes away, by the v4l2loopback of Debian 13.

What the guest said stays in build/results/guard.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.guard import prepared
from tests.guard.prepared import APT, DROP_IN, PATIENCE
from tests.qemu import aptrepo

LOGS = Path(__file__).parents[2] / "build/results/guard"
BOTH = {"flightrec", "v4l2loopback"}


class Told:
    """What happened, in the order of the tests."""


@pytest.fixture(scope="module")
def guest():
    """The guest with both drivers on its kernel, and a key that is enrolled."""
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    with prepared.guest(LOGS) as guest:
        guest.wait_booted()
        Told.old = guest.check("uname -r").strip()
        yield guest
    for disk in LOGS.glob("*.qcow2"):
        disk.unlink()


def at_work(guest, command):
    """Run COMMAND, which may fail; its Result. What it said is in the logs."""
    result = guest.run(command, PATIENCE)
    with open(LOGS / "commands.log", "a", encoding="utf-8") as log:
        log.write(f"\n# {command}\n{result.output}# exit status {result.status}\n")
    return result


def line(result):
    """The guard's last line: apt says it at its end."""
    lines = re.findall(r"^kmodkeep: next boot.*$", result.output, re.M)
    assert lines, result.output[-3000:]
    return lines[-1]


def loaded(guest):
    return set(re.findall(r"^(flightrec|v4l2loopback) ", guest.check("lsmod"), re.M))


def unit_state(guest):
    """Of the guard's unit, once it has done what it was started for."""
    wait = "while systemctl is-active kmodkeep-guard.service | grep -q activating; do sleep 1; done"
    return guest.run(f"{wait}; systemctl is-failed kmodkeep-guard.service", PATIENCE).output.strip()


def power_cycle(guest):
    """Without asking the guest's system; the kernel that came up."""
    guest.run("sync", PATIENCE)
    guest.qmp.system_reset()
    guest.wait_booted()
    return guest.check("uname -r").strip()


def test_install_says_that_the_next_boot_is_safe(guest):
    assert guest.first_line == f"kmodkeep: next boot safe (kernel {Told.old})\n"
    assert loaded(guest) == BOTH


def test_update_that_breaks_a_driver_fails_in_dkms_own_hook(guest):
    """The kernel is left half-way, outside the boot menu: the old one boots, and is safe."""
    guest.check(aptrepo.guest_sources("flightrec", "debian", "backports"))
    at_work(guest, f"{APT} update").check()
    result = at_work(guest, f"{APT} -t {aptrepo.BACKPORTS} --no-install-recommends install "
                            "linux-image-amd64 linux-headers-amd64")  # fmt: skip
    Told.new = guest.check("ls -v /lib/modules | tail -n 1").strip()
    assert Told.new != Told.old
    # Its hook fails, and with it apt; the guard speaks nevertheless.
    assert result.status, result.output[-3000:]
    Told.output = result.output
    assert line(result) == f"kmodkeep: next boot safe (kernel {Told.old})"


def test_half_configured_package_is_named(guest):
    named = re.findall(r"^kmodkeep: package (\S+) is half-configured\. Next: (.*)$",
                       Told.output, re.M)  # fmt: skip
    assert [package for package, _ in named] == [f"linux-image-{Told.new}"], Told.output[-3000:]
    assert "dpkg --configure -a" in named[0][1]
    assert f"linux-image-{Told.new}: half-configured" in guest.run("kmodkeep doctor").output


def test_once_in_the_menu_it_would_lose_that_driver_alone(guest):
    """What an administrator does about a kernel that is not offered."""
    guest.check(f"update-initramfs -c -k {Told.new} && update-grub", PATIENCE)
    # As at the end of each run of apt: no package changed, but the menu did.
    result = at_work(guest, "kmodkeep guard --transaction")
    said = line(result)
    assert f"next boot would lose v4l2loopback (kernel {Told.new}, v4l2loopback: missing" in said
    assert f"dkms could not build v4l2loopback for kernel {Told.new}: " in said, said
    assert "(/var/lib/dkms/v4l2loopback/" in said, said


def test_unsafe_host_shows_it(guest):
    page = guest.run("kmodkeep status").output
    assert page.startswith("NOT SAFE") and "v4l2loopback: MISSING" in page, page
    assert all(len(row) <= 80 for row in page.splitlines())
    assert "would lose v4l2loopback" in guest.check("cat /run/motd.d/kmodkeep")
    assert unit_state(guest) == "failed"


def test_administrator_gets_a_mail_of_it_once(guest):
    """The agent is one line of shell; what starts it is the guest's own systemd."""
    agent = "#!/bin/sh\\n{ echo sendmail \"$@\"; cat; } >>/var/spool/told\\n"
    guest.check("mkdir -p /var/spool; echo 'mail = root' >>/etc/kmodkeep/guard.conf; "
                f"printf '{agent}' >/usr/sbin/sendmail; chmod +x /usr/sbin/sendmail")
    for _ in range(2):
        guest.run("systemctl restart kmodkeep-guard.service", PATIENCE)
        guest.run("while systemctl -q is-active kmodkeep-mail.service || systemctl list-jobs | "
                  "grep -q kmodkeep-mail; do sleep 1; done", PATIENCE)
    told = guest.check("cat /var/spool/told")
    assert told.count("sendmail -odi -i -- root") == 1, told
    assert "would lose v4l2loopback" in told and "To: root\n" in told
    guest.check("rm /usr/sbin/sendmail /etc/kmodkeep/guard.conf")


def test_policy_pins_the_old_kernel(guest):
    guest.check(f"echo 'policy = pin-last-good' >>{DROP_IN}")
    said = line(at_work(guest, "kmodkeep guard"))
    assert said == (f"kmodkeep: next boot safe (kernel {Told.old}); pinned, as {Told.new} "
                    "would lose a driver")  # fmt: skip
    kept = guest.check("apt-config dump APT::NeverAutoRemove").replace("\\", "")
    assert f"-{Told.old}$" in kept, kept
    assert power_cycle(guest) == Told.old
    assert loaded(guest) == BOTH
    assert "pinned to kernel" in guest.check("kmodkeep pin")


def test_pin_goes_when_the_fault_does(guest):
    # The disk with the packages is not mounted again at boot.
    guest.check(aptrepo.guest_sources("flightrec", "debian", "backports"))
    result = at_work(guest, f"dpkg --force-depends -i {aptrepo.MOUNT_POINT}/fixed/*.deb; "
                            "dpkg --configure -a; kmodkeep guard")  # fmt: skip
    assert f"the pin on kernel {Told.old} is lifted" in result.output, result.output[-3000:]
    assert line(result).startswith(f"kmodkeep: next boot safe (kernel {Told.new})")
    assert guest.run("kmodkeep pin").status == 1
    assert unit_state(guest) == "inactive"


def test_update_that_is_good_keeps_both(guest):
    assert power_cycle(guest) == Told.new
    assert loaded(guest) == BOTH
    assert guest.run("kmodkeep status").output.startswith("SAFE")
