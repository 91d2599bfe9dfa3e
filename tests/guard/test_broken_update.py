# SPDX-License-Identifier: GPL-2.0-only
"""A kernel update that breaks a driver, on a full Debian 12 with Secure Boot on.

The driver is Debian's own v4l2loopback-dkms, unmodified: its source of Debian 12 does
not compile on the kernel of backports.  flightrec, beside it, does.  Then the fault
goes away, by the v4l2loopback of Debian 13.
"""

import re

import pytest

from tests.lib import apt
from tests.qemu import aptrepo, image, variables
from tests.qemu.secureboot import FIXED, OVERLAY, SecureBootGuest
from tests.secureboot import cells
from tests.secureboot.chain import _packages

INSTALL = 1500  # seconds; an idle machine needs a tenth
PIN = "policy = pin-last-good"
DROP_INS = f"""
set -e
mkdir -p /usr/lib/kmodkeep/drivers.d /etc/kmodkeep/drivers.d
printf 'modules = v4l2loopback\\ndkms = v4l2loopback\\n{PIN}\\n' >/usr/lib/kmodkeep/drivers.d/v4l2loopback.conf
printf 'modules = flightrec flightrec_events\\ndkms = flightrec\\n{PIN}\\n' >/etc/kmodkeep/drivers.d/flightrec.conf
echo v4l2loopback >/etc/modules-load.d/v4l2loopback.conf
sed -i 's/^GRUB_DEFAULT=.*/GRUB_DEFAULT=saved/' /etc/default/grub
update-grub
"""
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0"


class Told:
    """What happened, in the order of the tests."""


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """The guest with a key that is enrolled and that dkms signs with."""
    workdir = tmp_path_factory.mktemp("guard")
    key = cells.make_key(workdir, "good")
    debs = [*_packages(workdir / "debs"), *apt.download("bookworm", ["v4l2loopback-dkms"]).glob("*.deb")]
    fixed = apt.download("trixie", ["v4l2loopback-dkms"])
    packages = aptrepo.write_disk(workdir / "packages.img", debs,
                                  {"fixed": sorted(fixed.glob("*.deb"))})
    guest = SecureBootGuest([(image.overlay(workdir), OVERLAY), (packages, FIXED)], workdir,
                            name="guard")
    variables.add(workdir / "efivars.fd", "MokList",
                  variables.signature_list(variables.X509, [key.der]))
    with guest:
        guest.wait_booted()
        guest.check("mkdir -p /var/lib/dkms")
        put(guest, "/var/lib/dkms/mok.key", key.key.read_bytes())
        put(guest, "/var/lib/dkms/mok.pub", key.der)
        guest.check("chmod 600 /var/lib/dkms/mok.key")
        guest.check(aptrepo.guest_sources("flightrec", "debian"))
        guest.check(f"{APT} update", INSTALL)
        yield guest


def put(guest, path, data):
    guest.check(f"printf '{''.join(f'{chr(92)}{byte:03o}' for byte in data)}' >{path}")


def loaded(guest):
    return set(re.findall(r"^(flightrec|v4l2loopback) ", guest.check("lsmod"), re.M))


def power_cycle(guest):
    """Without asking the guest's system."""
    guest.run("sync; (sleep 1; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &")
    guest.wait_booted()


def test_install_says_that_the_next_boot_is_safe(guest):
    Told.old = guest.check("uname -r").strip()
    guest.check(f"{APT} install flightrec v4l2loopback-dkms", INSTALL)
    # apt, which read its configuration before kmodkeep was there, says nothing yet.
    guest.check(DROP_INS, INSTALL)
    line = guest.check("kmodkeep guard", INSTALL)
    assert line == f"kmodkeep: next boot safe (kernel {Told.old})\n"


def test_update_that_breaks_a_driver(guest):
    guest.check(aptrepo.guest_sources("flightrec", "debian", "backports"))
    guest.check(f"{APT} update", INSTALL)
    result = guest.run(f"{APT} -t {aptrepo.BACKPORTS} --no-install-recommends install "
                       "linux-image-amd64 linux-headers-amd64", INSTALL)  # fmt: skip
    Told.output = result.output
    Told.new = guest.check("ls -v /lib/modules | tail -n 1").strip()
    assert Told.new != Told.old
    # dkms's own hook fails, and with it apt; the guard speaks nevertheless.
    assert result.status, result.output[-3000:]
    assert f"pinned, as {Told.new} would lose a driver" in result.output, result.output[-3000:]


def test_half_configured_package_is_named(guest):
    assert re.search(r"^kmodkeep: package linux-\S+ is half-configured\. Next: ", Told.output, re.M)


def test_pinned_host_comes_up_on_the_old_kernel(guest):
    page = guest.run("kmodkeep status").output
    assert Told.new in page and "MISSING" in page, page
    power_cycle(guest)
    assert guest.check("uname -r").strip() == Told.old
    assert loaded(guest) == {"flightrec", "v4l2loopback"}
    assert "pinned to kernel" in guest.check("kmodkeep pin")
    assert Told.old.replace(".", r"\.") in guest.check("apt-config dump APT::NeverAutoRemove")


def test_pin_goes_when_the_fault_does(guest):
    result = guest.run(f"dpkg --force-depends -i {aptrepo.MOUNT_POINT}/fixed/*.deb; "
                       "dpkg --configure -a", INSTALL)  # fmt: skip
    assert guest.run("kmodkeep pin").status == 1, result.output[-3000:]
    assert f"next boot safe (kernel {Told.new})" in result.output, result.output[-3000:]
    power_cycle(guest)
    assert guest.check("uname -r").strip() == Told.new
    assert loaded(guest) == {"flightrec", "v4l2loopback"}
