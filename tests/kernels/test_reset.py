# SPDX-License-Identifier: GPL-2.0-or-later
"""Records survive deaths without kdump: in memory that a reset leaves alone.

One guest dies several times, each time in another way, while two writers go on. What
a reader listed before it died is compared, record by record, with what the next boot
finds. QEMU keeps memory over a reset as a machine does, but it has no cache to lose:
what that does is in tests/unit.
"""

import functools
import json
import os
import re
import tempfile
import zlib
from pathlib import Path

import pytest

from tests.lib.kernels import KERNELS, build_modules
from tests.lib.tool import flightrec_tool
from tests.qemu.direct import direct_guest

TOP = Path(__file__).parents[2]
if os.environ.get("K"):
    SELECTED = os.environ["K"].split(",")
else:
    SELECTED = list(KERNELS) if os.environ.get("FULL") else ["6.1"]

# How the guest's shell makes it die; what the test does about it is in die().
DEATHS = {
    "reset-button": "sleep 600",
    "sysrq-b": "echo b >/proc/sysrq-trigger",
    "panic": "echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger",
    "watchdog": "modprobe i6300esb heartbeat=2 && echo >/dev/watchdog0; sleep 600",
    "triple-fault": "echo triple >/sys/kernel/reboot/type; echo b >/proc/sysrq-trigger",
    "orderly-reboot": "reboot -f",
}
SOME = ["reset-button", "panic"]

# Kernels that can take memory out by a name; the others by its address.
BY_NAME = ["6.12", "7.2", "7.3"]
# The kernel may load itself anywhere, over the memory too, unless it is told not to.
RESERVED_BY_NAME = "reserve_mem=10M:16K:flightrec nokaslr"
# Of 256 MiB, below what firmware and emulator put at the end.
BY_ADDRESS = "memmap=10M$0xd000000 for-flightrec:reserved=10M@0xd000000"

RECORDS = 10000 if os.environ.get("FULL") else 2000

# A disk carries what the guest tells, since it is much: at 4 MiB for each step.
DISK = 64 << 20

# As a message of the kernel, which no other one tears apart.
SAY = """
say() { echo "$*" >/dev/kmsg; }
"""

SCRIPT = SAY + rf"""
packed() {{
	gzip -1 | dd of=/dev/vda bs=4M iflag=fullblock conv=fsync,notrunc seek=$2 2>/dev/null
	say "$1-STORED"
}}
modprobe virtio_pci; modprobe virtio_blk
insmod /modules/flightrec.ko $(cat /proc/cmdline | tr ' ' '\n' | sed -n 's/^for-flightrec://p') \
	channels=default,app size_kb=2048,256 events=none quota=0 || exit 1
say "IMAGE $(stat -c '%a %s' /proc/flightrec/previous.image)"
{{ flightrec read -b -1 --json; flightrec read -b -1 -c app --json; }} 2>/run/err | packed BACK 0
cat /run/err
say "$(grep -o 'previous_boot=[^ ]*' /proc/flightrec/stats)"
seq {RECORDS} | awk '{{ print (NR % 4 ? "" : "<3>") "event " $1 }}' | flightrec write
flightrec read --json >/run/listed
( n=0; while n=$((n + 1)); do echo "ceaseless $n of a"; done | flightrec write -c app ) &
( n=0; while n=$((n + 1)); do echo "ceaseless $n of b"; done | flightrec write -c app ) &
sleep 1
flightrec read -c app -n 100 --json >>/run/listed
packed LISTED 1 </run/listed
say "BOOT $(cat /proc/sys/kernel/random/boot_id)"
read -r death </dev/console
eval "$death"
"""

MEMBERS = ["channel", "seq", "boot_ns", "wall_ns", "severity", "origin", "pid", "tgid", "uid",
           "euid", "cpu", "comm", "text"]  # fmt: skip

# What the consoles may have, since it is asked for.
ALLOWED = [r"sysrq triggered crash", r"Kernel panic - not syncing", r"sysrq: "]


def unpacked(disk, step):
    with open(disk, "rb") as file:
        file.seek(step << 22)
        text = zlib.decompressobj(wbits=31).decompress(file.read(1 << 22))
    return [json.loads(line) for line in text.splitlines()]


class Life:
    """One boot: what it found of the one before, and what it recorded itself."""

    def __init__(self, guest, disk):
        wait = functools.partial(guest.wait_for, timeout=400)
        self.image = wait(r"IMAGE (.*)\n")[1].strip()
        wait(r"BACK-STORED\n")
        self.back = unpacked(disk, 0)
        self.said = wait(r"previous_boot=(\w+)")[1]
        wait(r"LISTED-STORED\n")
        self.listed = unpacked(disk, 1)
        self.boot_id = wait(r"BOOT ([0-9a-f-]{36})")[1].replace("-", "")


def arguments(kernel):
    if kernel in BY_NAME:
        return RESERVED_BY_NAME
    return BY_ADDRESS


def deaths_of(kernel):
    if not os.environ.get("FULL") and not os.environ.get("K"):
        return SOME
    # Only 5.11 lets the way of a restart be chosen at run time.
    return [death for death in DEATHS if (kernel, death) != ("5.10", "triple-fault")]


@functools.cache
def lives(kernel):
    """{death: (the life before it, the life after it)}."""
    deaths = deaths_of(kernel)
    with tempfile.TemporaryDirectory(prefix="reset-") as workdir:
        files = flightrec_tool(Path(workdir, "tool"))
        modules = sorted(build_modules(kernel, TOP / "src").glob("*.ko"))
        disk = Path(workdir, "disk")
        disk.touch()
        os.truncate(disk, DISK)
        # The other one is built into newer kernels.
        stock = ["i6300esb", "virtio_blk", *([] if kernel in BY_NAME else ["virtio_pci"])]
        with direct_guest(kernel, files, SCRIPT, workdir, modules=modules, stock=stock,
                          memory="256M", append=arguments(kernel), reboot=True,
                          args=["-device", "i6300esb", "-drive",
                                f"file={disk},format=raw,if=virtio"]) as guest:  # fmt: skip
            all_lives = [Life(guest, disk)]
            for death in deaths:
                guest.send(DEATHS[death] + "\n")
                if death == "reset-button":
                    guest.qmp.system_reset()
                all_lives.append(Life(guest, disk))
            assert not guest.scan_console(ALLOWED)
            # The same memory in each boot, of which the first finds nothing.
            found = re.findall(r"flightrec: .* memory at (0x\w+)", guest.console.text)
            assert len(found) == len(all_lives) and len(set(found)) == 1, found
            assert guest.console.text.count("flightrec: no records of a boot before are in") == 1
    return dict(zip(deaths, zip(all_lives, all_lives[1:])))


CASES = [(kernel, death) for kernel in SELECTED for death in deaths_of(kernel)]


def of(lines, channel):
    return [[line.get(m) for m in MEMBERS] for line in lines if line["channel"] == channel]


@pytest.mark.parametrize("kernel,death", CASES)
def test_every_record_comes_back(kernel, death):
    before, after = lives(kernel)[death]
    assert {line["boot_id"] for line in after.back} == {before.boot_id}
    assert of(after.back, "default") == of(before.listed, "default")
    assert len(of(after.back, "default")) == RECORDS


@pytest.mark.parametrize("kernel,death", CASES)
def test_up_to_the_last_moment(kernel, death):
    """Of writers that went on, no record is missing among the newest half of the ring."""
    before, after = lives(kernel)[death]
    numbers = [line["seq"] for line in after.back if line["channel"] == "app"]
    newest = numbers[len(numbers) // 2 :]
    assert newest == list(range(newest[0], newest[-1] + 1))
    assert numbers[-1] >= of(before.listed, "app")[-1][1]
    back = {record[1]: record for record in of(after.back, "app")}
    listed = [record for record in of(before.listed, "app") if record[1] >= newest[0]]
    assert [back[record[1]] for record in listed] == listed


@pytest.mark.parametrize("kernel", SELECTED)
def test_a_first_boot_has_nothing_before_it(kernel):
    first = next(iter(lives(kernel).values()))[0]
    assert first.said == "none" and not first.back and not first.image


@pytest.mark.parametrize("kernel,death", CASES)
def test_only_root_reads_it(kernel, death):
    before, after = lives(kernel)[death]
    assert after.image.split() == ["400", str(4096 + 5 * 2**20)]
    assert after.said == before.boot_id


OTHERS = SAY + r"""
modprobe ramoops mem_address=0xcf00000 mem_size=0x100000 record_size=0x10000 mem_type=0 || exit 1
say RAMOOPS-READY
read -r _ </dev/console
said() { dmesg | grep -q "flightrec: .*$1" && echo "said: $1"; }
check refuses-what-ramoops-has sh -c "! insmod /modules/flightrec.ko reserved=1M@0xcf00000"
rmmod ramoops
check refuses-what-it-left sh -c "! insmod /modules/flightrec.ko reserved=1M@0xcf00000"
check names-ramoops said 'has records of "ramoops"'
check refuses-too-little sh -c "! insmod /modules/flightrec.ko reserved=1M@0xd000000"
check says-how-much-is-needed said '1024 KiB are too few: the channels need [34][0-9]*'
check refuses-less-than-two-blocks sh -c "! insmod /modules/flightrec.ko reserved=16K@0xd000000"
dmesg | grep "flightrec: "
say REFUSALS-DONE
read -r _ </dev/console
"""


@pytest.mark.parametrize("kernel", [k for k in SELECTED if k not in BY_NAME])
def test_memory_of_others_is_not_written(kernel, tmp_path):
    modules = sorted(build_modules(kernel, TOP / "src").glob("*.ko"))
    with direct_guest(kernel, {}, OTHERS, tmp_path, modules=modules, stock=["ramoops"],
                      memory="256M", append="memmap=2M$0xcf00000") as guest:  # fmt: skip
        images = []
        for word in ("RAMOOPS-READY", "REFUSALS-DONE"):
            guest.wait_for(word, 400)
            images.append(tmp_path / f"memory{len(images)}")
            guest.qmp.command("pmemsave", val=0xCF00000, size=2 << 20, filename=str(images[-1]))
            guest.send("\n")
        verdict = guest.wait_verdict(400, exits=True)
    assert verdict.ok, verdict.explain()
    assert images[0].read_bytes() == images[1].read_bytes()
