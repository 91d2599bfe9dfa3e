# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's core files compiled in user space, under each sanitizer."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "recorder"
SRC = Path(__file__).parents[2] / "src"

SANITIZERS = {
    "asan+ubsan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    # gcc does not model fences; every shared access is atomic, so none is needed
    # to tell a race from an ordered access.
    "tsan": ["-fsanitize=thread", "-Wno-tsan"],
}


def cases_of(name):
    text = (HERE / f"test_{name}.c").read_text()
    return re.findall(r"^\t\t(?:cmocka_unit_test|CASE)\((\w+)\),$", text, re.M)


# test program -> the files of src/ that it compiles with
PROGRAMS = {
    "crash_text": ["crash_text.c", "ring.c", "ring_init.c"],
    "copy": ["ring.c", "ring_copy.c", "ring_init.c"],
    "crc": [],
    "escape": ["escape.c"],
    "image": ["ring.c", "ring_init.c"],
    "ring": ["ring.c", "ring_init.c"],
    "schedule": [],  # it includes ring.c and ring_init.c, with their steps visible
}
# A second time, as in memory that a reset leaves alone.
SUMMED = ["image", "ring"]
RUNS = {name: [] for name in PROGRAMS} | {f"{name}-summed": ["-DGENERATION=3"] for name in SUMMED}
# What has more than one thread, of which alone TSan can tell something.
THREADED = {"ring": "writers_beside_readers"}
# Records of each writer there; some dozen times what the ring holds.
STRESS = "100000" if os.environ.get("FULL") else "20000"
CASES = [(name, sanitizer, case) for sanitizer in SANITIZERS for name in RUNS
         for case in cases_of(name.removesuffix("-summed"))
         if sanitizer != "tsan" or case == THREADED.get(name.removesuffix("-summed"))]  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each program printed under each sanitizer, run once."""
    directory = tmp_path_factory.mktemp("recorder")

    def run(what):
        name, sanitizer = what
        source = name.removesuffix("-summed")
        program = directory / f"{name}-{sanitizer}"
        subprocess.run(
            # As the kernel is compiled.
            ["gcc", "-std=gnu11", "-fno-strict-aliasing", "-g", "-O1"]
            + ["-Wall", "-Wextra", "-Werror", *SANITIZERS[sanitizer]]
            + ["-I", SRC, *RUNS[name], HERE / f"test_{source}.c", *(SRC / s for s in PROGRAMS[source])]
            + ["-o", program, "-lcmocka", "-lpthread", "-lz"],
            check=True,
        )
        only = {"CASE": THREADED[source], "RING_STRESS_RECORDS": STRESS} if sanitizer == "tsan" else {}
        result = subprocess.run([program], capture_output=True, text=True, timeout=900,
                                env={**os.environ, **only})  # fmt: skip
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
