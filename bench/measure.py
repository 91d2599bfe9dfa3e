# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured in which guest, and what comes out of it."""

import re
import tempfile
from functools import partial

from bench import full
from bench.guest import CHANNEL, TRACEFS, bench_guest
from tests.kernels import test_reset as reset
from tests.lib.cache import progress

# One guest for all that is compared.
COUNT_SCRIPT = f"""
{TRACEFS}
note memory /bench memory /modules/flightrec.ko /modules/flightrec-events.ko
check load insmod /modules/flightrec.ko {CHANNEL}
note count /bench count
note readers /bench readers
note reading /bench reading
check unload rmmod flightrec
"""

# Records of four CPUs need four CPUs: they take turns on the same clock, and
# while one reads the others are halted.
INTERLEAVED_SCRIPT = f"""
check online /bench online
check load insmod /modules/flightrec.ko {CHANNEL}
note interleaved /bench reading
check unload rmmod flightrec
"""

# In memory that a reset leaves alone each record has a sum, and is sent there from the cache.
RESERVED = "writes into reserved memory"
RESERVED_SCRIPT = f"""
check load sh -c 'insmod /modules/flightrec.ko {CHANNEL} $(tr " " "\\n" </proc/cmdline |
    sed -n "s/^for-flightrec://p")'
check reserved grep -q 'reserved_kb=[1-9]' /proc/flightrec/stats
note count /bench count null flightrec_write
check unload rmmod flightrec
"""

WALL_SCRIPT = f"""
{TRACEFS}
check load insmod /modules/flightrec.ko {CHANNEL}
note wall /bench wall
check unload rmmod flightrec
"""

RESULT = re.compile(r"result (\S+) (\d+) (-?[\d.]+)")


def parse_results(text):
    """{(name, bytes): value} of the lines of results."""
    return {(m[1], int(m[2])): float(m[3]) for m in RESULT.finditer(text)}


def run(name, make, timeout=1200):
    """Run the guest that MAKE makes, in a directory; what it measured, and what failed, by lines."""
    with tempfile.TemporaryDirectory(prefix="bench-") as workdir:
        with make(workdir) as guest:
            verdict = guest.wait_verdict(timeout, f"the end of {guest.name}", exits=True)
    results = parse_results("\n".join(verdict.notes))
    if not verdict.ok:
        return results, [f"kernel {name}: {line}" for line in verdict.explain().splitlines()]
    return results, []


def guests(name, wall=True):
    """What is measured in which guest with kernel NAME: {words: a function that makes it}."""
    makers = {
        "operations, one by one": partial(bench_guest, name, COUNT_SCRIPT, cpus=1),
        "records of four CPUs": partial(
            bench_guest, name, INTERLEAVED_SCRIPT, cpus=4, append="maxcpus=1"
        ),
        RESERVED: partial(
            bench_guest, name, RESERVED_SCRIPT, cpus=1, memory="256M", append=reset.arguments(name)
        ),
        "journald in a full system": partial(full.journald_guest, name),
    }
    if wall:
        makers["wall clock"] = partial(bench_guest, name, WALL_SCRIPT, cpus=2, counting=False)
    return makers


def measure(name, wall=True):
    """All measurements with kernel NAME: {(name, bytes): value}, and lines of what failed."""
    results, problems = {}, []
    for words, make in guests(name, wall).items():
        with progress(f"bench: kernel {name}, {words}"):
            more, failed = run(name, make)
        suffix = "_reserved" if words == RESERVED else ""
        results.update({(figure + suffix, size): value for (figure, size), value in more.items()})
        problems += failed
    return results, problems
