# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's life on an RPM system, stage by stage, in one guest.

    python3 -m tests.rpm.story

RPM mechanics on Debian payload.  Stages build on each other.  dnf's return code
proves nothing: it is 0 though a script failed; so each stage looks at the system.
"""

import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.lib import console
from tests.qemu import mokmanager
from tests.rpm import trees
from tests.rpm.chroot import OURS
from tests.rpm.guest import RpmGuest
from tests.rpm.system import LABEL
from tests.rpm.trees import FIRST

# Where what dnf and the system noted is no part of the packages.
LOOKED_OVER = r"\( -path /var/cache/dnf -o -path /var/lib/dnf -o -path /var/log \)"

PASSWORD_CHARACTERS = "bcdefghijklnoprstuvx"


class Stages:
    """Runs the stages of a test and keeps their times.

    Beside them the seconds of processor time that the emulator took, which other
    load on the machine changes little.
    """

    def __init__(self):
        self.rows = []
        self.processor_time = lambda: 0

    def run(self, name, stage):
        """Run STAGE, which raises when it fails."""
        print(f"--- {name}", flush=True)
        started, worked = time.monotonic(), self.processor_time()
        outcome = "FAILED"
        try:
            stage()
            outcome = "ok"
        finally:
            self.rows.append((name, outcome, time.monotonic() - started,
                              self.processor_time() - worked))

    def table(self):
        """The stages with their times, as text."""
        totals = [sum(row[i] for row in self.rows) for i in (2, 3)]
        rows = [*self.rows, ("all of it", "", *totals)]
        width = max(len(name) for name, *_ in rows) + 1
        return "\n".join([
            f"{LABEL:<{width}}{'':>7}{'time':>9}{'processor':>11}",
            *[f"{name:<{width}}{outcome:>7}{seconds:>7.0f} s{worked:>9.0f} s"
              for name, outcome, seconds, worked in rows]])


def expect(seen, wanted, what):
    """Fail unless what was SEEN is what was WANTED."""
    assert seen == wanted, f"{what}: {wanted!r} wanted, {seen!r} seen"


class Story:
    """What happens in GUEST, whose repositories are those of trees.repositories()."""

    signer = "kmodkeep "  # whose name begins so

    def __init__(self, guest, out):
        self.guest = guest
        self.out = out
        self.old, self.new = None, None  # kernels

    def stages(self):
        """All stages in their order: (name, function)."""
        return [
            ("boot with Secure Boot on; RPM is the only package database", self.boot),
            ("dnf install: built, signed, refused until the key is enrolled", self.install),
            ("enrol the key at MokManager: loaded, smoke test passed", self.enrol),
            ("an unsigned module and one of another key are refused", self.refusals),
            ("dnf upgrade 'kernel*': built, signed and trusted before the reboot", self.new_kernel),
            ("reboot into it: loaded, smoke test passed", self.next_boot),
            ("dnf remove: nothing is left but the key", self.remove),
        ]

    def prepare(self):
        """What has to be done before the guest starts."""

    def boot(self):
        self.guest.wait_booted()
        expect(self.guest.check("mokutil --sb-state").strip(), "SecureBoot enabled", "Secure Boot")
        expect(self.guest.run("command -v dpkg apt").output, "", "Debian's package managers")
        failed = self.guest.check("systemctl --failed --no-legend --plain")
        expect(failed, "", "failed units")
        self.old, = self.guest.kernels()

    def install(self):
        self.guest.use("flightrec", "dkms")
        self.guest.dnf("install flightrec")
        self._installed(self.old, FIRST)
        expect(self.guest.verdict(self.old), "untrusted-key", "verdict before enrolment")
        refused = self.guest.run("modprobe flightrec")
        assert refused.status and "Key was rejected" in refused.output, refused
        owner = self.guest.check("stat -c %a:%U /var/lib/kmodkeep/keys/signing.key").strip()
        expect(owner, "600:root", "the key's mode and owner")
        groups = self.guest.check("getent group flightrec flightrec-write").splitlines()
        expect(len(groups), 2, "groups")

    def enrol(self):
        password = "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(10))
        self.guest.check(f"echo {password} | kmodkeep key enroll --password-stdin")
        self.guest.reboot()
        mokmanager.enrol(self.guest, password, self.out)
        self._serves(self.old, FIRST)
        access = self.guest.check("stat -c %a:%G /dev/flightrec/default; "
                                  "getfacl -c /dev/flightrec/default").split()
        # With an access list the group's bits show the list's mask.
        assert "660:flightrec" in access and "group:flightrec-write:-w-" in access, access

    def refusals(self):
        """The kernel itself: no tool of ours is asked."""
        made = f"/usr/lib/modules/{self.old}/extra/flightrec-events.ko.xz"
        self.guest.check(
            "rm -rf /root/t; mkdir /root/t; cd /root/t;"
            "! grep -q ^flightrec_events /proc/modules || rmmod flightrec_events;"
            f"xz -dc {made} >ours.ko; objcopy ours.ko unsigned.ko; cp unsigned.ko other.ko;"
            # objcopy leaves out what follows the ELF file: the signature
            "openssl req -new -x509 -newkey rsa:2048 -nodes -subj /CN=other -outform DER"
            " -keyout other.key -out other.der 2>/dev/null;"
            "kmodkeep sign --key other.key --cert other.der other.ko")
        for name, words in (("unsigned", "unsigned module"), ("other", "unavailable key")):
            self.guest.check("dmesg -C")
            refused = self.guest.run(f"insmod /root/t/{name}.ko")
            assert refused.status, f"{name}.ko was loaded"
            assert words in self.guest.check("dmesg"), f"{name}.ko: {self.guest.check('dmesg')}"
        self.guest.check("insmod /root/t/ours.ko && rm -r /root/t")

    def new_kernel(self):
        self.guest.use("updates")
        said = self.guest.dnf("upgrade 'kernel*'").output
        self.old, self.new = self.guest.kernels()
        self._installed(self.old, FIRST)
        self._installed(self.new, FIRST)
        expect(self.guest.verdict(self.new), "ok", "verdict for the next boot")
        self._guard_says(said, "yes", f"next boot safe (kernel {self.new})")
        self._no_complaints()

    def next_boot(self):
        self.guest.restart()
        self._serves(self.new, FIRST)
        self._no_complaints()

    def remove(self):
        self.guest.dnf(f"remove {OURS}")
        left = self.guest.check(f"find / -xdev {LOOKED_OVER} -prune -o"
                                r" \( -name '*flightrec*' -o -name '*kmodkeep*' \) -print").split()
        expect(sorted(left), ["/var/lib/kmodkeep"], "what is left")
        left = self.guest.check("cd /var/lib/kmodkeep; find . -type f; ls -d /sys/module/flightrec*"
                                " /usr/lib/modules/*/extra 2>/dev/null; true").split()
        keys = ["./keys/machine-id", "./keys/signing.der", "./keys/signing.key"]
        expect(sorted(left), keys, "what is left beside the key")
        expect(self.guest.check("systemctl --failed --no-legend --plain"), "", "failed units")

    # What several stages need.

    def _installed(self, kernel, version):
        """dkms has built VERSION for KERNEL, and this host's key has signed it."""
        status = self.guest.check("dkms status flightrec").strip()
        assert f"flightrec/{version}, {kernel}, x86_64: installed" in status, status
        expect(self.guest.module("version", kernel), version, f"the module for {kernel}")
        signer = self.guest.module("signer", kernel)
        assert signer.startswith(self.signer), f"signed by {signer!r}"
        assert "/extra/" in self.guest.module("filename", kernel), "not where dkms puts it on Fedora"

    def _serves(self, kernel, version):
        """The driver was loaded by this boot, and works."""
        self.guest.wait_booted()
        expect(self.guest.check("uname -r").strip(), kernel, "the kernel that runs")
        expect(self.guest.check("cat /sys/module/flightrec/version").strip(), version, "loaded")
        expect(self.guest.verdict(kernel), "ok", "verdict")
        expect(self.guest.smoke(), "passed", "smoke test")

    def _guard_says(self, said, safe, line):
        """The guard's LINE is the only one that dnf SAID of it, and its state file says SAFE."""
        lines = [text for text in said.splitlines() if text.startswith("kmodkeep: next boot")]
        assert len(lines) == 1 and lines[0].startswith(f"kmodkeep: {line}"), said
        expect(self.guest.guard()["safe"], safe, "safe, in the guard's state")

    def _no_complaints(self):
        complaints = console.scan(self.guest.check("dmesg"))
        expect(complaints, [], "complaints of the kernel")


def main(kind=Story):
    """All stages of KIND in a new guest; the table, whatever comes of it."""
    stages = Stages()
    try:
        with tempfile.TemporaryDirectory(prefix="rpm-") as out:
            tell(kind, Path(out), trees.disk(Path(out)), stages)
    finally:
        print(stages.table(), flush=True)
    return 0


def tell(kind, out, packages, stages):
    """Run the stages of KIND, in a guest with the disk PACKAGES and files in the directory OUT."""
    guest = RpmGuest(out / "guest", packages)
    story = kind(guest, out)
    story.prepare()
    with guest:
        stages.processor_time = guest.processor_time
        for name, stage in story.stages():
            stages.run(name, stage)


if __name__ == "__main__":
    sys.exit(main())
