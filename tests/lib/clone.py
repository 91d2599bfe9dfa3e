# SPDX-License-Identifier: GPL-2.0-only
"""Throw-away copies of a root directory, to install, build and break things in.

A copy is a chroot, and programs in it can tell that it is one.  It has /proc
(objtool of 7.x kernels needs it) and terminals, but neither /sys nor the
host's devices; commands run without the rights to load modules or to reboot.
Services are not started (policy-rc.d says 101).
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.lib.cache import cache_dir, say

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "TERM": "dumb",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}

# What a test in a chroot must never do to the host, root or not.
DROPPED = "-sys_module,-sys_boot,-sys_time"


class CommandFailed(AssertionError):
    """A command in a clone failed or took too long; the text has its output."""


class ThrowAwayRoot:
    """A writable view of the directory LOWER, gone at the end of the `with` block.

    `path` is its root directory, seen from outside.  NAME appears in messages.
    """

    def __init__(self, lower, name):
        self.name = name
        self.path = None
        self._lower = lower
        self._directory = None
        self._lock = None

    def __enter__(self):
        _remove_stale()
        self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=cache_dir("clones")))
        self._lock = _try_lock(self._directory)
        self.path = self._directory / "root"
        try:
            _mount_root(self._lower, self._directory)
            _mount_kernel_views(self.path)
            _make_usable(self.path)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        _take_down(self._directory)
        self._lock.close()

    def run(self, command, check=True, timeout=900, input=None, env=None, cwd="/"):
        """Run COMMAND (a list, or a string for sh -eu) inside; a CompletedProcess.

        Its standard error is part of stdout, in the order written.  With CHECK
        a non-zero exit raises CommandFailed with the end of the output.  After
        TIMEOUT seconds the command and all it started are killed, and
        CommandFailed is raised in any case.
        """
        if isinstance(command, str):
            command = ["sh", "-euc", command]
        command = [str(part) for part in command]
        process = subprocess.Popen(
            self._chroot(cwd) + command,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, **(env or {})},
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            _kill_inside(self.path)
            output, _ = process.communicate()
            raise CommandFailed(self._report(command, f"took over {timeout} s", output)) from None
        except BaseException:
            _kill_inside(self.path)
            raise
        if check and process.returncode:
            raise CommandFailed(self._report(command, f"exit code {process.returncode}", output))
        return subprocess.CompletedProcess(command, process.returncode, output)

    def command(self, command, cwd="/"):
        """The host's command line that runs COMMAND inside, for pexpect and the like."""
        assignments = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        return ["env", "-i", *assignments, *self._chroot(cwd), *command]

    def _chroot(self, cwd):
        enter = 'cd "$1" && shift && exec "$@"'
        return [
            "setpriv", "--inh-caps", DROPPED, "--bounding-set", DROPPED,
            "chroot", str(self.path), "/bin/sh", "-c", enter, "sh", str(cwd),
        ]  # fmt: skip

    def _report(self, command, event, output):
        tail = "\n".join(output.splitlines()[-60:])
        return f"{self.name}: {' '.join(command)}: {event}; its last lines:\n{tail}"


def _mount_root(lower, directory):
    """Put a writable view of LOWER at DIRECTORY/root."""
    merged = directory / "root"
    for name in ("upper", "work", "root"):
        (directory / name).mkdir()
    # volatile: no syncing, the clone never outlives a crash of the machine.
    options = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work,volatile"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], capture_output=True
    )
    if done.returncode:
        say(f"no overlay here ({done.stderr.decode().strip()}): copying {lower}")
        subprocess.run(["cp", "-ax", "--reflink=auto", f"{lower}/.", merged], check=True)
        # so that there is one mount to take down, copied or not
        _mount("--bind", merged, merged)


def _mount_kernel_views(path):
    for kind, where, options in [
        ("proc", "proc", "nosuid,nodev,noexec"),
        ("devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("tmpfs", "dev/shm", "nosuid,nodev,mode=1777"),
    ]:
        (path / where).mkdir(exist_ok=True)
        _mount("-t", kind, "-o", options, kind, path / where)
    # These reach the host's kernel; a package that sets a sysctl must not.
    for where in ("proc/sys", "proc/sysrq-trigger"):
        if (path / where).exists():
            _mount("--bind", path / where, path / where)
            _mount("-o", "remount,bind,ro", path / where)
    ptmx = path / "dev/ptmx"
    ptmx.unlink(missing_ok=True)
    ptmx.symlink_to("pts/ptmx")


def _mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def _make_usable(path):
    """No service is started in a clone; names resolve as on the host."""
    policy = path / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    resolver = path / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    if Path("/etc/resolv.conf").exists():
        shutil.copy("/etc/resolv.conf", resolver)


def _try_lock(directory):
    """The locked lock file of DIRECTORY, or None while its owner lives."""
    lock = open(directory / "owner.lock", "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _remove_stale():
    """Take down the clones whose owner was killed before it could."""
    for directory in cache_dir("clones").iterdir():
        # A clone in the making is not locked for a moment: leave the young alone.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - directory.stat().st_ctime < 60:
                continue
            lock = _try_lock(directory)
            if lock:
                _take_down(directory)
                lock.close()


def _take_down(directory):
    """End what still runs in the clone, unmount it and remove it."""
    merged = directory / "root"
    _kill_inside(merged)
    # Not by os.path.ismount(): it does not see a directory that is mounted on itself.
    if _mounts_below(directory):
        subprocess.run(["umount", "--recursive", str(merged)], check=True)
    if _mounts_below(directory):
        raise RuntimeError(f"{directory} still has mounts, not removing it")
    shutil.rmtree(directory)


def _mounts_below(directory):
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [m for m in mounts if m.split()[1].startswith(f"{directory}/")]


def _kill_inside(path):
    """Kill all processes whose root directory is PATH, and wait until they are gone."""
    deadline = time.monotonic() + 10
    while True:
        inside = _processes_inside(path)
        if not inside:
            return
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {inside} in {path} cannot be killed")
        time.sleep(0.05)


def _processes_inside(path):
    inside = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            if entry.name.isdigit() and os.readlink(entry / "root") == str(path):
                inside.append(int(entry.name))
    return inside
