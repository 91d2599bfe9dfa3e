# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec(1) as the tests run it: under sanitizers, and under valgrind."""

import functools
import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[2]
OUT = TOP / "build/unit/lib"
NODES = OUT / "root/dev"
PROC = OUT / "root/proc"
SANITIZED = OUT / "sanitized/flightrec"
STRICT = OUT / "strict/flightrec"
PLAIN = OUT / "plain/flightrec"

# Without names of inlined functions, which cost a seventh of the start.
VALGRIND = ["valgrind", "-q", "--read-inline-info=no", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
            "--errors-for-leak-kinds=definite,indirect,possible", "--error-exitcode=99"]  # fmt: skip


@functools.cache
def build():
    """Everything that tests/unit/lib/Makefile makes but the fuzzers."""
    make = ["make", "-s", "-j2", "-C", HERE, f"OUT={OUT}", "all"]
    done = subprocess.run(make, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    NODES.mkdir(parents=True, exist_ok=True)


def flightrec(*arguments, valgrind=False, input=None, env=None, text=True):
    """Run it; a CompletedProcess. A complaint of sanitizer or valgrind is an error."""
    build()
    command = [*VALGRIND, PLAIN] if valgrind else [SANITIZED]
    done = subprocess.run(
        [*command, *map(str, arguments)], input=input, capture_output=True, timeout=300,
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", **(env or {})},
        text=text,
    )  # fmt: skip
    errors = done.stderr if text else done.stderr.decode()
    assert "Sanitizer" not in errors and "runtime error" not in errors, errors
    assert done.returncode in (0, 1, 2, 3), f"exit status {done.returncode}\n{errors}"
    return done


def recover(*files, options=(), **settings):
    """Run recover --json on FILES: (exit status, records, summary, standard error)."""
    done = flightrec("recover", "--json", *options, *files, **settings)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    summary = lines.pop()["summary"] if lines and "summary" in lines[-1] else None
    return done.returncode, lines, summary, done.stderr


def payload(line):
    """The payload that a line of JSON has, as bytes."""
    return bytes.fromhex(line["payload_hex"]) if "payload_hex" in line else line["text"].encode()
