# SPDX-License-Identifier: GPL-2.0-or-later
"""A running RPM system, and what tests want to know of the driver on it."""

import json
import os
from pathlib import Path

from tests.qemu.secureboot import FIXED, OVERLAY, SecureBootGuest
from tests.rpm import repo, system

DNF_TIMEOUT = 1800  # seconds; an idle machine needs 100
COMMAND_TIMEOUT = 300  # most need one


class RpmGuest(SecureBootGuest):
    """The test system, or the one on DISK, with the repositories on the disk PACKAGES."""

    def __init__(self, workdir, packages, name="rpm", disk=None):
        workdir.mkdir(parents=True, exist_ok=True)
        self.packages = packages
        self.disk = disk or system.overlay(workdir)
        disks = [(self.disk, OVERLAY), (packages, FIXED)]
        # One processor: two of these guests run at a time; and with several, the emulator now
        # and then runs a breakpoint that the kernel, patching itself, has taken away.
        super().__init__(disks, workdir, name=name, cpus=1)
        self._worked = 0

    def processor_time(self):
        """The seconds of processor time that the emulator has taken so far."""
        if self.running():
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
            ticks = [int(word) for word in stat.rpartition(")")[2].split()[11:13]]
            self._worked = sum(ticks) / os.sysconf("SC_CLK_TCK")
        return self._worked

    def use(self, *names, **settings):
        """Make the repositories NAMES dnf's only ones."""
        self.check(f"mountpoint -q {repo.MOUNT_POINT} || "
                   f"mount -o ro LABEL=packages {repo.MOUNT_POINT}")
        text = "\n".join(repo.definition(name, **settings) for name in names)
        self.check(f"mkdir -p /etc/yum.repos.d; cat >/etc/yum.repos.d/test.repo <<'END'\n{text}END\n")

    def run(self, command, timeout=COMMAND_TIMEOUT, what=None):
        """Run COMMAND in the guest, with more patience than other guests need."""
        return super().run(command, timeout, what)

    def check(self, command, timeout=COMMAND_TIMEOUT, what=None):
        """Run COMMAND in the guest, which must succeed; returns its output."""
        return super().check(command, timeout, what)

    def dnf(self, arguments, timeout=DNF_TIMEOUT):
        """Run dnf, which asks nothing; its Result. What it returns proves nothing."""
        return self.run(f"dnf -y {arguments}", timeout)

    def kernels(self):
        """The releases of the installed kernels, oldest first."""
        return self.check("cd /usr/lib/modules && ls -dv */kernel").replace("/kernel", "").split()

    def verdict(self, kernel, module="flightrec"):
        """kmodkeep's word on MODULE for KERNEL."""
        result = self.run(f"kmodkeep verify --json --kernel {kernel} --module {module}")
        return json.loads(result.output)["results"][0]["verdict"]

    def guard(self):
        """What the guard found last: its state file."""
        return json.loads(self.check("cat /var/lib/kmodkeep/state.json"))

    def smoke(self, field="result"):
        """FIELD of what the smoke test of this boot says."""
        result = json.loads(self.check("cat /var/lib/kmodkeep/smoke/flightrec.json"))
        boot = self.check("cat /proc/sys/kernel/random/boot_id").strip()
        return result[field] if result["boot_id"] == boot else f"of another boot: {result}"

    def module(self, field, kernel=""):
        """FIELD of the module that KERNEL would load, or an empty text."""
        option = f"-k {kernel}" if kernel else ""
        result = self.run(f"modinfo {option} -F {field} flightrec")
        return result.output.strip() if result.status == 0 else ""
