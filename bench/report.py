# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures as rows for results.json, and as tables for people."""

import datetime
import re
import subprocess

from bench.guest import CPU, ICOUNT, TOP
from bench.verdict import SIZES
from tests.lib import emulator
from tests.lib.accel import accel
from tests.lib.cache import digest_tree
from tests.lib.kernels import kernel

KMSG_NOTE = "1024 bytes go to /dev/kmsg as two records: it takes no longer ones"


def operations(results):
    """The names of what was counted at every size, in the order of counting."""
    special = ("idle_", "waiting_", "epoll_", "wall_", "memory_", "possible_")
    return list(dict.fromkeys(n for n, size in results if size and not n.startswith(special)))


def named(results, prefix, size=None):
    """{rest of the name: value} of the figures whose name begins with PREFIX."""
    return {
        name.removeprefix(prefix): value
        for (name, bytes_), value in results.items()
        if name.startswith(prefix) and size in (None, bytes_)
    }


def _qemu():
    version = subprocess.run(
        [*emulator.command(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return f"QEMU {re.search(r'version ([0-9.]+)', version)[1]}"


def counted_on():
    """What machine instructions are counted on."""
    return f"{_qemu()}, {' '.join(ICOUNT)}, -cpu {CPU}, one CPU"


def machines():
    """What machine instructions were counted on, and what clock was looked at."""
    return {"instructions": counted_on(), "wall_ns": f"{_qemu()}, {accel()}, 2 CPUs"}


def rows(name, results):
    """The rows of results.json for kernel NAME."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return [
        {
            "kernel": name,
            "release": kernel(name).release,
            "date": now.strftime("%Y-%m-%d"),
            "driver_source": digest_tree(TOP / "src"),
            "machine": machines(),
            "bytes": size,
            "instructions": {
                op: results[op, size] for op in operations(results) if (op, size) in results
            },
            "idle_readers": named(results, "idle_readers_", size),
            "waiting_readers": named(results, "waiting_readers_", size),
            "waiting_writer": named(results, "waiting_writer_", size),
            "waiting_wakeups_per_ms": named(results, "waiting_wakeups_", size),
            "wall_ns": named(results, "wall_", size),
            "memory_bytes": named(results, "memory_"),
            **({"notes": {"kmsg": KMSG_NOTE}} if size == 1024 else {}),
        }
        for size in SIZES
    ]


def _number(value):
    return "-" if value is None else f"{value:,.0f}"


def print_kernel(name, results):
    """Print the tables of kernel NAME."""
    print(f"\n== kernel {kernel(name).release}: instructions per operation ==")
    print(f"{'bytes':36}" + "".join(f"{size:>10}" for size in SIZES) + f"{'64 / null':>12}")
    for op in operations(results):
        line = "".join(f"{_number(results.get((op, size))):>10}" for size in SIZES)
        value, null = results.get((op, 64)), results.get(("null", 64))
        factor = f"{value / null:.2f}" if value and null else "-"
        print(f"{op:36}{line}{factor:>12}")
    print(f"({KMSG_NOTE})")
    _print_group("a write of 64 bytes beside readers, instructions", {
        **{f"{n} open, idle": v for n, v in named(results, "idle_readers_", 64).items()},
        **{f"{n} waiting, the writer's own": v
           for n, v in named(results, "waiting_writer_", 64).items()},
        **{f"{n} waiting, their work included": v
           for n, v in named(results, "waiting_readers_", 64).items()},
        **{f"epoll set of {n}, nobody waits": v
           for n, v in named(results, "epoll_set_of_", 64).items()},
    })  # fmt: skip
    _print_group("wake-ups in a millisecond of writing", {
        f"{n} waiting": v for n, v in named(results, "waiting_wakeups_", 64).items()
    }, 2)
    _print_group("memory, bytes", named(results, "memory_"))
    _print_wall(named(results, "wall_"))


def _print_group(title, figures, digits=0):
    print(f"\n{title}:")
    for name, value in figures.items():
        print(f"  {name:50}{value:>12,.{digits}f}")


def _print_wall(figures):
    """Wall clock; emulated, unless this machine runs guests with KVM."""
    print("\nwall clock of 64 bytes, ns as each writer sees it (no verdict)"
          f"{'1 writer':>12}{'2 writers':>12}")  # fmt: skip
    for name in dict.fromkeys(key.rsplit("_", 1)[0] for key in figures):
        one, two = (figures.get(f"{name}_{n}") for n in (1, 2))
        print(f"  {name:60}{_number(one):>12}{_number(two):>12}")


def print_verdict(checks):
    """Print what was to be reached, a line each."""
    print("\n== must reach ==")
    for check in checks:
        digits = 0 if check.limit > 100 else 3
        value = "missing" if check.value is None else f"{check.value:,.{digits}f}"
        print(
            f"{'ok' if check.ok else 'FAILED':8}{check.kernel:6}{check.what:66}"
            f"{value:>10} of at most {check.limit:,g} {check.unit}".rstrip()
        )
