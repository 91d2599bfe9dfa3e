# SPDX-License-Identifier: GPL-2.0-or-later
"""A host whose firmware trusts the key already, as a fleet's do: nobody is asked anything.

    python3 -m tests.rpm.firmware

RPM mechanics on Debian payload.  The certificate is in the firmware's db before the
first boot, and the pair of keys in the image, where dkms has its own.
"""

import base64
import shutil
import subprocess
import sys

from tests.qemu.secureboot import VARIABLES
from tests.rpm import builder
from tests.rpm.chroot import OURS
from tests.rpm.story import Story, expect, main
from tests.rpm.trees import FIRST, UNREADY

OWNER = "7f1ec0de-0000-4000-8000-000000000002"  # who put the certificate there: anybody
NAME = "fleet of the test"

# As kmodkeep makes them: for modules only, shim does not boot what it signed.
USAGE = "codeSigning,1.3.6.1.4.1.2312.16.1.2"


class FirmwareStory(Story):
    """What happens in GUEST, whose firmware trusts the key in the directory OUT."""

    signer = NAME

    def stages(self):
        """All stages in their order: (name, function)."""
        return [
            ("boot; the firmware's db has the certificate", self.boot),
            ("dnf install: signed with that key, loaded at once, smoke test passed", self.install),
            ("dnf upgrade with the old version loaded: ready for the next boot", self.new_version),
            ("dnf upgrade 'kernel*': it ends; the old module stays; unsafe", self.new_kernel),
            ("pinned by policy: kept by dnf, booted, loaded, smoke test passed", self.pin),
        ]

    def prepare(self):
        make_key(self.out)
        trust(self.guest.workdir / "efivars.fd", self.out / "key.der")

    def boot(self):
        super().boot()
        for name, file, mode in (("key", "key.pem", 600), ("pub", "key.der", 644)):
            data = base64.b64encode((self.out / file).read_bytes()).decode()
            self.guest.check(f"mkdir -p /var/lib/dkms; cd /var/lib/dkms; touch mok.{name};"
                             f"chmod {mode} mok.{name}; echo {data} | base64 -d >mok.{name}")

    def install(self):
        self.guest.use("flightrec", "dkms")
        said = self.guest.dnf("install flightrec").output
        self._installed(self.old, FIRST)
        expect(self.guest.verdict(self.old), "ok", "verdict")
        expect(self.guest.check("cat /sys/module/flightrec/version").strip(), FIRST, "loaded")
        expect(self.guest.smoke(), "passed", "smoke test")
        self._guard_says(said, "yes", f"next boot safe (kernel {self.old})")
        assert "kmodkeep: adopted the signing key of dkms" in said, said
        enrolment = self.guest.run("kmodkeep key status").output
        assert "Enrolment:    enrolled" in enrolment, enrolment

    def new_version(self):
        """To one whose source is not ready for the next kernel."""
        self.guest.use("unready")
        said = self.guest.dnf(f"upgrade {OURS}").output
        self._installed(self.old, UNREADY)
        expect(self.guest.verdict(self.old), "ok", "verdict for the next boot")
        line = f"flightrec {FIRST} is still loaded; {UNREADY} is used from the next boot on"
        assert line in said, said
        expect(self.guest.check("cat /sys/module/flightrec/version").strip(), FIRST, "loaded")
        expect(self.guest.smoke(), "passed", "smoke test of what is loaded")
        expect(self.guest.smoke("verdict"), "stale-loaded", "verdict on what is loaded")
        self._guard_says(said, "yes", f"next boot safe (kernel {self.old})")

    def new_kernel(self):
        self.guest.use("updates")
        said = self.guest.dnf("upgrade 'kernel*'").output
        self.old, self.new = self.guest.kernels()
        self.guest.check(f"ls /boot/loader/entries/*-{self.new}.conf")
        self._installed(self.old, UNREADY)
        expect(self.guest.verdict(self.old), "ok", "verdict for the old kernel")
        expect(self.guest.verdict(self.new), "missing", "verdict for the new kernel")
        lost = f"next boot would lose flightrec (kernel {self.new}, flightrec: missing"
        self._guard_says(said, "no", lost)
        assert lost in self.guest.check("cat /run/motd.d/kmodkeep")
        # Started at the end of the transaction, which does not wait for it.
        self.guest.check("until systemctl -q is-failed kmodkeep-guard.service; do sleep 1; done",
                         what="the guard's unit to fail")

    def pin(self):
        policy = "/etc/kmodkeep/drivers.d/flightrec.conf"
        self.guest.check("sed 's/^policy =.*/policy = pin-last-good/'"
                         f" /usr/lib/kmodkeep/drivers.d/flightrec.conf >{policy}")
        pinned = f"next boot safe (kernel {self.old}); pinned, as {self.new} would lose a driver"
        self._guard_says(self.guest.check("kmodkeep guard"), "yes", pinned)
        self.guest.use("dummy98")
        self.guest.dnf("install kernel-core-98 --setopt=installonly_limit=2")
        self.guest.check("test -e /usr/lib/modules/98-dummy/vmlinuz")
        expect(self.guest.kernels(), [self.old, self.new], "kernels that are left")
        self.guest.restart()
        self._serves(self.old, UNREADY)


def make_key(directory):
    """A pair of keys in DIRECTORY: key.pem and key.der."""
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes",
                    "-days", "30", "-subj", f"/CN={NAME}", "-keyout", "key.pem",
                    "-addext", "basicConstraints=critical,CA:FALSE",
                    "-addext", "keyUsage=critical,digitalSignature",
                    "-addext", f"extendedKeyUsage={USAGE}",
                    "-outform", "DER", "-out", "key.der"],
                   cwd=directory, check=True, capture_output=True)


def trust(variables, certificate):
    """Let the db in the firmware's VARIABLES have CERTIFICATE, beside Microsoft's."""
    with builder.Builder() as clone:
        shutil.copy(VARIABLES, clone.path / "in.fd")
        shutil.copy(certificate, clone.path / "certificate")
        clone.run(f"virt-fw-vars -i /in.fd -o /out.fd --add-db {OWNER} /certificate")
        shutil.copy(clone.path / "out.fd", variables)


if __name__ == "__main__":
    sys.exit(main(FirmwareStory))
