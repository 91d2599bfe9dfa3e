# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts that die in bench.deaths: a PC, and one with UEFI variables.

A host says how memory is set aside for the records, and what the kernel's command line, the
emulator and the guest get besides what all have.
"""

import shutil
from pathlib import Path

from tests.kernels import test_reset as reset

# Without Secure Boot, the firmware needs no system management mode to keep its variables.
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


class Host:
    """A host without anything particular."""

    memory = "256M"
    append = ""
    stock = ()

    def reserved(self, name):
        """What sets memory aside on the command line of kernel NAME, for it and for the driver."""
        return reset.arguments(name)

    def arguments(self, work):  # pylint: disable=unused-argument
        """Arguments of QEMU; files of the host's own are made in WORK."""
        return []


class FirmwareByName(Host):
    """UEFI keeps variables, and pstore has them."""

    memory = "512M"
    append = "pstore-by-efi"
    stock = ("efi-pstore",)

    def arguments(self, work):
        variables = work / "variables"
        if not variables.exists():
            shutil.copyfile(VARIABLES, variables)
        return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}",
                "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]  # fmt: skip


class Firmware(FirmwareByName):
    """The same with the memory at an address far from the end of memory, which firmware uses."""

    def reserved(self, name):
        return reset.BY_ADDRESS


def modular(target, names):
    """Those of NAMES that are modules of the Kernel TARGET: others are built in."""
    listed = (target.modules / "modules.dep").read_text(encoding="ascii")
    return [name for name in names if f"/{name}.ko" in listed]
