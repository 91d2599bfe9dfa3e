# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache that all tiers share: what is slow to make is made once.

Everything lives outside the tree, under ``${XDG_CACHE_HOME:-~/.cache}/flightrec``.
An entry is a file or directory that appears under its final name only when it
is complete: it is made under another name and renamed.  So an interrupted run
leaves rubbish that the next run removes, never a half-made entry that is used.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import threading
import time
from pathlib import Path

HEARTBEAT = 30  # seconds between two lines of something that takes long


def cache_dir(*parts):
    """The cache directory, or the directory PARTS below it; it exists afterwards."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base, "flightrec", *parts).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts):
    """A short name for PARTS (strings, bytes or iterables of them), to key entries by."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, (list, tuple)):
            part = digest(*part)
        data = part if isinstance(part, bytes) else str(part).encode()
        sha.update(len(data).to_bytes(8, "big") + data)
    return sha.hexdigest()[:16]


def digest_tree(directory):
    """A digest of the names and contents of all files below DIRECTORY."""
    directory = Path(directory)
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    return digest(*[(str(p.relative_to(directory)), p.read_bytes()) for p in files])


@contextlib.contextmanager
def locked(key):
    """Let one process at a time do the work that KEY names.

    The lock belongs to the open file, so it is gone when its holder dies,
    however it dies.
    """
    path = cache_dir("locks") / f"{key}.lock"
    with open(path, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{key}: another process is making it, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(kind, name, make):
    """The entry NAME of KIND; when it is missing, MAKE(path) makes it at path.

    MAKE may create a file or a directory.  Only its complete result is
    published, and only one process at a time makes it.
    """
    final = cache_dir(kind) / name
    if final.exists():
        return final
    with locked(f"{kind}-{name}"):
        if not final.exists():
            partial = final.with_name(f".partial-{name}")
            remove(partial)
            make(partial)
            partial.rename(final)
    return final


def remove(path):
    """Remove PATH, be it a file, a directory or not there at all."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def say(message):
    """One progress line.  To standard error: standard output carries results."""
    print(f"  .. {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(what):
    """Say that WHAT begins, every half minute that it goes on, and what it took."""
    start = time.monotonic()
    ended = threading.Event()

    def still_at_it():
        while not ended.wait(HEARTBEAT):
            say(f"{what}: {time.monotonic() - start:.0f} s so far")

    say(what)
    threading.Thread(target=still_at_it, daemon=True).start()
    outcome = "FAILED after "
    try:
        yield
        outcome = ""
    finally:
        ended.set()
        say(f"{what}: {outcome}{time.monotonic() - start:.0f} s")
