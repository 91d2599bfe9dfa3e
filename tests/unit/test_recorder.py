# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's core files compiled in user space, under each sanitizer."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "recorder"
OUT = Path(__file__).parents[2] / "build/unit/recorder"


def cases_of(name):
    text = (HERE / f"test_{name}.c").read_text()
    return re.findall(r"^\t\t(?:cmocka_unit_test|CASE)\((\w+)\),$", text, re.M)


PROGRAMS = [path.stem.removeprefix("test_") for path in sorted(HERE.glob("test_*.c"))]
# A second time, as in memory that a reset leaves alone.
RUNS = [*PROGRAMS, "image-summed", "ring-summed"]
# What has more than one thread, of which alone TSan can tell something.
THREADED = {"ring": "writers_beside_readers"}
# Records of each writer there; some dozen times what the ring holds.
STRESS = "100000" if os.environ.get("FULL") else "20000"
CASES = [(name, sanitizer, case) for sanitizer in ("asan", "tsan") for name in RUNS
         for case in cases_of(name.removesuffix("-summed"))
         if sanitizer != "tsan" or case == THREADED.get(name.removesuffix("-summed"))]  # fmt: skip


@pytest.fixture(scope="module")
def outputs():
    """What each program printed under each sanitizer, run once."""
    done = subprocess.run(["make", "-j2", "-C", HERE, "asan", "tsan"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr

    def run(what):
        name, sanitizer = what
        case = THREADED.get(name.removesuffix("-summed"))
        only = {"CASE": case} if sanitizer == "tsan" else {}
        result = subprocess.run([OUT / sanitizer / f"test_{name}"], capture_output=True, text=True,
                                timeout=900, env={**os.environ, "RING_STRESS_RECORDS": STRESS, **only})  # fmt: skip
        return result.stdout + result.stderr

    wanted = sorted({(name, sanitizer) for name, sanitizer, _ in CASES})
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(wanted, pool.map(run, wanted)))


def test_what_has_threads_is_run_under_tsan():
    starts = {name: (HERE / f"test_{name}.c").read_text().count("pthread_create(") for name in PROGRAMS}
    assert {name: n for name, n in starts.items() if n} == dict.fromkeys(THREADED, 1)


@pytest.mark.parametrize("name,sanitizer,case", CASES)
def test_core(outputs, name, case, sanitizer):
    output = outputs[name, sanitizer]
    assert f"[       OK ] {case}\n" in output, output[-4000:]
    assert "ERROR: " not in output and "WARNING: ThreadSanitizer" not in output, output[-4000:]
