# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes back of 10,000 records after each way to die: the table of docs/deaths.md.

    python3 -m bench.deaths [--kernels 6.1,6.12] [--keep] [--missing]

For each kernel a guest dies again and again. At each boot it does what the packaged units
do: the driver is loaded, "flightrec collect" keeps what there is, and at an orderly end
"flightrec save" runs before. It does so first without the memory that is reserved for the
records, on a copy of what is kept, as a host that has none. What there is then is compared with
what was listed before the death, record by record.

--keep writes docs/deaths.md after each death, --missing runs only what has no result there. Exits 0 if with reserved memory all came back
after each death that leaves memory powered, and if no record came back that was not there.
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.hosts import Firmware, Host, modular
from tests.kernels import test_reset as reset
from tests.lib.cache import progress
from tests.lib.guest import GuestError
from tests.lib.initramfs import libraries
from tests.lib.kernels import KERNELS, build_modules, kernel
from tests.lib.tool import flightrec_tool
from tests.qemu.direct import direct_guest

TOP = Path(__file__).resolve().parents[1]
PAGE, KEPT = TOP / "docs/deaths.md", TOP / "docs/bench/deaths.json"
USUAL = ["6.1", "6.12"]
RECORDS = 10_000

# Ramoops has memory of its own, behind what is reserved for the records.
RAMOOPS = "modprobe ramoops mem_address=0xe000000 mem_size=0x100000 record_size=0x10000 mem_type=0"
PSTORE_MEMORY = "memmap=1M$0xe000000"

# Busybox has none.
CHRT = Path("/usr/bin/chrt")
SPIN = r"""
echo 1 >/proc/sys/kernel/panic; echo 1 >/proc/sys/kernel/unknown_nmi_panic
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
for cpu in 0 1; do
	taskset -c $cpu chrt -f 99 sh -c "echo SPINS-$cpu >/dev/console; while :; do :; done" &
done
sleep 600"""


class Death(NamedTuple):
    """A way to die: its name in the table, and what the guest's shell does for it."""

    name: str
    shell: str
    powered: bool = True  # what is in memory stays there
    host: Host = Host()


DEATHS = [
    Death("`sysrq-b`", reset.DEATHS["sysrq-b"]),
    Death("reset button", reset.DEATHS["reset-button"]),
    Death("watchdog (i6300esb)", reset.DEATHS["watchdog"]),
    Death("triple fault", reset.DEATHS["triple-fault"]),
    Death("panic", reset.DEATHS["panic"]),
    Death("panic, all CPUs spinning", SPIN.strip().replace("\n", "; ").replace("do; ", "do ").replace("&; ", "& ")),
    Death("panic, ramoops", RAMOOPS + "; echo c >/proc/sysrq-trigger"),
    Death("panic, efi-pstore", "modprobe efi_pstore pstore_disable=0; echo c >/proc/sysrq-trigger",
          host=Firmware()),
    Death("orderly reboot", "flightrec save; keep; reboot -f"),
    Death("power cut", "sleep 600", powered=False),
]  # fmt: skip

# Firmware, kernel and 10,000 records take minutes on a machine that does other things.
PATIENCE = 1800

# What is tried at each boot, in this order.
MEMORY = ["none", "reserved"]

DISK = 64 << 20
STATE = 8 << 20  # busybox reads all of it, 512 bytes at a time

SCRIPT = rf"""
packed() {{
	gzip -1 | dd of=/dev/vda bs=4M iflag=fullblock conv=fsync,notrunc seek=$2 2>/dev/null
	echo "$1-STORED"
}}
# The disk that /var/lib/flightrec is on.
keep() {{ tar -c /var/lib/flightrec | dd of=/dev/vdb bs=64k conv=fsync,notrunc 2>/dev/null; }}
modprobe virtio_pci; modprobe virtio_blk
mkdir -p /var/lib/flightrec /run/motd.d
tar -x -C / </dev/vdb 2>/dev/null
# The first that comes is the one that pstore takes.
if grep -q pstore-by-efi /proc/cmdline; then
	modprobe efi_pstore pstore_disable=0 || exit 1
else
	{RAMOOPS} || exit 1
fi
mount -t pstore pstore /sys/fs/pstore
# Without the driver there is no reserved memory to be seen.
cp -a /var/lib/flightrec /run/kept
echo "NONE-BEGIN"
flightrec collect 2>&1
echo "NONE-END"
flightrec read -b -1 -o json 2>/dev/null | packed NONE 0
rm -rf /var/lib/flightrec
mv /run/kept /var/lib/flightrec
insmod /modules/flightrec.ko $(cat /proc/cmdline | tr ' ' '\n' | sed -n 's/^for-flightrec://p') \
	channels=default size_kb=2048 crash=1 events=none quota=0 || exit 1
rm -f /run/motd.d/flightrec
echo "RESERVED-BEGIN"
flightrec collect 2>&1
echo "RESERVED-END"
keep
flightrec read -b -1 -o json 2>/dev/null | packed RESERVED 1
# As systemd-pstore does.
rm -f /sys/fs/pstore/*
umount /sys/fs/pstore
rmmod ramoops 2>/dev/null || rmmod efi_pstore
seq {RECORDS} | sed 's/^/event /' | flightrec write
flightrec read -o json | packed LISTED 2
echo "BOOT $(cat /proc/sys/kernel/random/boot_id)"
read -r death </dev/console
eval "$death"
"""


class Life:
    """One boot: what it found of the one before, and what it recorded itself."""

    def __init__(self, guest, disk):
        self.said, self.back = {}, {}
        for step, memory in enumerate(MEMORY):
            word = memory.upper()
            said = guest.wait_for(rf"{word}-BEGIN\s+([^\0]*?){word}-END", PATIENCE)[1]
            self.said[memory] = " ".join(line.strip() for line in said.splitlines() if line.startswith("flightrec: "))
            guest.wait_for(rf"{word}-STORED\n", PATIENCE)
            self.back[memory] = reset.unpacked(disk, step)
        guest.wait_for(r"LISTED-STORED\n", PATIENCE)
        self.listed = reset.unpacked(disk, 2)
        self.boot_id = guest.wait_for(r"BOOT ([0-9a-f-]{36})", PATIENCE)[1].replace("-", "")
        assert len(self.listed) == RECORDS, f"{len(self.listed)} of {RECORDS} were recorded"


class Result(NamedTuple):
    """What came back of one death: how many records, how many are false, what is said."""

    back: int
    false: int
    said: str


def compared(before, after):
    """{"none", "reserved": Result}: the records that BEFORE listed and AFTER has."""
    listed = {record[1]: record for record in reset.of(before.listed, "default")}
    results = {}
    for memory in MEMORY:
        # "-1" is an older boot where nothing is left of the one that died.
        mine = [line for line in after.back[memory] if before.boot_id.startswith(line["boot_id"])]
        found = reset.of(mine, "default")
        good = {record[1] for record in found if listed.get(record[1]) == record}
        results[memory] = Result(len(good), len(found) - len(good), after.said[memory])
    return results


def kill(guest, death):
    """What the guest does not do itself."""
    if death.name == "reset button":
        guest.qmp.system_reset()
    elif "SPINS" in death.shell:
        for cpu in (0, 1):
            guest.wait_for(rf"SPINS-{cpu}\s", 120)
        guest.qmp.command("inject-nmi")


def deaths_of(name):
    """The DEATHS that kernel NAME can have; only 5.11 lets the way of a restart be chosen."""
    return [death for death in DEATHS if (name, death.name) != ("5.10", "triple fault")]


def die(name, deaths):
    """Yield a Death and {"none", "reserved": Result} for each of DEATHS, with kernel NAME."""
    for host in {death.host: None for death in deaths}:
        yield from die_on(name, host, [death for death in deaths if death.host is host])


def die_on(name, host, deaths):
    """The same, of a HOST."""
    with tempfile.TemporaryDirectory(prefix="deaths-", dir="/var/tmp") as directory:
        work = Path(directory)
        files = flightrec_tool(work / "tool")
        files |= {"bin/chrt": CHRT, **{str(path): path for path in libraries(CHRT)}}
        disk, state = work / "disk", work / "state"
        for path, size in ((disk, DISK), (state, STATE)):
            path.touch()
            os.truncate(path, size)
        drives = [argument for path in (disk, state)
                  for argument in ("-drive", f"file={path},format=raw,if=virtio")]  # fmt: skip
        stock = modular(kernel(name), ["i6300esb", "virtio_pci", "virtio_blk", "ramoops", *host.stock])

        def start(number):
            guest = work / f"guest{number}"
            guest.mkdir()
            return direct_guest(name, files, SCRIPT, guest, stock=stock, memory=host.memory,
                                modules=sorted(build_modules(name, TOP / "src").glob("*.ko")),
                                append=f"{reset.arguments(name)} {PSTORE_MEMORY} {host.append}", reboot=True,
                                args=["-device", "i6300esb", *drives,
                                      *host.arguments(work)])  # fmt: skip

        yield from die_on_and_on(deaths, start, disk)


def die_on_and_on(deaths, start, disk):
    """die(), with START to start a guest; what goes wrong is said, and that death has no results."""
    with contextlib.ExitStack() as stack:
        guest = before = done = None
        # The emulator ends now and then by itself: then once more.
        for number, death in enumerate(death for death in deaths for _ in range(2)):
            if done is death:
                continue
            try:
                if guest is None:
                    guest = stack.enter_context(start(number))
                    before = Life(guest, disk)
                guest.send(death.shell + "\n")
                kill(guest, death)
                if not death.powered:
                    guest.kill()
                    guest = stack.enter_context(start(f"{number}-again"))
                after = Life(guest, disk)
                yield death, compared(before, after)
                before, done = after, death
            except (GuestError, AssertionError) as error:
                print(f"     {death.name}: {error}", flush=True)
                if guest:
                    guest.kill()
                guest = None


# ---- the table


def cell(result):
    """What stands in the table."""
    if result is None:
        return "not run"
    return f"{result.back:,}" + (f", {result.false} FALSE" if result.false else "")


def said(result):
    """What collect says, without the boot's id, the time and where to read more."""
    text = result.said if result else ""
    text = re.sub(r"flightrec: boot [0-9a-f]+ (died:? )?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( UTC)?: |See: .*$", "", text)
    return text.strip().rstrip(".;") or "nothing"


def table(name, results):
    """The table of a kernel; RESULTS: "when", and {name of a death: {"none", "reserved": Result}}."""
    lines = [f"## Linux {name}: {results['when']}", "",
             "| death | memory reserved | none | what `flightrec collect` says with none |",
             "| --- | ---: | ---: | --- |"]  # fmt: skip
    for death in DEATHS:
        result = results.get(death.name, {})
        lines.append(f"| {death.name} | {cell(result.get('reserved'))} | {cell(result.get('none'))} | "
                     f"{said(result['none']) if result else ''} |")  # fmt: skip
    return "\n".join([*lines, "", ""])


def wrong(name, results):
    """Lines about what should not be."""
    lines = []
    for death in deaths_of(name):
        what = f"{name}, {death.name}"
        if death.name not in results:
            lines.append(f"{what}: not run")
            continue
        lines += [f"{what}, memory {memory}: {result.false} records came back that were not there"
                  for memory, result in results[death.name].items() if result.false]  # fmt: skip
        back = results[death.name]["reserved"].back
        if death.powered and back != RECORDS:
            lines.append(f"{what}: {back} of {RECORDS}")
    return lines


def kept():
    """{kernel: results} of the runs before."""
    loaded = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return {name: {key: value if key == "when" else {memory: Result(*result) for memory, result in value.items()}
                   for key, value in results.items()} for name, results in loaded.items()}  # fmt: skip


def keep(results):
    """Write the page, and what it is made of."""
    KEPT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def page(results):
    """The text of docs/deaths.md."""
    return HEAD + "".join(table(name, results[name]) for name in KERNELS if name in results) + TAIL


HEAD = """# What comes back

Of 10,000 records that one program wrote before the death, how many the next boot has. Made by
`make bench-deaths KEEP=1`, in guests of QEMU that do what the packaged units do: `flightrec collect`
at boot, `flightrec save` at an orderly end. The channel has `crash=1`, with the 4 KiB of text that are
the default. "Memory reserved" is `reserved=` of flightrec(4); with "none" there is only what pstore
has and what was saved: the same boot looks for that first, before the driver is loaded. The records
are compared one by one: none came back that was not written.

"""

TAIL = """## Not in the tables

"Not run" is a death after which the guest gave no result: `python3 -m bench.deaths --kernels 6.12
--missing --keep` tries those alone. `make bench-deaths K=7.3 KEEP=1` adds a kernel; for each kernel
`tests/kernels/test_reset.py` compares the records of most of these deaths. A power cut takes the
memory with it, and nothing comes back: `collect` cannot tell it from a reset whose memory was lost.
A panic with kdump has a guest of its own, which this run does not have: the whole ring is in the
dump (`FULL=1 pytest tests/kernels/test_kdump.py`, every record of the ring). The guest with
efi-pstore has UEFI without Secure Boot; with it: `FULL=1 pytest tests/secureboot/test_pstore.py`.
In the tables' one run of it on 6.12, with `reserve_mem=`, nothing came back from memory, only what
pstore had; 6.1 with `memmap=` had all. Whether the kernel, the option or the firmware makes that difference was
not tried: 6.12 with `memmap=` under UEFI has not been run.
A cache that is lost in the reset is not emulated by QEMU: lines of 64 bytes that are missing are
put in by `tests/unit/lib/test_recover.py`, and are damage that is counted, never half a record.
"""


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.deaths", description="What comes back after each death.")
    parser.add_argument("--kernels", type=lambda text: text.split(","), default=USUAL)
    parser.add_argument("--keep", action="store_true", help="write docs/deaths.md")
    parser.add_argument("--missing", action="store_true", help="only deaths that have no result yet")
    options = parser.parse_args()
    unknown = [name for name in options.kernels if name not in KERNELS]
    if unknown:
        parser.error(f"not one of {', '.join(KERNELS)}: {', '.join(unknown)}")
    everything, problems = kept(), []
    for name in options.kernels:
        release, mine = kernel(name).release, everything.get(name, {})
        if not (options.missing and mine.get("when", "").startswith(f"{release},")):
            mine = {}
        everything[name] = mine = {**mine, "when": f"{release}, {datetime.date.today().isoformat()}"}
        with progress(f"deaths: kernel {name}"):
            for death, result in die(name, [death for death in deaths_of(name) if death.name not in mine]):
                mine[death.name] = result
                print(f"     {death.name}: " + "; ".join(f"{memory} {cell(result[memory])}, {said(result[memory])}"
                                                         for memory in MEMORY), flush=True)  # fmt: skip
                if options.keep:
                    keep(everything)
        print(f"\n{table(name, mine)}", flush=True)
        problems += wrong(name, mine)
    print("\n".join(problems) if problems else "as it must be")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
