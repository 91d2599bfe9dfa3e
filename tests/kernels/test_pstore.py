# SPDX-License-Identifier: GPL-2.0-or-later
"""The newest records come back after a panic: through ramoops, across a warm reset.

The guest panics, its kernel resets the machine, and the memory that ramoops has
for itself keeps its content.  Then the tool in the guest recovers the records from
what pstore shows.
"""

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lib.kernels import build_modules
from tests.lib.tool import flightrec_tool
from tests.qemu.direct import direct_guest

TOP = Path(__file__).parents[2]
# What pstore does is the kernel's affair: one of them stands for all.
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else ["6.1"]

# The machine has 256 MiB; the last but one is kept from everybody else.
RESERVED = "memmap=1M$0xe000000"

SCRIPT = r"""
modprobe ramoops mem_address=0xe000000 mem_size=0x100000 record_size=0x10000 mem_type=0 || exit 1
mount -t pstore pstore /sys/fs/pstore
if ls /sys/fs/pstore/dmesg-ramoops-* 2>/dev/null; then
	flightrec recover --json /sys/fs/pstore/* >/run/recovered 2>/run/err
	echo "recover: exit status $?"
	cat /run/err
	echo TRACES "$(cat /sys/fs/pstore/* | grep -c 'Call Trace')"
	echo RECOVERED-BEGIN
	gzip </run/recovered | base64
	echo RECOVERED-END
	mkdir -p /var/lib /run/motd.d
	flightrec collect
	cat /run/motd.d/flightrec
	echo REPORT-BEGIN
	flightrec report | gzip | base64
	echo REPORT-END
	ok came-back
	exit 0
fi
insmod /modules/flightrec.ko channels=default,app crash=1,1 events=none quota=67108864
for i in $(seq 40); do
	flightrec write -p err "event $i before the end"
	flightrec write -c app "application \"$i\" \\ $(printf '\001')"
done
echo LISTED-BEGIN
for channel in default app; do flightrec read -c $channel --json; done | gzip | base64
echo LISTED-END
cat /proc/sys/kernel/random/boot_id
# A panic takes away what the console has not sent yet.
read -r _ </dev/console
echo c >/proc/sysrq-trigger
"""

MEMBERS = ["channel", "seq", "boot_ns", "wall_ns", "severity", "pid", "uid", "comm", "text"]


def plain(base64):
    done = subprocess.run("base64 -d | gunzip", shell=True, input=base64.encode(),
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    return done.stdout.decode()


def unpacked(base64):
    return [json.loads(line) for line in plain(base64).splitlines()]


@functools.cache
def story(kernel):
    """What was there before, the first boot's id, what came back, the traces in it, and
    what is said of it: in a line, and in the report."""
    with tempfile.TemporaryDirectory(prefix="pstore-") as workdir:
        files = flightrec_tool(Path(workdir, "tool"))
        modules = sorted(build_modules(kernel, TOP / "src").glob("*.ko"))
        with direct_guest(kernel, files, SCRIPT, workdir, modules=modules, stock=["ramoops"],
                          memory="256M", append=RESERVED, reboot=True) as guest:  # fmt: skip
            base64 = r"([A-Za-z0-9+/=\s]+)"
            listed = guest.wait_for(rf"LISTED-BEGIN\s+{base64}LISTED-END", 300)[1]
            boot = guest.wait_for(r"([0-9a-f-]{36})", 30)[1].replace("-", "")
            guest.send("\n")
            traces = guest.wait_for(r"TRACES (\d+)\n", 400, "the boot after the panic")[1]
            found = guest.wait_for(rf"RECOVERED-BEGIN\s+{base64}RECOVERED-END", 60)[1]
            said = guest.wait_for(r"^flightrec: boot .*$", 60, "the line of the day")[0]
            report = guest.wait_for(rf"REPORT-BEGIN\s+{base64}REPORT-END", 60)[1]
            return unpacked(listed), boot, unpacked(found), int(traces), said, plain(report)


@pytest.mark.parametrize("kernel", SELECTED)
def test_newest_records_come_back(kernel):
    listed, boot, (*found, last), *_ = story(kernel)
    assert last["summary"]["damaged"] == 0, last
    assert {line["boot_id"] for line in found} == {boot}
    before = [[line.get(m) for m in MEMBERS] for line in listed]
    for channel in ("default", "app"):
        back = [line for line in found if line["channel"] == channel]
        assert len(back) >= 5 and not any(line["cut"] for line in back)
        assert all([line.get(m) for m in MEMBERS] in before for line in back)
        assert back[-1]["seq"] == 40
        assert [line["seq"] for line in back] == list(range(41 - len(back), 41))


@pytest.mark.parametrize("kernel", SELECTED)
def test_the_kernels_own_backtrace_is_still_there(kernel):
    assert story(kernel)[3] >= 1


@pytest.mark.parametrize("kernel", SELECTED)
def test_cause_and_backtrace_are_said(kernel):
    """By recover, and by what collect keeps."""
    _, boot, (*_, last), _, said, report = story(kernel)
    panics = [death for death in last["summary"]["deaths"] if death["fatal"]]
    assert {death["boot_id"] for death in panics} == {boot}
    assert panics[0]["cause"] == "Kernel panic - not syncing: sysrq triggered crash"
    assert "sysrq_handle_crash" in panics[0]["backtrace"] and panics[0]["log_ns"]
    assert said.startswith(f"flightrec: boot {boot[:8]} died 20") and "sysrq triggered crash" in said
    for text in ("Cause      Kernel panic - not syncing: sysrq triggered crash",
                 "by the clock of the kernel's log", "event 40 before the end", "sysrq_handle_crash"):  # fmt: skip
        assert text in report, report
