# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile the unit tests of the ring with a mutated copy of it, and run them."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.mutations import MUTATIONS

TOP = Path(__file__).resolve().parents[2]
RECORDER = Path("tests/unit/recorder")
UNCHANGED = "the ring as it is"

# What most probably fails comes first.
PROGRAMS = ["schedule", "copy", "image", "ring"]
# Of processor time: on a busy machine those that end take many minutes.
HANGS_AFTER = 60
STARVES_AFTER = 3600


class MutationError(RuntimeError):
    """A mutation does not apply, or what it makes does not compile."""


def mutate(src, name, file, old, new):
    """In the copy SRC of the driver make the mutation NAME: OLD, there exactly once, is NEW."""
    path = src / file
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise MutationError(
            f'mutation "{name}": its text is {text.count(old)} times in src/{file}, not once;'
            " adapt the mutation"
        )
    path.write_text(text.replace(old, new), encoding="utf-8")


def build(top, program):
    """A test program in TOP, a copy of what it is made of."""
    done = subprocess.run(["make", "-s", "-C", top / RECORDER, f"OUT={top}", f"{top}/plain/test_{program}"],
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise MutationError(f"test_{program}.c does not compile:\n{done.stderr}")
    return top / "plain" / f"test_{program}"


def failure(binary, program):
    """Why a test program fails, or None."""
    environment = os.environ | {"RING_STRESS_RECORDS": "20000"}
    # SIGXCPU comes before the hard limit's SIGKILL.
    command = ["prlimit", f"--cpu={HANGS_AFTER}:{HANGS_AFTER + 5}", binary]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=STARVES_AFTER, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MutationError(f"test_{program} neither ends nor gets processor time") from error
    if done.returncode == -signal.SIGXCPU:
        return f"{program}: does not end"
    if not done.returncode:
        return None
    failed = re.search(rb"\[  FAILED  \] (\w+)\n", done.stdout + done.stderr)
    return f"{program}: {failed[1].decode()}" if failed else f"{program}: status {done.returncode}"


def caught_by(name):
    """The first test that fails on a mutation, or None."""
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        src = top / "src"
        for folder in ("src", RECORDER):
            shutil.copytree(TOP / folder, top / folder)
        shutil.copy(TOP / RECORDER.parent / "ccache.mk", top / RECORDER.parent)
        if name != UNCHANGED:
            mutate(src, name, *MUTATIONS[name])
        for program in PROGRAMS:
            caught = failure(build(top, program), program)
            if caught:
                return caught
    return None


def run(names, say):
    """{name: what caught it, or None}, on two processors."""
    results = {}
    with ThreadPoolExecutor(2) as pool:
        for name, caught in zip(names, pool.map(caught_by, names)):
            results[name] = caught
            say(f"{len(results):>3}/{len(names)} {name}: {caught or 'all tests pass'}")
    return results
