# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job, step by step: what is done to the guest and what must be seen.

Each step has its evidence; what is not seen ends the demo.  Commands whose
output counts run over the guest's root shell, the ones that a person types run on
its console.
"""

import json
import re
import secrets
import subprocess
from pathlib import Path

from tests.demo.report import expect, expect_match
from tests.demo.terminal import Terminal, readable
from tests.lib import console
from tests.qemu import aptrepo, image, mokmanager
from tests.qemu.esp import SUITE
from tests.qemu.secureboot import BOOT_TIMEOUT, FIXED, OVERLAY, SecureBootGuest

TOP = Path(__file__).resolve().parents[2]
DEBS = TOP / "build/deb" / SUITE

# Letters and digits that sit alike on QWERTY, AZERTY and QWERTZ keyboards.
PASSWORD_CHARACTERS = "bcdefghijklnoprstuvx"

INSTALL_TIMEOUT = 1200  # seconds; an idle machine needs 150
UPGRADE_TIMEOUT = 2400  # seconds; an idle machine needs 300

LAST_WORDS = "controller does not answer"

UNTRUSTED = ("untrusted-key", "pending-enrolment")
KEY_REJECTED = "Key was rejected by service"  # EKEYREJECTED


class Story:
    """The steps, told to REPORT, with files in the directory OUT."""

    def __init__(self, report, out):
        self.report = report
        self.out = out
        self.guest = None
        self.terminal = None
        self.results = []
        self.password = "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(10))
        self.steps = (
            ("build the packages", self.build_packages),
            ("make the guest's disks: Debian 12 and signed apt repositories", self.make_disks),
            ("start Debian 12 with Secure Boot on", self.start_guest),
            ("apt install flightrec, answering its one question", self.install),
            ("the module is refused: its key is not enrolled yet", self.see_refusal),
            ("reboot; enrol the key at MokManager's screens", self.enrol),
            ("the driver is loaded and passed its smoke test", self.see_loaded),
            ("record and read", self.record),
            ("apt full-upgrade to the distribution's next kernel", self.upgrade_kernel),
            ("reboot into it: the driver is still there", self.see_still_there),
            ("record, and die: the kernel panics", self.die),
            ("after the crash: the last record and the cause", self.see_the_end),
        )

    def tell(self):
        """Go through all steps."""
        try:
            self.report.tell(self.steps)
        finally:
            if self.guest:
                self.guest.kill()

    # The steps, in their order.

    def build_packages(self):
        done = subprocess.run(["make", "-C", TOP, "deb"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        expect(done.returncode == 0, "make deb ends with exit code 0", done.stdout[-4000:])
        debs = sorted(DEBS.glob("*.deb"))
        names = {deb.name.split("_")[0] for deb in debs}
        wanted = {"flightrec", "flightrec-dkms", "kmodkeep"}
        expect(wanted <= names, f"packages {sorted(wanted)} in {DEBS}", sorted(names))
        self.report.say("\n".join(deb.name for deb in debs))

    def make_disks(self):
        disk = image.overlay(self.out)
        packages = aptrepo.write_disk(self.out / "packages.img", sorted(DEBS.glob("*.deb")))
        disks = [(disk, OVERLAY), (packages, FIXED)]
        self.guest = SecureBootGuest(disks, self.out, name="demo")
        self.report.watch = self._last_line
        self.terminal = Terminal(self.guest)

    def start_guest(self):
        self.guest.start()
        self._booted()
        state = self._show("mokutil --sb-state")
        expect_match("^SecureBoot enabled$", state, "Secure Boot on")
        locked = self._show("dmesg | grep -i 'locked down'")
        expect_match("Kernel is locked down from EFI Secure Boot", locked, "the kernel locked down")
        expect_match(r"^6\.1\.", self._show("uname -r"), "the kernel of Debian 12")

    def install(self):
        self.guest.check(aptrepo.guest_sources("flightrec", "debian"))
        self._type("apt update", INSTALL_TIMEOUT)
        output = self._type(
            "DEBIAN_FRONTEND=readline apt install flightrec", INSTALL_TIMEOUT,
            {r"Do you want to continue\? \[Y/n\] ": "y",
             r"One-time password for[^\n]*: ": self.password,
             r"The same password again: ": self.password},
        )
        expect_match("One-time password for", output, "the question for the enrolment password")
        expect(self.password not in output, "the password not on the screen", output)
        self.report.say(_lines(output, r"^(kmodkeep|flightrec|dkms)[^\n]*: "))
        status = self._show("dkms status flightrec")
        expect_match("installed", status, "the module built and installed by dkms")

    def see_refusal(self):
        result = self.guest.run("modprobe flightrec")
        self.report.command("modprobe flightrec", result.output)
        expect(result.status != 0, "modprobe refused", result.output)
        expect_match(KEY_REJECTED, result.output, "the error EKEYREJECTED")
        self._verdict(UNTRUSTED, "a module that waits for its key")
        status = self._show("kmodkeep key status", accepted=(1,))
        expect_match("^Enrolment: *pending$", status, "a pending request")

    def enrol(self):
        self._no_complaints()
        self.guest.reboot()
        self.results = mokmanager.enrol(self.guest, self.password, self.out)
        self.report.say("\n".join(f"picture: {picture}" for picture in self.results))

    def see_loaded(self):
        self._booted()
        self._loaded_and_tested()

    def record(self):
        line = "the demo was here"
        self._show(f"echo '{line}' >/proc/flightrec/default")
        records = self._show("cat /proc/flightrec/default")
        expect_match(rf"^\d+ \d+\.\d{{6}} \d user 0 \d+ \S+: {line}$", records,
                     "the record, with number, time, severity, origin, uid, pid and command")

    def upgrade_kernel(self):
        self.guest.check(aptrepo.guest_sources("flightrec", "debian", "backports"))
        self._type("apt update", INSTALL_TIMEOUT)
        output = self._type(f"apt full-upgrade -y -t {aptrepo.BACKPORTS}", UPGRADE_TIMEOUT)
        self.report.say(_lines(output, r"^(kmodkeep|flightrec|dkms)[^\n]*: |^Setting up linux-"))
        expect_match(r"^kmodkeep: next boot safe \(kernel 6\.12\.", output,
                     "the word that the next boot keeps the driver")
        kernel = self._show("ls -v /lib/modules | tail -n 1").strip()
        expect_match(r"^6\.12\.", kernel, "a newer kernel, 6.12")
        signer = self._show(f"modinfo -k {kernel} -F signer flightrec")
        expect(signer.strip(), f"a signature on the module for {kernel}", signer)
        self._verdict(("ok",), "a module that the next kernel will load", f"--kernel {kernel} ")
        self._no_complaints()

    def see_still_there(self):
        self.guest.reboot()
        self._booted()
        expect_match(r"^6\.12\.", self._show("uname -r"), "the newer kernel running")
        self._loaded_and_tested()
        self.record()
        self._no_complaints()

    def die(self):
        """No kdump: what the kernel prints goes into the firmware's variables."""
        self._show("echo efi_pstore >/etc/modules-load.d/efi_pstore.conf; "
                   "echo 'options efi_pstore pstore_disable=0' >/etc/modprobe.d/efi_pstore.conf; "
                   "modprobe efi_pstore pstore_disable=0 && ls -d /sys/fs/pstore")
        self._show("sysctl kernel.panic=5 kernel.sysrq=1")
        for last in ("disk 3: 12 sectors were remapped", LAST_WORDS):
            self._show(f"flightrec write -p err -t storage '{last}'")
        self.report.command("echo c >/proc/sysrq-trigger")
        self.guest.run("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        self.guest.wait_for("Kernel panic - not syncing: sysrq triggered crash", BOOT_TIMEOUT)

    def see_the_end(self):
        self._booted()
        self._show("systemctl is-active flightrec-save", accepted=(0,))
        boots = self._show("flightrec boots")
        expect_match(r"^ -1 .*Kernel panic - not syncing: sysrq triggered crash$", boots,
                     "the boot before, and why it ended")
        report = self._show("flightrec report")
        expect_match(r"Cause +Kernel panic - not syncing: sysrq triggered crash$", report, "the cause")
        expect_match(rf"err +storage\[\d+\]: {LAST_WORDS}$", report, "the last record")
        expect_match(r"sysrq_handle_crash\+", report, "the kernel's backtrace")
        expect_match("^flightrec: boot [0-9a-f]{8} died ", self._show("cat /run/motd.d/flightrec"),
                     "the line of the day")

    # What several steps need.

    def _last_line(self):
        """What the guest's console shows last, for those who wait."""
        log = self.out / "console.log"
        if not log.exists():
            return ""
        log = console.Console(log)  # not the guest's: this runs in a thread of its own
        log.update()
        lines = readable(log.text[-4000:]).split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:100]

    def _booted(self):
        state = self.guest.wait_booted()
        self.terminal.wait_login(BOOT_TIMEOUT)
        self.report.say(f"the guest is up: {state}")

    def _show(self, command, timeout=120, accepted=(0,)):
        """Run COMMAND, which must end with one of the ACCEPTED, and show it with its output."""
        result = self.guest.run(command, timeout)
        self.report.command(command, result.output)
        expect(result.status in accepted, f"`{command}` to end with {accepted}",
               f"{result.status}: {result.output}")
        return result.output

    def _type(self, command, timeout, answers=None):
        """Type COMMAND on the console; it must succeed."""
        self.report.command(command)
        status, output = self.terminal.run(command, timeout, answers)
        expect(status == 0, f"`{command}` to end with 0", f"{status}: {output[-4000:]}")
        return output

    def _verdict(self, accepted, meaning, options=""):
        """kmodkeep must predict one of the verdicts ACCEPTED for the installed module."""
        command = f"kmodkeep verify --json {options}--module flightrec"
        result = self.guest.run(command)
        expect(result.status in (0, 1), f"an answer of `{command}`", result.output)
        verdict = json.loads(result.output)["results"][0]
        self.report.command(command, f"{verdict['verdict']}: {verdict['message']}")
        expect(verdict["verdict"] in accepted, f"{meaning}: {' or '.join(accepted)}", result.output)

    def _loaded_and_tested(self):
        """The module is loaded since boot, and this boot's smoke test passed."""
        modules = self._show("lsmod | grep flightrec")
        expect_match("^flightrec ", modules, "the driver loaded without any command")
        self._verdict(("ok",), "a module that this kernel trusts")
        result = json.loads(self._show("cat /var/lib/kmodkeep/smoke/flightrec.json"))
        facts = self.guest.check("uname -r; cat /proc/sys/kernel/random/boot_id").split()
        seen = [result["result"], result["kernel"], result["boot_id"]]
        expect(seen == ["passed", *facts], f"a smoke test passed in this boot, {facts}", result)

    def _no_complaints(self):
        """The kernel of this boot found nothing wrong."""
        complaints = console.scan(self.guest.check("dmesg"))
        expect(not complaints, "no complaints of the kernel", "\n".join(complaints))


def _lines(output, pattern):
    """The lines of OUTPUT that match PATTERN."""
    return "\n".join(line for line in output.splitlines() if re.search(pattern, line))
