# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian 12 guest with Secure Boot on which the drivers were installed, made once and cached.

What is cached belongs to exactly these packages: once one of them changes, the guest is
installed anew.
"""

import shutil
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.qemu import aptrepo, image, variables
from tests.qemu.esp import run
from tests.qemu.secureboot import FIXED, OVERLAY, SecureBootGuest
from tests.secureboot import cells
from tests.secureboot.chain import _packages

HERE = Path(__file__)
PATIENCE = 1800  # seconds; an idle machine needs a tenth
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0"
DROP_IN = "/usr/lib/kmodkeep/drivers.d/v4l2loopback.conf"
DROP_INS = f"""
set -e
printf 'modules = v4l2loopback\\ndkms = v4l2loopback\\n' >{DROP_IN}
echo v4l2loopback >/etc/modules-load.d/v4l2loopback.conf
sed -i 's/^GRUB_DEFAULT=.*/GRUB_DEFAULT=saved/' /etc/default/grub
update-grub
"""
FILES = ("disk.qcow2", "packages.img", "efivars.fd", "line")


def guest(workdir):
    """The guest, not yet started; its logs go to WORKDIR."""
    done = prepared(workdir)
    disk = workdir / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", done / "disk.qcow2", disk)
    made = SecureBootGuest([(disk, OVERLAY), (done / "packages.img", FIXED)], workdir, name="guard")
    shutil.copy(done / "efivars.fd", workdir)
    made.first_line = (done / "line").read_text()
    return made


def prepared(workdir):
    """The directory with FILES; while they are made, its logs are in WORKDIR too."""
    ours = _packages(workdir / "debs")
    debs = [*ours, *apt.download("bookworm", ["v4l2loopback-dkms"]).glob("*.deb")]
    key = digest(HERE.read_bytes(), image.base_image().name, [deb.read_bytes() for deb in debs])
    return cached("image", f"guard-{key}", lambda directory: _make(directory, workdir, debs))


def _make(directory, workdir, debs):
    """Start the guest, install DEBS by apt, and keep its disk."""
    key = cells.make_key(workdir, "good")
    fixed = apt.download("trixie", ["v4l2loopback-dkms"])
    packages = aptrepo.write_disk(workdir / "packages.img", debs,
                                  {"fixed": sorted(fixed.glob("*.deb"))})
    disk = image.overlay(workdir)
    made = SecureBootGuest([(disk, OVERLAY), (packages, FIXED)], workdir, name="guard-install")
    variables.add(workdir / "efivars.fd", "MokList",
                  variables.signature_list(variables.X509, [key.der]))
    with progress("Debian 12 image: apt installs the drivers in the guest"), made:
        made.wait_booted()
        _install(made, key)
        made.run("(sleep 1; systemctl poweroff) >/dev/null 2>&1 &")
        made.wait_exit(PATIENCE)
    directory.mkdir(parents=True)
    for name in FILES:
        shutil.move(workdir / name, directory / name)


def _install(made, key):
    """The key first, that dkms signs with; then the packages, as an administrator would."""
    made.check("mkdir -p /var/lib/dkms")
    _put(made, "/var/lib/dkms/mok.key", key.key.read_bytes())
    _put(made, "/var/lib/dkms/mok.pub", key.der)
    made.check("chmod 600 /var/lib/dkms/mok.key")
    made.check(aptrepo.guest_sources("flightrec", "debian"))
    made.check(f"{APT} update", PATIENCE)
    made.check(f"{APT} install flightrec v4l2loopback-dkms", PATIENCE)
    # apt, which read its configuration before kmodkeep was there, says nothing yet.
    made.check(DROP_INS, PATIENCE)
    (made.workdir / "line").write_text(made.check("kmodkeep guard", PATIENCE))


def _put(made, path, data):
    made.check(f"printf '{''.join(f'{chr(92)}{byte:03o}' for byte in data)}' >{path}")
