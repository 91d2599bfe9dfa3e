# SPDX-License-Identifier: GPL-2.0-or-later
"""What each stock kernel's console holds of the channels after it crashed for real.

Two crashes for each kernel.  In the first, an oops kills a task and the kernel
goes on; then a CPU is stopped in the middle of a write, and another one panics.
In the second an oops is itself the panic.
"""

import functools
import os
import re
import tempfile
from pathlib import Path

import pytest

from tests.lib.crashtext import crash_sets
from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import KERNELS
from tests.lib.scratch import scratch
from tests.qemu.direct import compile_static, direct_guest

GUEST = Path(__file__).parents[1] / "guest"

SELECTED = os.environ["K"].split(",") if os.environ.get("K") else list(KERNELS)

# What these consoles may contain, and no others.
OOPS = [r"BUG: kernel NULL pointer dereference", r"Oops: ", r"flightrec: G .* what=Oops"]
PANIC = [r"Kernel panic - not syncing: (sysrq triggered crash|Fatal exception)$"]

# Each line that a script says is a message of the kernel: no other one tears it apart,
# and it is on the console before whatever comes next, a panic included.
LOAD = """
exec >/dev/kmsg 2>&1
insmod /modules/flightrec.ko channels=default,quiet crash=1,0 events=oops quota=67108864
modprobe flightrec-events
insmod /modules/guest-trouble.ko
cat /proc/sys/kernel/random/boot_id
for i in $(seq 400); do echo "record $i" >/proc/flightrec/default; done
"""

OOPS_THEN_PANIC = (
    LOAD
    + r"""
echo "not to be told" >/proc/flightrec/quiet
echo "not to be told" >/proc/flightrec/selftest
printf 'control \033[2J "quoted" back\\slash \377' >/proc/flightrec/default
head -c 3000 /dev/zero | tr '\0' x >/tmp/long
echo "$(cat /tmp/long)" >/proc/flightrec/default
/tests/crash /run/resized resize
echo "newest" >/proc/flightrec/default
run_program /tests/crash
echo "== no set before this line"
sh -c 'echo oops >/proc/guest-trouble'
echo "== one set before this line"
echo "after the oops" >/proc/flightrec/default
/tests/crash /run/parked park
"""
)

OOPS_IS_PANIC = (
    LOAD
    + """
for kb in 0 65 -1 much ''; do
	echo "$kb" 2>/dev/null >/sys/module/flightrec/parameters/crash_kb && echo "== taken: $kb"
done
echo "== crash_kb $(cat /sys/module/flightrec/parameters/crash_kb)"
echo 6 >/sys/module/flightrec/parameters/crash_kb
echo oops >/proc/guest-trouble
"""
)


@functools.lru_cache(maxsize=None)
def program():
    directory = scratch("guest-crash-")
    return compile_static([GUEST / "crash.c", GUEST / "harness.c"], directory / "crash")


def crash(kernel, script, allow, **options):
    """The console of a guest that runs SCRIPT until it panics."""
    modules = build_guest_modules(kernel)
    with tempfile.TemporaryDirectory(prefix="crash-") as workdir:
        with direct_guest(
            kernel, {"tests/crash": program()}, script, workdir,
            modules=list(modules.values()), cpus=2, append="printk.devkmsg=on", **options,
        ) as guest:  # fmt: skip
            guest.wait_exit(150, "the panic")
            problems = guest.scan_console(allow)
            return guest.console.text, problems


@functools.lru_cache(maxsize=None)
def oops_then_panic(kernel):
    return crash(kernel, OOPS_THEN_PANIC, OOPS + PANIC, oops_panics=False)


@functools.lru_cache(maxsize=None)
def oops_is_panic(kernel):
    return crash(kernel, OOPS_IS_PANIC, OOPS + PANIC)


def boot_id(console):
    text = re.search(r"\] ([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", console, re.M)[1]
    return text.replace("-", "")


@pytest.mark.parametrize("kernel", SELECTED)
def test_a_set_for_the_oops_and_one_for_the_panic(kernel):
    console, problems = oops_then_panic(kernel)
    assert not problems, console[-6000:]
    sets = crash_sets(console)
    assert [(s.number, s.reason, s.boot) for s in sets] == [
        (1, "oops", boot_id(console)), (2, "panic", boot_id(console))
    ], console[-6000:]  # fmt: skip


@pytest.mark.parametrize("kernel", SELECTED)
def test_traps_of_user_space_print_nothing(kernel):
    console, _ = oops_then_panic(kernel)
    assert "[result] ok traps" in console
    before, _, after = console.partition("== no set before this line")
    assert "flightrec: B" not in before
    assert len(crash_sets(after.partition("== one set before this line")[0])) == 1


@pytest.mark.parametrize("kernel", SELECTED)
def test_newest_records_are_printed(kernel):
    first = crash_sets(oops_then_panic(kernel)[0])[0]
    *records, escaped, long, newest = first.payloads("default")
    assert newest == "newest"
    assert first.records[-2]["full"] == 3000
    assert len(long) > 700 and set(long) == {"x"}
    assert escaped == r"control \x1b[2J \"quoted\" back\\slash \xff"
    assert 60 < len(records) < 400, "more than 60 have room beside the long one"
    assert records == [f"record {i}" for i in range(401 - len(records), 401)]
    assert not first.payloads("quiet") and not first.payloads("selftest")
    assert first.bytes > 3800  # the share of those that have nothing to say


@pytest.mark.parametrize("kernel", SELECTED)
def test_panic_after_an_oops_prints_only_what_is_newer(kernel):
    second = crash_sets(oops_then_panic(kernel)[0])[1]
    assert second.payloads("default") == ["after the oops", "after the parked one"]


@pytest.mark.parametrize("kernel", SELECTED)
def test_parked_cpu_is_passed_over(kernel):
    console, _ = oops_then_panic(kernel)
    assert "guest-trouble: CPU 1 is parked" in console
    assert "never-published" not in console
    assert [s.unpublished for s in crash_sets(console)] == [0, 1]


@pytest.mark.parametrize("kernel", SELECTED)
def test_oops_is_an_event_and_traps_are_none(kernel):
    """Recorded before the set is printed, so the set has it."""
    first, second = crash_sets(oops_then_panic(kernel)[0])
    (event,) = first.records[:1]
    assert (event["channel"], event["seq"]) == ("kernel", 1)
    assert re.match(r"oops at=trouble_write\+\S+ \[guest_trouble\] error=\S+ what=", event["payload"])
    assert len(first.payloads("kernel")) == 1 and not second.payloads("kernel")


@pytest.mark.parametrize("kernel", SELECTED)
def test_reboot_is_an_event(kernel):
    """Seen while the last in the chain of those who are told holds it."""
    script = """
        insmod /modules/flightrec.ko events=reboot
        modprobe flightrec-events
        insmod /modules/guest-trouble.ko
        echo hold-reboot >/proc/guest-trouble
        reboot -f &
        until dmesg | grep -q 'the reboot is held'; do sleep 0.2; done
        cat /proc/flightrec/kernel
        sleep 1000
    """
    modules = build_guest_modules(kernel)
    with tempfile.TemporaryDirectory(prefix="reboot-") as workdir:
        with direct_guest(
            kernel, {}, script, workdir, modules=list(modules.values())
        ) as guest:
            guest.wait_for(r"^1 \S+ 5 kernel 0 \d+ reboot: reboot action=restart$", 150)
            assert not guest.scan_console()


@pytest.mark.parametrize("kernel", SELECTED)
def test_backtraces_stay(kernel):
    for console in (oops_then_panic(kernel)[0], oops_is_panic(kernel)[0]):
        before, _, _ = console.partition("flightrec: B ")
        assert "Call Trace:" in before
        assert re.search(r"RIP: 0010:.*\[guest_trouble\]", before)


@pytest.mark.parametrize("kernel", SELECTED)
def test_an_oops_that_is_the_panic(kernel):
    console, problems = oops_is_panic(kernel)
    assert not problems, console[-6000:]
    first, second = crash_sets(console, most=6 << 10)
    assert (first.reason, second.reason) == ("oops", "panic")
    assert first.payloads("default")[-1] == "record 400"
    assert second.records == []
    assert "Kernel panic - not syncing: Fatal exception" in console


@pytest.mark.parametrize("kernel", SELECTED)
def test_how_much_is_printed_can_be_set(kernel):
    console, _ = oops_is_panic(kernel)
    assert "== crash_kb 4\n" in console.replace("\r", "") and "== taken: " not in console
    assert 'flightrec: parameter crash_kb: "65" is not a number of KiB, 1 to 64' in console
    first, _ = crash_sets(console, most=6 << 10)
    assert 4096 < first.bytes <= 6 << 10


# Where the kernel has the driver of the PCI device.
PVPANIC = [k for k in SELECTED if k != "5.10"]

PANIC_BEHIND_PVPANIC = "modprobe pvpanic-pci\n" + LOAD + """
test -e /sys/bus/pci/drivers/pvpanic-pci && echo "pvpanic is bound: $(ls -d /sys/bus/pci/drivers/pvpanic-pci/0000*)"
echo "newest" >/proc/flightrec/default
echo c >/proc/sysrq-trigger
"""


@pytest.mark.parametrize("kernel", PVPANIC)
def test_panic_is_printed_before_pvpanic_stops_the_machine(kernel):
    console, problems = crash(
        kernel, PANIC_BEHIND_PVPANIC, PANIC, stock=["pvpanic-pci"], args=["-device", "pvpanic-pci"]
    )
    assert "pvpanic is bound: /sys/bus/pci/drivers/pvpanic-pci/0000" in console
    (only,) = crash_sets(console)
    assert (only.reason, only.payloads("default")[-1]) == ("panic", "newest"), console[-3000:]
    assert not problems, console[-6000:]
