# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that boot as a PC with Secure Boot does.

OVMF with Microsoft's keys starts the signed shim, which starts the signed GRUB,
which starts the signed kernel.  Nothing in that chain is made here, so what a
guest refuses is what a real machine refuses.

The firmware keeps its variables in a file of the run: enrolling a key is seen by
this guest only, and survives its reboots.
"""

import shutil
import tempfile
from pathlib import Path

from tests.lib.guest import Guest, uefi_args
from tests.qemu import rootshell

FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")  # Secure Boot on, Microsoft's keys

OVERLAY = "format=qcow2"
FIXED = "format=raw,readonly=on"
CHANGED = "format=raw"

BOOT_TIMEOUT = 1200  # seconds; an idle machine needs 60, a noisy one was seen to need 590


class SecureBootGuest(Guest):
    """A guest that boots the first of DISKS, (path, QEMU's options) each, under Secure Boot.

    WORKDIR receives the variable store and the logs.  The screen is there for
    pictures of MokManager.  MORE are further arguments of QEMU.
    """

    reboot_command = "systemctl reboot"

    def __init__(self, disks, workdir, *, name="secureboot", memory="2G", cpus=2, more=()):
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        variables = workdir / "efivars.fd"
        shutil.copyfile(VARIABLES, variables)
        # Not in WORKDIR: the path of a socket must be short.
        self._sockets = tempfile.TemporaryDirectory(prefix="guest-")
        self._port = Path(self._sockets.name) / "shell"
        self._shell = None
        self._left = None  # the boot that reboot() ended
        args = [*uefi_args(FIRMWARE, variables), *rootshell.qemu_args(self._port),
                "-device", "virtio-rng-pci", *more]
        for path, options in disks:
            # A run's disk is thrown away after it, so nobody waits for it to be safe.
            # Where this machine's disk is full the guest gets an error: by default QEMU
            # would stop it, and nobody could tell that from a slow one.
            drive = f"if=virtio,cache=unsafe,werror=report,rerror=report,{options},file={path}"
            args += ["-drive", drive]
        super().__init__(args, name=name, workdir=workdir, machine="q35,smm=on",
                         memory=memory, cpus=cpus, display=True)

    def start(self):
        """Start QEMU and take hold of the shell's port."""
        super().start()
        self._shell = rootshell.Shell(self, self._port)

    def kill(self):
        """End QEMU at once; harmless when it has ended."""
        if self._shell:
            self._shell.close()
            self._shell = None
        super().kill()
        self._sockets.cleanup()

    def wait_until(self, condition, timeout, what):
        """Call CONDITION until it returns something true, for TIMEOUT seconds at most."""
        return self._wait(condition, timeout, what)

    def wait_shell(self, timeout=BOOT_TIMEOUT):
        """Wait until the guest has booted so far that it takes commands.

        After reboot() it is the next boot that is waited for: the one that ends may answer
        once more, and then takes what it is asked next with it.
        """
        what = "the guest's shell after boot"
        self.wait_until(lambda: self._boot(timeout, what) != self._left, timeout, what)

    def wait_booted(self, timeout=BOOT_TIMEOUT):
        """Wait until the guest has started all that it starts; "running" or "degraded"."""
        self.wait_shell(timeout)
        command = "systemctl is-system-running --wait"
        return self.run(command, timeout, "the end of the guest's start-up").output.strip()

    def reboot(self):
        """Have the guest reboot; returns at once.

        What the console has shown so far is not waited for any more: a screen of MokManager
        that nobody answered would be taken for that of the next boot.
        """
        self._left = self._boot(60, "the guest's boot")
        self.console.skip()
        # Later, so that the answer to this very command still gets out.
        self.run(f"(sleep 1; {self.reboot_command}) >/dev/null 2>&1 &")

    def _boot(self, timeout, what):
        """What names the boot that answers."""
        command = "cat /proc/sys/kernel/random/boot_id"
        return self._shell.run(command, timeout, what, again=True).check().output

    def power_off(self, timeout=BOOT_TIMEOUT):
        """Shut the guest down; returns when its machine is off."""
        self.run("(sleep 1; systemctl poweroff) >/dev/null 2>&1 &")
        self.wait_exit(timeout)

    def restart(self, timeout=BOOT_TIMEOUT):
        """Reboot; returns when the guest is up again."""
        self.reboot()
        return self.wait_booted(timeout)

    def run(self, command, timeout=60, what=None):
        """Run COMMAND in the guest; returns its Result, whatever its exit status."""
        return self._shell.run(command, timeout, what)

    def check(self, command, timeout=60, what=None):
        """Run COMMAND in the guest, which must succeed; returns its output."""
        return self.run(command, timeout, what).check().output
