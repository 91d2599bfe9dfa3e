# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec recover, for real: each stock kernel dumped while it runs and after a panic.

What a reader in the guest listed just before is compared, record by record, with
what the dumps have. QEMU writes them, as the ELF file that a kdump kernel would
save, and compressed as makedumpfile does it; no debug symbols anywhere.
"""

import functools
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lib.dumped import FILL, OPTIONS, assert_dumped, of_channel
from tests.lib.kernels import KERNELS, build_modules
from tests.lib.scratch import scratch
from tests.lib.tool import build_flightrec, flightrec_tool
from tests.qemu.direct import direct_guest

TOP = Path(__file__).parents[2]
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else list(KERNELS)
FORMATS = ["elf", "kdump-zlib"]
CHANNELS = ["default", "small", "kernel"]

# What this console may contain.
PANIC = [r"sysrq triggered crash", r"Kernel panic - not syncing"]

SCRIPT = rf"""
insmod /modules/flightrec.ko {OPTIONS}
{FILL}
list() {{
	for channel in default small kernel; do flightrec read -c "$channel" --json; done
}}
list | gzip >/run/listed.gz
note listed base64 /run/listed.gz
tell LISTED-END
read -r _ </dev/console
echo c >/proc/sysrq-trigger
"""


@functools.cache
def tool():
    directory = scratch("recover-")
    return build_flightrec(directory), flightrec_tool(directory)


def recovered(*files):
    """What the program of this machine finds: (lines, summary)."""
    command = [tool()[0], "recover", "--json", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
    return lines, last["summary"]


class Crashed:
    """One guest, dumped while it runs and when it has panicked."""

    def __init__(self, kernel):
        self.found = {}
        modules = sorted(build_modules(kernel, TOP / "src").glob("*.ko"))
        with tempfile.TemporaryDirectory(prefix="recover-") as workdir:
            with direct_guest(kernel, tool()[1], SCRIPT, workdir, modules=modules, cpus=2,
                              memory="256M", append="panic=0") as guest:  # fmt: skip
                listed = guest.wait_told(r"([A-Za-z0-9+/=\s]+)LISTED-END", 400)[1]
                unzip = subprocess.run("base64 -d | gunzip", shell=True, input=listed.encode(),
                                       stdout=subprocess.PIPE, check=True)  # fmt: skip
                self.listed = [json.loads(line) for line in unzip.stdout.splitlines()]
                self._dump(guest, "running", Path(workdir))
                guest.send("\n")
                guest.wait_for(r"end Kernel panic", 200)
                self._dump(guest, "panicked", Path(workdir))
                self.problems = guest.scan_console(PANIC)
                self.console = guest.console.text
            log = Path(workdir, "console.log")
            self.found["console"] = recovered(log)

    def _dump(self, guest, state, workdir):
        guest.qmp.set_timeout(300)
        for kind in FORMATS:
            dump = workdir / "dump"
            guest.qmp.command("dump-guest-memory", paging=False, protocol=f"file:{dump}",
                              format=kind)  # fmt: skip
            self.found[state, kind] = recovered(dump)
            dump.unlink()


@functools.cache
def crashed(kernel):
    return Crashed(kernel)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("state", ["running", "panicked"])
@pytest.mark.parametrize("kernel", SELECTED)
def test_every_retained_record_is_in_the_dump(kernel, state, kind):
    result = crashed(kernel)
    lines, summary = result.found[state, kind]
    assert_dumped(lines, result.listed, CHANNELS)
    assert not summary["damaged"] and not summary["unpublished"] and not summary["conflicts"]
    assert {line["source"] for line in lines} == {"memory"} and not summary["verified"]


@pytest.mark.parametrize("kernel", SELECTED)
def test_newest_records_are_on_the_console(kernel):
    result = crashed(kernel)
    assert not result.problems, result.problems
    lines, summary = result.found["console"]
    assert {line["channel"] for line in lines} == {"default"}, "the only one with crash=1"
    whole = [line for line in lines if not line["cut"]]
    listed = of_channel(result.listed, "default")
    assert of_channel(whole, "default")
    assert all(record in listed for record in of_channel(whole, "default"))
    assert lines[-1]["seq"] == listed[-1][0]
    (boot,) = {line["boot_id"] for line in lines}
    assert {line["boot_id"] for line in result.found["running", "elf"][0]} == {boot}
    assert not summary["damaged"] and not summary["missing_lines"]
    assert "Call Trace:" in result.console and re.search(r"sysrq_handle_crash", result.console)
