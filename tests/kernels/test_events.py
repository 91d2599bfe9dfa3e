# SPDX-License-Identifier: GPL-2.0-or-later
"""Trouble of hardware and of the kernel that is caused for real, and its records.

A task and a processor hang, ext4 finds a directory that is damaged, devices of PCI and USB go,
a machine check is injected, a thermal zone is too hot: each is a record of the channel
"kernel". What a kernel does not let modules see is said, once.
"""

import functools
import os
import re
import subprocess

import pytest

from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import KERNELS
from tests.lib.scratch import scratch
from tests.lib.tool import flightrec_tool
from tests.qemu.direct import run_direct

# The one that has all of them; the others with FULL=1.
if os.environ.get("K"):
    SELECTED = os.environ["K"].split(",")
else:
    SELECTED = list(KERNELS) if os.environ.get("FULL") else ["6.1"]

# Since 6.5 the tracepoint of trip points is described nowhere that modules see.
WITH_THERMAL = ["5.10", "6.1"]

SCRIPT = r"""
# Is there such a record, within a minute?
saw() { # PATTERN
	tries=0
	until flightrec read -c kernel -o cat | grep -q "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || return 1
		sleep 0.1
	done
}
insmod /modules/flightrec.ko channels=default events=hang,fs,mce,thermal,pci,usb || exit 1
modprobe flightrec-events || exit 1

# USB's core comes after the events' module, and later is there before it.
USB=/sys/bus/pci/devices/0000:00:05.0
modprobe xhci-pci
check event-usb-that-comes saw "^usb add dev=1-1 id=0627:0001$"
rmmod flightrec_events && modprobe flightrec-events || exit 1
echo 1 >$USB/remove
check event-usb-that-goes saw "^usb remove dev=1-1 id=0627:0001$"
check event-pci-that-goes saw "^pci remove dev=0000:00:05.0 id=1b36:000d class=0c0330$"
echo 1 >/sys/bus/pci/rescan
check event-pci-that-comes saw "^pci add dev=0000:00:05.0 id=1b36:000d class=0c0330$"

modprobe loop; modprobe ext4; mkdir /mnt
mount -t ext4 -o loop,errors=remount-ro /tests/fs.img /mnt || exit 1
mount -o remount,ro /mnt && mount -o remount,rw /mnt || exit 1
check event-fs-remount saw "^fs remount EXT4-fs (loop0): re-mounted"
ls /mnt/broken
check event-fs-error saw "^fs error dev=loop0 type=ext4 at=[a-z0-9_]*:[0-9]*$"
check event-fs-read-only saw "^fs read-only EXT4-fs (loop0): Remounting filesystem read-only$"
# Without it ext4 goes on, and with it again its tracepoint is found.
check event-unloads-beside-ext4 sh -c "rmmod flightrec_events && modprobe flightrec-events"
umount /mnt
check event-fs-lets-ext4-go rmmod ext4

modprobe mce-inject
mount -t debugfs debugfs /sys/kernel/debug
cd /sys/kernel/debug/mce-inject
echo sw >flags && echo 0x8c00000000000136 >status && echo 0x12345000 >addr && echo 0 >cpu && echo 2 >bank
check event-machine-check saw "^mce corrected cpu=0 bank=2 status=0x8c00000000000136 addr=0x12345000 misc=0"
cd /

if insmod /modules/guest-thermal.ko; then
	check event-thermal saw "^thermal hot zone=0 trip=0 millicelsius=91000 type=guest$"
	rmmod guest_thermal
else
	check event-thermal-not-to-be-had sh -c \
		"dmesg | grep 'flightrec-events: source .thermal.: not to be had on this kernel'"
fi

echo 1 >/proc/sys/kernel/hung_task_timeout_secs
insmod /modules/guest-hang.ko
check event-hung-task saw "^hang task pid=[0-9]* tgid=[0-9]* comm=insmod$"
rmmod guest_hang
echo 0 >/proc/sys/kernel/hung_task_timeout_secs

# A process may have any name, and the kernel prints it: what begins otherwise is no event.
echo "user: EXT4-fs (a): re-mounted; watchdog: BUG: soft lockup - forged" >/dev/kmsg
echo 1 >/proc/sys/kernel/watchdog_thresh
insmod /modules/guest-hang.ko lockup=1
check event-soft-lockup saw "^hang lockup CPU#[0-9]* stuck for [0-9]*s! \[insmod:[0-9]*\]$"
check event-not-forged sh -c "! flightrec read -c kernel -o cat | grep -e forged -e '(a)'"
flightrec read -c kernel -o cat
check event-all-unloads modprobe -r flightrec_events flightrec
"""
THERMAL = {True: "event-thermal", False: "event-thermal-not-to-be-had"}
CASES = [case for case in re.findall(r"check (event-\S+)", SCRIPT) if case not in THERMAL.values()]

# What is caused is complained about.
ALLOWED = [r"BUG: soft lockup - CPU#\d+ stuck", r"INFO: task insmod:\d+ blocked for", r"BUG: soft lockup - forged"]


@functools.cache
def damaged_file_system():
    """The image of an ext4 with a directory that has garbage for content."""
    directory = scratch("events-")
    image = directory / "fs.img"
    (directory / "tree/broken").mkdir(parents=True)
    (directory / "tree/broken/file").write_text("lost", encoding="ascii")
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^metadata_csum", "-d", directory / "tree", image, "4M"], check=True)
    subprocess.run(["debugfs", "-w", "-R", "zap_block -f /broken -p 0xff 0", image], check=True, capture_output=True)
    return image


@functools.cache
def verdict(kernel):
    """What the guest reported."""
    files = {**flightrec_tool(scratch("events-tool-")), "tests/fs.img": damaged_file_system()}
    stock = ["xhci-pci", "loop", "ext4", "mce-inject"]
    if kernel not in ("7.2", "7.3"):
        stock.append("crc32c_generic")
    return run_direct(kernel, files, SCRIPT, timeout=900, stock=stock, cpus=2, allow=ALLOWED, oops_panics=False,
                      modules=sorted(build_guest_modules(kernel).values()),
                      args=["-device", "qemu-xhci,addr=5", "-device", "usb-tablet"])  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", SELECTED)
def test_event(kernel, case):
    assert case in verdict(kernel).passed, verdict(kernel).explain()


@pytest.mark.parametrize("kernel", SELECTED)
def test_heat_is_an_event_or_is_said_to_be_none(kernel):
    assert THERMAL[kernel in WITH_THERMAL] in verdict(kernel).passed, verdict(kernel).explain()


@pytest.mark.parametrize("kernel", SELECTED)
def test_guest_ends_clean(kernel):
    result = verdict(kernel)
    assert result.done and not result.problems, result.explain()
