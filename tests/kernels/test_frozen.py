# SPDX-License-Identifier: GPL-2.0-or-later
"""A CPU stopped by the emulator's debugger in the middle of a write, for good, while
another one panics: the crash text ends, and has nothing that is not published.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.kernels.test_driver import compile_program
from tests.lib.crashtext import crash_sets
from tests.lib.gdbstub import GdbStub
from tests.lib.kernels import KERNELS, build_modules
from tests.qemu.direct import direct_guest

SRC = Path(__file__).parents[2] / "src"
DEFAULT = list(KERNELS) if os.environ.get("FULL") else ["6.1", "7.3"]
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else DEFAULT

PANIC = [r"Kernel panic - not syncing: sysrq triggered crash$"]
SCRIPT = """
insmod /modules/flightrec.ko events=none quota=67108864
for i in $(seq 20); do echo "record $i" >/proc/flightrec/default; done
run_program /tests/frozen
"""

# Where the CPU is stopped -> the records that the text counts as unpublished.
PLACES = {"before-the-number": 0, "before-publication": 1}


def offsets(module):
    """{place: offsets in flightrec_write()} in the file MODULE.

    The number is taken by an exchange-and-add of 1; before the instruction that
    follows, the record has a number that no reader can see.  There is one for memory
    that a reset leaves alone and one for all other, of which a write takes one.
    """
    command = ["objdump", "-d", "--no-show-raw-insn", "--disassemble=flightrec_write", module]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^ *([0-9a-f]+):\t(.*)$", listing, re.M)
    start = int(lines[0][0], 16)
    found = []
    for i, (address, text) in enumerate(lines):
        add = re.match(r"lock xadd %(r\w+),", text)
        if add and any(re.match(r"mov +\$0x1,%[er]\w+", line) for _, line in lines[i - 4 : i]):
            found.append((int(address, 16) - start, int(lines[i + 1][0], 16) - start))
    assert len(found) == 2, f"{module}: {len(found)} places where flightrec_write() takes a number"
    return dict(zip(PLACES, zip(*found)))


def crash(kernel, place, workdir):
    """The console of a guest whose CPU 1 is stopped at PLACE, and complaints on it."""
    modules = sorted(build_modules(kernel, SRC).glob("*.ko"))
    module = next(path for path in modules if path.stem == "flightrec")
    programs = {"tests/frozen": compile_program("frozen", workdir)}
    stub = workdir / "gdb"
    with direct_guest(
        kernel, programs, SCRIPT, workdir, modules=modules, cpus=2,
        args=["-chardev", f"socket,id=gdb,path={stub},server=on,wait=off", "-gdb", "chardev:gdb"],
    ) as guest:  # fmt: skip
        said = guest.wait_for(r"\] == ([0-9a-f]+) ([0-9a-f]+)\n", 300)
        addresses = [int(said[1], 16) + offset for offset in offsets(module)[place]]
        debugger = GdbStub(stub)
        for address in addresses:
            debugger.set_breakpoint(address)
        debugger.go()
        guest.send("\n")
        assert debugger.wait_stop() == 1
        for address in addresses:
            debugger.clear_breakpoint(address)
        debugger.write_memory(1, int(said[2], 16), b"\1")
        debugger.go(cpu=0)
        guest.wait_exit(300, "the panic")
        debugger.close()
        problems = guest.scan_console(PANIC)
        return guest.console.text, problems


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kernel", SELECTED)
def test_frozen_cpu(kernel, place):
    with tempfile.TemporaryDirectory(prefix="frozen-") as directory:
        console, problems = crash(kernel, place, Path(directory))
    assert not problems, console[-6000:]
    assert "stopped in the middle" not in console
    assert "flightrec: B " in console, console[-6000:]
    (text,) = crash_sets(console)
    assert text.payloads("default")[-2:] == ["record 20", "after the frozen one"]
    assert text.unpublished == PLACES[place]
