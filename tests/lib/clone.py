# SPDX-License-Identifier: GPL-2.0-or-later
"""Throw-away copies of a root directory, to install, build and break things in.

A copy is a chroot, and programs in it can tell that it is one.  It has /proc
(objtool of 7.x kernels needs it) and terminals, but neither /sys nor the
host's devices; commands run without the rights to load modules or to reboot.
Services are not started (policy-rc.d says 101).

Its processes have a PID namespace of their own, one for all commands: what a command
leaves behind goes on, and later ones see it, but nothing outlives the copy.
"""

import contextlib
import fcntl
import shutil
import subprocess
import sys
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


LOCK = "owner.lock"

# Process 1 of a copy: it lasts until its standard input ends. Orphans become its children, and
# are waited for by the kernel, since it ignores their end.
INIT = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); sys.stdin.read()"

GONE_WITHIN = 60  # seconds; a killed process ends at once, unless the machine is very busy


class Processes:
    """A PID namespace, whose processes are gone when it was closed, or its owner is dead."""

    def __init__(self):
        # A session of its own: Ctrl-C in a terminal is not for it.
        command = ["unshare", "--pid", "--fork", sys.executable, "-ISc", INIT]
        self._unshare = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        # The namespace can be entered when it has its process 1.
        deadline = time.monotonic() + GONE_WITHIN
        while subprocess.run(self.command(["true"]), capture_output=True).returncode:
            if self._unshare.poll() is not None or time.monotonic() > deadline:
                self._unshare.kill()
                raise RuntimeError("no PID namespace can be made here, see above")
            time.sleep(0.01)

    def command(self, command):
        """The command line that runs COMMAND among these processes."""
        return ["nsenter", f"--pid=/proc/{self._unshare.pid}/ns/pid_for_children", "--", *command]

    def kill(self):
        """Kill all of them but the first."""
        subprocess.run(self.command(["sh", "-c", "kill -9 -1"]), check=True, timeout=GONE_WITHIN)

    def close(self):
        """End all of them.

        With its process 1 the kernel kills the namespace, and lets it be waited for
        only after all others were.
        """
        self._unshare.stdin.close()
        try:
            self._unshare.wait(GONE_WITHIN)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"children of process {self._unshare.pid} cannot be killed") from None


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
        self._processes = None

    def __enter__(self):
        _remove_stale()
        self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=cache_dir("clones")))
        (self._directory / LOCK).touch()
        self._lock = _try_lock(self._directory)
        self.path = self._directory / "root"
        try:
            self._processes = Processes()
            _mount_root(self._lower, self._directory)
            _mount_kernel_views(self.path, self._processes)
            _make_usable(self.path)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._processes:
            self._processes.close()
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
            self._processes.command(["setsid", *_chroot(self.path, cwd), *command]),
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
            self._processes.kill()
            output, _ = process.communicate()
            raise CommandFailed(self._report(command, f"took over {timeout} s", output)) from None
        except BaseException:
            self._processes.kill()
            raise
        if check and process.returncode:
            raise CommandFailed(self._report(command, f"exit code {process.returncode}", output))
        return subprocess.CompletedProcess(command, process.returncode, output)

    def command(self, command, cwd="/"):
        """The host's command line that runs COMMAND inside, for pexpect and the like."""
        assignments = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        inside = ["env", "-i", *assignments, *_chroot(self.path, cwd), *command]
        return self._processes.command(inside)

    def _report(self, command, event, output):
        tail = "\n".join(output.splitlines()[-60:])
        return f"{self.name}: {' '.join(command)}: {event}; its last lines:\n{tail}"


def _chroot(path, cwd):
    """The beginning of a command line that runs the rest in PATH."""
    enter = 'cd "$1" && shift && exec "$@"'
    return [
        "setpriv", "--inh-caps", DROPPED, "--bounding-set", DROPPED,
        "chroot", str(path), "/bin/sh", "-c", enter, "sh", str(cwd),
    ]  # fmt: skip


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


def _mount_kernel_views(path, processes):
    for kind, where, options in [
        ("proc", "proc", "nosuid,nodev,noexec"),
        ("devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("tmpfs", "dev/shm", "nosuid,nodev,mode=1777"),
    ]:
        (path / where).mkdir(exist_ok=True)
        mount = ["mount", "-t", kind, "-o", options, kind, path / where]
        subprocess.run(processes.command(mount), check=True)  # /proc shows who mounts it
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
    lock = open(directory / LOCK, encoding="ascii")
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
                with lock:
                    _take_down_if_possible(directory)


def _take_down_if_possible(directory):
    """Take down a clone of somebody else. One that is still in use is left to a later run."""
    try:
        _take_down(directory)
    except (subprocess.CalledProcessError, RuntimeError) as error:
        say(f"{directory}, whose owner was killed, stays for now: {error}")


def _take_down(directory):
    """Unmount a clone, whose processes are gone, and remove it."""
    merged = directory / "root"
    # Not by os.path.ismount(): it does not see a directory that is mounted on itself.
    if _mounts_below(directory):
        subprocess.run(["umount", "--recursive", str(merged)], check=True)
    if _mounts_below(directory):
        raise RuntimeError(f"{directory} still has mounts, not removing it")
    # The lock goes last: a directory without one is about to go, and left to its owner.
    for path in directory.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path)
    (directory / LOCK).unlink()
    directory.rmdir()


def _mounts_below(directory):
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [m for m in mounts if m.split()[1].startswith(f"{directory}/")]

