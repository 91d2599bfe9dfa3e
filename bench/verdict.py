# SPDX-License-Identifier: GPL-2.0-or-later
"""What the figures must reach, and whether they do.

A limit without a figure, of the driver or of what it is compared with, is a
failure like one that is exceeded.
"""

from dataclasses import dataclass

SIZES = [16, 64, 256, 1024]
GATED = [64, 256]

# In each row of the results, at each size.
REQUIRED = [
    "null", "trace_marker", "kmsg", "pipe", "dgram", "mqueue", "tmpfs", "journald",
    "flightrec_write", "flightrec_writev", "flightrec_uring", "flightrec_read_batched",
    "flightrec_read_batched_interleaved",
]  # fmt: skip

READERS = [0, 1, 10, 100]

# What the wall clock is looked at for, with one writer and with two.
TIMED = [
    "null", "trace_marker", "kmsg", "pipe", "dgram", "mqueue", "tmpfs",
    "flightrec_write", "flightrec_writev", "flightrec_uring",
]  # fmt: skip

# Not at each size: {figure: sizes}.
REQUIRED_TOO = {
    **{f"idle_readers_{n}": GATED for n in READERS},
    **{f"waiting_{what}_{n}": [64] for n in READERS for what in ("readers", "writer", "wakeups")},
    "epoll_set_of_100": [64],
    **{f"memory_{what}": [0] for what in (
        "module_flightrec", "module_flightrec_events", "descriptor", "channel_slab",
        "channel_vmalloc", "channel_percpu",
    )},
}  # fmt: skip

# figure, what it is compared with, how many times as much it may be, by bytes where that
# differs. A call is
# compared with the same call: writev(2) and io_uring have a price of their
# own, which /dev/null pays as well.
RATIOS = [
    ("flightrec_write", "null", {16: 1.5, 64: 1.5, 256: 1.7}),
    ("flightrec_write", "trace_marker", 0.75),
    ("flightrec_write", "kmsg", 0.2),
    ("flightrec_write", "dgram", 0.25),
    # In memory that a reset leaves alone: 1.10 and 1.14 on 6.1.
    ("flightrec_write_reserved", "flightrec_write", {64: 1.15, 256: 1.2}),
    ("flightrec_writev", "null_writev", 1.9),
    ("flightrec_uring1", "null_uring1", 1.9),
    ("flightrec_uring", "null_uring", 1.9),
    ("idle_readers_100", "idle_readers_0", 1.01),
]

READ_LIMIT = 250  # instructions per record of 64 bytes
READ_FIGURES = ["flightrec_read_batched", "flightrec_read_batched_interleaved"]

WAKEUPS_PER_MS = 1

# Of the two modules, together 64 KiB each: docs/bench.md.
MODULE_BYTES = {"memory_module_flightrec": 96 << 10, "memory_module_flightrec_events": 32 << 10}
# Of kernels that pad and describe each call and function.
PADDED = ["7.2", "7.3"]
PADDED_MODULE_BYTES = {
    "memory_module_flightrec": 120 << 10,
    "memory_module_flightrec_events": 56 << 10,
}
CPU_BYTES = 4 << 10  # per possible CPU
DESCRIPTOR_BYTES = 512


@dataclass(frozen=True)
class Check:
    """One limit: VALUE is None if it could not be measured."""

    kernel: str
    what: str
    value: float
    limit: float
    unit: str = ""

    @property
    def ok(self):
        """Measured, and within the limit."""
        return self.value is not None and self.value <= self.limit


def checks(kernel, results):
    """All checks of what was measured with KERNEL: {(name, bytes): value}."""
    found = [
        _ratio(kernel, results, name, reference, limit, size)
        for name, reference, limit in RATIOS
        for size in (limit if isinstance(limit, dict) else GATED)
    ]
    for name in READ_FIGURES:
        found.append(
            Check(kernel, f"{name}, 64 bytes", results.get((name, 64)), READ_LIMIT, "instructions")
        )
    for n in READERS[1:]:
        value = results.get((f"waiting_wakeups_{n}", 64))
        found.append(Check(kernel, f"wake-ups of {n} waiting readers", value, WAKEUPS_PER_MS,
                           "per millisecond"))  # fmt: skip
    return found + _memory(kernel, {n: v for (n, size), v in results.items() if not size})


def _ratio(kernel, results, name, reference, limit, size):
    value, base = results.get((name, size)), results.get((reference, size))
    ratio = value / base if value is not None and base else None
    limit = limit[size] if isinstance(limit, dict) else limit
    return Check(kernel, f"{name} / {reference}, {size} bytes", ratio, limit)


def _memory(kernel, figures):
    """The checks of memory; FIGURES: {name: value}."""
    modules = PADDED_MODULE_BYTES if kernel in PADDED else MODULE_BYTES
    parts = ["memory_whole_vmalloc", "memory_whole_percpu", *modules]
    counted = ["memory_whole_configured", "memory_whole_channels", "memory_channel_slab"]
    whole = None
    if all(name in figures for name in [*parts, *counted, "possible_cpus"]):
        configured, channels, slab = (figures[name] for name in counted)
        whole = sum(figures[name] for name in parts) - configured + channels * slab
    budget = CPU_BYTES * figures.get("possible_cpus", 0) + sum(modules.values())
    return [
        *(Check(kernel, name.replace("_", " ", 2), figures.get(name), limit, "bytes")
          for name, limit in modules.items()),
        Check(kernel, "memory in all, beyond size_kb", whole, budget, "bytes"),
        Check(kernel, "memory of an open descriptor", figures.get("memory_descriptor"),
              DESCRIPTOR_BYTES, "bytes"),
    ]  # fmt: skip


def missing(kernel, results, wall=True):
    """Lines that say which figures of the rows are not there."""
    wanted = [(name, size) for size in SIZES for name in REQUIRED]
    wanted += [(name, size) for name, sizes in REQUIRED_TOO.items() for size in sizes]
    if wall:
        wanted += [(f"wall_{name}_{n}", 64) for name in TIMED for n in (1, 2)]
    return [
        f"kernel {kernel}: no figure for {name}" + (f" at {size} bytes" if size else "")
        for name, size in wanted
        if (name, size) not in results
    ]
