# SPDX-License-Identifier: GPL-2.0-only
"""Guests that boot as a PC with Secure Boot does.

OVMF with Microsoft's keys starts the signed shim, which starts the signed GRUB,
which starts the signed kernel.  Nothing in that chain is made here, so what a
guest refuses is what a real machine refuses.

The firmware keeps its variables in a file of the run: enrolling a key is seen by
this guest only, and survives its reboots.
"""

import shutil
from pathlib import Path

from tests.lib.guest import Guest, uefi_args
from tests.qemu import shell

FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")  # Secure Boot on, Microsoft's keys

BOOT_TIMEOUT = 600  # seconds; an idle machine needs 60, a noisy one much more


class SecureBootGuest(Guest):
    """A guest that boots the first of DISKS, (path, format) each, under Secure Boot.

    WORKDIR receives the variable store and the logs; its path must be short
    enough for a socket.  The screen is there for pictures of MokManager.
    """

    def __init__(self, disks, workdir, *, name="secureboot", memory="2G", cpus=2):
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        variables = workdir / "efivars.fd"
        shutil.copyfile(VARIABLES, variables)
        self._port = workdir / "shell"
        self._shell = None
        args = [*uefi_args(FIRMWARE, variables), *shell.qemu_args(self._port),
                "-device", "virtio-rng-pci"]
        for path, form in disks:
            # A run's disk is thrown away after it, so nobody waits for it to be safe.
            readonly = ",readonly=on" if form == "raw" else ""
            args += ["-drive", f"if=virtio,format={form},cache=unsafe,file={path}{readonly}"]
        super().__init__(args, name=name, workdir=workdir, machine="q35,smm=on",
                         memory=memory, cpus=cpus, display=True)

    def start(self):
        """Start QEMU and take hold of the shell's port."""
        super().start()
        self._shell = shell.Shell(self, self._port)

    def kill(self):
        """End QEMU at once; harmless when it has ended."""
        if self._shell:
            self._shell.close()
            self._shell = None
        super().kill()

    def wait_until(self, condition, timeout, what):
        """Call CONDITION until it returns something true, for TIMEOUT seconds at most."""
        return self._wait(condition, timeout, what)

    def wait_shell(self, timeout=BOOT_TIMEOUT):
        """Wait until the guest has booted so far that it takes commands."""
        self._shell.run("true", timeout, "the guest's shell after boot", again=True)

    def run(self, command, timeout=60, what=None):
        """Run COMMAND in the guest; returns its Result, whatever its exit status."""
        return self._shell.run(command, timeout, what)

    def check(self, command, timeout=60, what=None):
        """Run COMMAND in the guest, which must succeed; returns its output."""
        return self.run(command, timeout, what).check().output
