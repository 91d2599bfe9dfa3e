# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the instructions of an operation go, one by one.

    python3 -m bench.profile [--kernel 6.1] [--op flightrec_write] [--bytes 64]
                             [--lines] [--listing FILE]

Follows a single run of the operation through QEMU's debugger interface, from
user space through the kernel and back, and adds up its instructions by
function, in the order in which they are first reached.  --lines splits the
driver's functions by source line. The
operations are those of programs/ops.c; flightrec_read is 64 records by one call; --listing stores every address with its
function, in order.
"""

import argparse
import bisect
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.guest import CHANNEL, TRACEFS, TOP, bench_guest
from tests.lib.gdbstub import GdbStub
from tests.lib.guest import parse_verdict, read_channel
from tests.lib.kernels import build_modules

# Operations that are several, as in programs/ops.c: what is printed is for one.
PER_RUN = {"flightrec_read": 64, "flightrec_uring": 32, "null_uring": 32}

LIMIT = 400000  # instructions; more than that is no single operation

SCRIPT = f"""
{TRACEFS}
insmod /modules/flightrec.ko {CHANNEL}
note text cat /sys/module/flightrec/sections/.text
note symbols cat /proc/kallsyms
/bench once OP BYTES
"""


class Symbols:
    """Names of addresses: the kernel's, the modules', the program's."""

    def __init__(self, kallsyms, program):
        found = re.findall(r"^([0-9a-f]{16}) [tTwW] (\S+)(?:\s+\[(\S+)\])?$", kallsyms, re.M)
        table = [(int(a, 16), f"{n} [{m}]" if m else n) for a, n, m in found]
        listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True)
        for address, name in re.findall(r"^([0-9a-f]+) [tTwW] (\S+)$", listing.stdout, re.M):
            table.append((int(address, 16), f"{name} (user)"))
        self.table = sorted(table)
        self.starts = [address for address, _ in self.table]

    def name(self, address):
        """The function at ADDRESS."""
        at = bisect.bisect_right(self.starts, address) - 1
        return self.table[at][1] if at >= 0 else hex(address)


def trace(kernel, operation, size, workdir):
    """The addresses of one run of OPERATION, the symbols, and where the driver's text is."""
    path = Path(workdir, "gdb")
    script = SCRIPT.replace("OP BYTES", f"{operation} {size}")
    guest = bench_guest(
        kernel, script, workdir, cpus=1, append="nokaslr",
        arguments=["-chardev", f"socket,path={path},server=on,wait=off,id=gdb",
                   "-gdb", "chardev:gdb"], channel_mib=64,
    )  # fmt: skip
    with guest:
        guest.wait_for("once: ready", 300)
        here, done = (_address(Path(workdir, "bench"), f"once_{at}") for at in ("here", "done"))
        base, *kallsyms = parse_verdict(read_channel(guest.channel)).notes
        addresses = _follow(GdbStub(path), here, done)
    return addresses, Symbols("\n".join(kallsyms), Path(workdir, "bench")), int(base, 16)


def _address(program, name):
    listing = subprocess.run(["nm", program], capture_output=True, text=True, check=True)
    return int(re.search(rf"^([0-9a-f]+) \w {name}$", listing.stdout, re.M)[1], 16)


def _follow(stub, here, done):
    """Step from HERE to DONE, with interrupts held back, noting each address."""
    stub.ask("Qqemu.sstep=7")  # no interrupts, no timers
    stub.set_breakpoint(here)
    stub.go()
    stub.wait_stop()
    stub.clear_breakpoint(here)
    addresses = [here]
    while len(addresses) < LIMIT:
        addresses.append(stub.step())
        if addresses[-1] == done:
            return addresses[:-1]
    raise RuntimeError(f"no end after {LIMIT} instructions")


def source_lines(addresses, module, base):
    """{address: (function, file:line, what it was inlined into...)} for a driver's addresses."""
    wanted = sorted(set(addresses))
    offsets = "\n".join(hex(address - base) for address in wanted)
    command = ["addr2line", "-e", str(module), "-j", ".text", "-f", "-i", "-s", "-a"]
    output = subprocess.run(
        command, input=offsets, capture_output=True, text=True, check=True
    ).stdout
    lines = {}
    for block in re.split(r"^0x", output, flags=re.M)[1:]:
        number, *rest = block.splitlines()
        chain = [f"{f} {l.split(' ')[0]}" for f, l in zip(rest[::2], rest[1::2])]
        lines[int(number, 16) + base] = " < ".join(chain)
    return lines


def report(counts, per):
    """Print a table of COUNTS, for each of PER records, in the order of the first appearance."""
    for name, count in counts.items():
        print(f"{count / per:9.1f}  {name}")
    print(f"{sum(counts.values()) / per:9.1f}  in all")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Where an operation's instructions go.")
    parser.add_argument("--kernel", default="6.1")
    parser.add_argument("--op", default="flightrec_write")
    parser.add_argument("--bytes", type=int, default=64)
    parser.add_argument("--lines", action="store_true", help="split the driver by source line")
    parser.add_argument("--listing", type=Path, help="store all addresses in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profile-") as workdir:
        addresses, symbols, base = trace(options.kernel, options.op, options.bytes, workdir)
    names = [symbols.name(address) for address in addresses]
    per = PER_RUN.get(options.op, 1)
    if options.listing:
        listing = (f"{a:#x} {n}\n" for a, n in zip(addresses, names))
        options.listing.write_text("".join(listing), encoding="ascii")
    print(f"{options.op}, {options.bytes} bytes, kernel {options.kernel}, by function:")
    report(Counter(names), per)
    if options.lines:
        module = build_modules(options.kernel, TOP / "src") / "flightrec.ko"
        ours = [a for a, n in zip(addresses, names) if n.endswith("[flightrec]")]
        lines = source_lines(ours, module, base)
        print("\nthe driver by source line, innermost first:")
        report(Counter(lines.get(address, hex(address)) for address in ours), per)


if __name__ == "__main__":
    sys.exit(main())
