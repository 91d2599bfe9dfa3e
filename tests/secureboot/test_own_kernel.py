# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that is signed with an enrolled key: shim refuses it if the key is for modules only.

Whoever is root on a host can sign with its key.  With a key for any code, as dkms makes
one, that includes a kernel of their own; with kmodkeep's it does not.  The distribution's
kernel, without its signature, is signed by each; both keys are enrolled, and what GRUB,
by way of shim, makes of it is read from the console.

K=6.12 chooses the kernel.
"""

import os
import shutil
import subprocess

import pytest

from tests.lib.kernels import kernel
from tests.qemu import esp, variables
from tests.qemu.secureboot import BOOT_TIMEOUT, FIXED, SecureBootGuest
from tests.secureboot import cells

KERNEL = os.environ.get("K", "6.1").split(",")[0]
GRUB_CFG = "linux /vmlinuz console=ttyS0,115200 panic=0\nboot\n"
REFUSED, STARTED = b"bad shim signature", b"Linux version"


def signed_kernel(workdir, key):
    """The distribution's kernel with one signature, by KEY."""
    image = workdir / "vmlinuz"
    shutil.copyfile(kernel(KERNEL).vmlinuz, image)
    subprocess.run(["sbattach", "--remove", image], check=True, capture_output=True)
    subprocess.run(["sbsign", "--key", key.key, "--cert", key.cert, "--output", image, image],
                   check=True, capture_output=True)  # fmt: skip
    return image.read_bytes()


def outcome(workdir, image, enrolled=(), store=None):
    """What comes first on the console of a guest that boots IMAGE: REFUSED or STARTED.

    Its variables are those of another guest, STORE; or the vendor's and the keys ENROLLED.
    """
    disk = workdir / "boot.img"
    size = len(image) // esp.MIB + 40
    esp.partition(disk, size + 2, size)
    esp.write(disk, size, {**esp.boot_files(GRUB_CFG), "vmlinuz": image})
    guest = SecureBootGuest([(disk, FIXED)], workdir, name="own-kernel", memory="1G", cpus=1)
    if store:
        shutil.copyfile(store, workdir / "efivars.fd")
    else:
        variables.add(workdir / "efivars.fd", "MokList", variables.signature_list(
            variables.X509, [key.der for key in enrolled]))  # fmt: skip

    def seen():
        console = guest.console.path.read_bytes()
        return next((text for text in (REFUSED, STARTED) if text in console), None)

    with guest:
        return guest.wait_until(seen, BOOT_TIMEOUT, "GRUB's refusal, or the kernel's first line")


@pytest.mark.parametrize("name, expected", [("good", REFUSED), ("any-usage", STARTED)])
def test_shim_and_a_kernel_signed_with_an_enrolled_key(name, expected, tmp_path):
    keys = {n: cells.make_key(tmp_path, n) for n in ("good", "any-usage")}
    image = signed_kernel(tmp_path, keys[name])
    assert outcome(tmp_path, image, keys.values()) == expected
