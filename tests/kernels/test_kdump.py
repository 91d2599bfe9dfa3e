# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec recover on a vmcore as the distribution's kdump-tools leave it.

A full Debian 12 panics; its kdump-tools start the capture kernel, and makedumpfile
writes the dump, without pages that hold only zeros, caches, user space or nothing
(-d 31): as kdump-tools do by default, and in its other forms.  What a reader in the
guest listed just before is compared, record by record, with what each dump has.

It takes minutes under emulation, so only FULL=1 has it done.
"""

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lib.dumped import FILL, OPTIONS, assert_dumped
from tests.lib.initramfs import libraries
from tests.lib.kernels import build_modules
from tests.lib.tool import build_flightrec
from tests.qemu.kdump import KERNEL, KdumpGuest

TOP = Path(__file__).parents[2]
CHANNELS = ["default", "small"]

MAIN = rf"""
flightrec() {{
	/payload/lib/ld-linux-x86-64.so.2 --library-path /payload/lib /payload/flightrec "$@"
}}
insmod /payload/flightrec.ko {OPTIONS}
{FILL}
echo CAPTURE-KERNEL "$(cat /sys/kernel/kexec_crash_loaded)"
echo LISTED-BEGIN
for channel in default small; do flightrec read -c "$channel" --json; done | gzip | base64
echo LISTED-END
echo c >/proc/sysrq-trigger
"""

# "usual" is what kdump-tools write by themselves after the others: flattened, with zlib.
FORMS = {"elf": "-E", "zlib": "-c", "lzo": "-l", "usual": None}
MORE_DUMPS = "set -e\nmkdir /var/crash/more\ncd /var/crash/more\n" + "".join(
    f"makedumpfile {options} -d 31 /proc/vmcore {form}\n"
    for form, options in FORMS.items() if options
)  # fmt: skip


class Crashed:
    """One panic, and the dumps that came of it."""

    def __init__(self):
        with tempfile.TemporaryDirectory(prefix="kdump-") as workdir:
            workdir = Path(workdir)
            self._tool = build_flightrec(workdir / "tool")
            with KdumpGuest(self._payload(workdir), workdir) as guest:
                self.loaded = guest.wait_for(r"CAPTURE-KERNEL (\d)", 900)[1]
                listed = guest.wait_for(r"LISTED-BEGIN\s+([A-Za-z0-9+/=\s]+)LISTED-END", 300)[1]
                guest.wait_exit(1500, "the end of the capture kernel")
                crash = guest.take("/var/crash", workdir / "dumps")
            unzip = subprocess.run("base64 -d | gunzip", shell=True, input=listed.encode(),
                                   stdout=subprocess.PIPE, check=True)  # fmt: skip
            self.listed = [json.loads(line) for line in unzip.stdout.splitlines()]
            (usual,) = crash.glob("[0-9]*/dump.*")
            (dmesg,) = crash.glob("[0-9]*/dmesg.*")
            self.dmesg = dmesg.read_text(errors="replace")
            self.begins = {}
            self.found = {}
            for form in FORMS:
                path = usual if form == "usual" else crash / "more" / form
                with open(path, "rb") as dump:
                    self.begins[form] = dump.read(16)
                self.found[form] = self._recover(path)

    def _payload(self, workdir):
        payload = workdir / "payload"
        (payload / "lib").mkdir(parents=True)
        shutil.copy(self._tool, payload)
        for library in libraries(self._tool):
            shutil.copy(library, payload / "lib")
        shutil.copy(build_modules(KERNEL, TOP / "src") / "flightrec.ko", payload)
        (payload / "main").write_text(MAIN)
        (payload / "more-dumps").write_text(MORE_DUMPS)
        return payload

    def _recover(self, dump):
        command = [self._tool, "recover", "--json", dump]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
        return lines, last["summary"]


@functools.cache
def crashed():
    return Crashed()


if os.environ.get("FULL"):

    @pytest.mark.parametrize("form", FORMS)
    def test_every_retained_record_is_in_the_vmcore(form):
        lines, summary = crashed().found[form]
        assert_dumped(lines, crashed().listed, CHANNELS)
        assert not summary["damaged"] and not summary["unpublished"]
        assert not summary["conflicts"]

    def test_the_dumps_are_what_they_are_said_to_be():
        assert crashed().loaded == "1"
        begins = crashed().begins
        assert begins["elf"].startswith(b"\x7fELF")
        assert begins["usual"].startswith(b"makedumpfile")
        assert begins["zlib"].startswith(b"KDUMP") and begins["lzo"].startswith(b"KDUMP")
        assert "sysrq triggered crash" in crashed().dmesg
