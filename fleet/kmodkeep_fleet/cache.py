# SPDX-License-Identifier: GPL-2.0-or-later
"""What is slow to make is made once: entries appear under their name only when they are whole."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path


def directory():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kmodkeep-fleet")


def digest(*parts):
    """A name for PARTS, texts or lists of them."""
    sha = hashlib.sha256()
    for part in parts:
        data = (digest(*part) if isinstance(part, (list, tuple)) else str(part)).encode()
        sha.update(len(data).to_bytes(8, "big") + data)
    return sha.hexdigest()[:24]


def digest_tree(top):
    """A digest of names, kinds, modes for execution, and contents below TOP."""
    sha = hashlib.sha256()
    for path in sorted(Path(top).rglob("*")):
        if path.is_symlink():
            kind, data = b"l", os.readlink(path).encode()
        elif path.is_file():
            kind, data = b"x" if path.stat().st_mode & 0o100 else b"f", path.read_bytes()
        else:
            kind, data = b"d", b""
        for field in (str(path.relative_to(top)).encode(), kind, data):
            sha.update(len(field).to_bytes(8, "big") + field)
    return sha.hexdigest()


@contextlib.contextmanager
def locked(path):
    """One process at a time; the kernel frees the lock when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def publish(partial, final):
    """PARTIAL gets the name FINAL; an older FINAL is there until then, and gone afterwards."""
    old = final.with_name(f".old-{final.name}")
    remove(old)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    remove(old)


def cached(base, name, make):
    """The entry NAME below BASE; make(path) makes it where it is missing."""
    final = base / name
    with locked(base / f".lock-{name}"):
        if not final.exists():
            partial = base / f".partial-{name}"
            remove(partial)
            try:
                make(partial)
                partial.rename(final)
            finally:
                remove(partial)
    return final
