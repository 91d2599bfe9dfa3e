# SPDX-License-Identifier: GPL-2.0-or-later
"""One host's way through Secure Boot, from no key to an enrolled one, and what it saw.

A guest is started without any key, makes one, asks for its enrolment, goes
through MokManager and comes up again.  On the way it is given variants of the
driver's module; for each it is recorded what kmodkeep predicts, what the smoke
test says and what the kernel does.  The tests only look at the record.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lib.kernels import build_modules
from tests.qemu import mokmanager
from tests.qemu.smallguest import small_guest

TOP = Path(__file__).resolve().parents[2]

PASSWORD = "bcdefghijk"
SLOW = 300  # seconds, for what an idle emulated machine does in ten

# Shell commands that make each variant, at $module, from a module without a
# signature.  The changed byte is one that no loader looks at, so that nothing but
# the signature can tell.
VARIANTS = {
    "unsigned": "",
    "untrusted-key": "kmodkeep sign --key /root/foreign.key --cert /root/foreign.der $module",
    "tampered": "kmodkeep sign $module; printf X | dd of=$module bs=1 seek=48 conv=notrunc",
    "signed": "kmodkeep sign $module",
}
PUT_IN_PLACE = """
    set -e
    for name in flightrec_events flightrec; do
        [ ! -e /sys/module/$name ] || rmmod $name
    done
    cd /lib/modules/$(uname -r)/updates
    [ -d /root/unsigned ] || { mkdir /root/unsigned; cp *.ko /root/unsigned; }
    cp /root/unsigned/*.ko .
    kmodkeep sign flightrec-events.ko
    module=$PWD/flightrec.ko
"""


@dataclass(frozen=True)
class Observation:
    """What became of one variant at one time."""

    predicted: str  # kmodkeep's verdict before the load
    smoke: dict  # the result file of the smoke test
    smoke_line: str
    status: int  # of modprobe
    said: str  # by modprobe
    log: str  # by the kernel, during modprobe


class Chain:
    """The record of one run on kernel NAME; pictures and logs are in WORKDIR."""

    def __init__(self, name, workdir):
        self.name = name
        self.workdir = workdir
        self.enrolment = {}  # when -> kmodkeep's answer
        self.before = self.pending = None  # the well-signed module before the enrolment
        self.after = {}  # variant -> Observation, once the key is enrolled
        self.complaints = []
        self.pictures = []
        self._guest = None

    def run(self):
        """Go the whole way; returns itself."""
        with self._new_guest() as self._guest:
            self._guest.wait_shell()
            self._guest.check("kmodkeep key create", SLOW)
            self.before = self._observe("signed")
            self._guest.check(f"echo {PASSWORD} | kmodkeep key enroll --password-stdin", SLOW)
            self.pending = self._observe("signed")
            self._end_boot("pending")
            self._guest.reboot()
            self.pictures = mokmanager.enrol(self._guest, PASSWORD, self.workdir)
            self._guest.wait_shell()
            self.after = {variant: self._observe(variant) for variant in VARIANTS}
            self._end_boot("enrolled")
        return self

    def _new_guest(self):
        files = _foreign_key(self.workdir)
        modules = sorted(build_modules(self.name, TOP / "src").glob("*.ko"))
        debs = _packages(self.workdir / "debs")
        return small_guest(self.name, self.workdir, debs, modules=modules, files=files)

    def _observe(self, variant):
        """Install VARIANT of the module, and see what is said about it and done to it."""
        self._guest.check(f"{PUT_IN_PLACE}\n{VARIANTS[variant]}", SLOW)
        verdict = self._guest.run("kmodkeep verify --json --module flightrec", SLOW)
        smoke = self._guest.run("kmodkeep smoke flightrec", SLOW)
        result = self._guest.check("cat /var/lib/kmodkeep/smoke/flightrec.json")
        self._guest.check("dmesg -c >/dev/null; rmmod flightrec_events flightrec 2>/dev/null || :")
        load = self._guest.run("modprobe flightrec")
        return Observation(
            predicted=json.loads(verdict.output)["results"][0]["verdict"],
            smoke=json.loads(result),
            smoke_line=smoke.output,
            status=load.status,
            said=load.output,
            log=self._guest.check("dmesg"),
        )

    def _end_boot(self, when):
        self.enrolment[when] = self._guest.run("kmodkeep key status", SLOW).output
        self.complaints += self._guest.scan_console()


def _foreign_key(workdir):
    """A key that nobody enrols: files for the guest."""
    key, certificate = workdir / "foreign.key", workdir / "foreign.der"
    subprocess.run(
        ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=somebody else", "-addext", "extendedKeyUsage=codeSigning",
         "-keyout", key, "-outform", "DER", "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"root/foreign.key": key, "root/foreign.der": certificate}


def _packages(directory):
    """The packages under test, as files in DIRECTORY."""
    command = [TOP / "debian/build-packages", "--output", directory, "bookworm"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return sorted(directory.glob("*/*.deb"))
