# SPDX-License-Identifier: GPL-2.0-or-later
"""Clean roots of Debian with a kernel's headers, and what runs in them.

A root is made once by mmdebstrap and then only read: each build sees it through an overlay that is
gone afterwards.  What runs there sees no network, no process and no device of this machine, and
has none of root's rights but those over files.
"""

import fcntl
import functools
import os
import re
import subprocess
import tempfile
from pathlib import Path

from . import cache
from .states import Usage

RECIPE = 1  # raise it when roots must be made anew though what goes in is the same

# The right of each is over files of the root alone.
KEPT = ("chown", "dac_override", "fowner", "fsetid", "setgid", "setuid")

# Of the new namespaces: its own mounts, so nothing is left to be taken down.  /proc is read-only,
# since some of its files belong to root and not to a capability.  Of /dev, what has nothing of the
# machine: mmdebstrap also makes the console, which is read and written without a capability.  No
# file grows over 1 GiB, the log neither.
ENTER = r"""
set -eu
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc -o ro,nosuid,nodev,noexec proc "$2/root/proc"
mount -t tmpfs -o nosuid,noexec,mode=755 tmpfs "$2/root/dev"
for device in null zero full random urandom; do
	: >"$2/root/dev/$device"
	mount --bind "/dev/$device" "$2/root/dev/$device"
done
ln -s /proc/self/fd "$2/root/dev/fd"
mkdir "$2/root/dev/shm"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$2/root/dev/shm"
hostname builder
ulimit -f 2097152
cd "$2/root"
caps=$3
shift 3
umask 022
exec chroot . /usr/bin/setpriv --no-new-privs --inh-caps "$caps" --bounding-set "$caps" /usr/bin/env -i "$@"
"""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root", "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb",
    "SOURCE_DATE_EPOCH": "0", "KBUILD_BUILD_USER": "builder", "KBUILD_BUILD_HOST": "builder",
    "KBUILD_BUILD_TIMESTAMP": "@0",
}  # fmt: skip


class Kernel:
    """One word of the command line: SUITE:RELEASE[=VERSION]."""

    def __init__(self, word):
        found = re.fullmatch(r"([a-z][a-z0-9-]*):([A-Za-z0-9.+~_-]+)(?:=([A-Za-z0-9.+~:-]+))?", word)
        if not found:
            raise Usage(f"'{word}' is no kernel. Next: SUITE:RELEASE=VERSION, as in bookworm:6.1.0-30-amd64=6.1.124-1")
        self.word = word
        self.suite, self.release, self.version = found.groups()

    @property
    def headers(self):
        return f"linux-headers-{self.release}"

    @property
    def foreign(self):
        """The architecture of the kernel, which its flavour names, where it is not this machine's."""
        found = re.search(r"-(amd64|arm64)(?:-|$)", self.release)
        return found[1] if found and found[1] != native() else None


# The headers of another architecture want a compiler of theirs: here it is a cross compiler, and they
# are installed without what they ask for but other parts of the headers.
FOREIGN = r"""--customize-hook=chroot "$1" sh -eu -c '
cd /root
apt-get -q download "$1"
set -- *.deb
apt-get -q -y --no-install-recommends install $(dpkg-deb -f "$1" Depends | tr , "\n" | sed -n "s/^ *\(linux-\(base\|headers-[^ ]*\|kbuild-[^ ]*\)\).*/\1/p")
dpkg --force-depends -i "$1"
rm "$1"' sh """
COMPILERS = {"amd64": "gcc-x86-64-linux-gnu", "arm64": "gcc-aarch64-linux-gnu"}
# Kbuild's name, the compiler, and the name that uname and dkms have.
CROSS = {"amd64": {"ARCH": "x86_64", "CROSS_COMPILE": "x86_64-linux-gnu-", "MACHINE": "x86_64"},
         "arm64": {"ARCH": "arm64", "CROSS_COMPILE": "aarch64-linux-gnu-", "MACHINE": "aarch64"}}  # fmt: skip


@functools.cache
def native():
    """This machine's architecture, as Debian calls it."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def need_root():
    if os.geteuid() != 0:
        raise Usage("this makes roots with mmdebstrap and mounts them. Next: run it as root, best in a virtual machine")


class Roots:
    """Where roots are kept, and what they are made from."""

    def __init__(self, base, sources=(), aptopts=(), extra=()):
        self.base = Path(base)
        self.sources = dict(sources)  # suite, or "" for all -> text of a sources.list; none: what mmdebstrap takes
        self.aptopts = list(aptopts)
        self.extra = sorted(extra)

    def get(self, kernel):
        """The root for KERNEL, made now if need be."""
        exact = kernel.headers + (f":{kernel.foreign}" if kernel.foreign else "") + (f"={kernel.version}" if kernel.version else "")
        packages = ["ca-certificates", "dkms", exact, *self.extra]
        sources = self.sources.get(kernel.suite, self.sources.get("", ""))
        key = cache.digest(RECIPE, kernel.suite, sources, packages)
        name = f"{kernel.suite}-{kernel.release}-{key}"
        return cache.cached(self.base / "roots", name, lambda path: self._make(kernel, exact, packages, sources, path))

    def _make(self, kernel, exact, packages, sources, target):
        log = self.base / "logs" / f"root-{kernel.suite}-{kernel.release}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        foreign = []
        if kernel.foreign:
            foreign = [f"--architectures={native()},{kernel.foreign}", FOREIGN + exact]
            packages = [COMPILERS[kernel.foreign] if one == exact else one for one in packages]
        command = ["mmdebstrap", "--mode=root", "--variant=apt", "--dpkgopt=force-unsafe-io",
                   *foreign, f"--include={','.join(packages)}", *[f"--aptopt={line}" for line in self.aptopts],
                   kernel.suite, str(target), *(["-"] if sources else [])]  # fmt: skip
        with open(log, "wb") as out:
            done = subprocess.run(command, input=sources.encode(), stdout=out, stderr=out)
        if done.returncode:
            text = log.read_text(errors="replace")
            if re.search(rf"Version .* for '{re.escape(kernel.headers)}(:\w+)?' was not found|"
                         rf"Unable to locate package {re.escape(kernel.headers)}", text):  # fmt: skip
                raise NoSuchKernel(f"{kernel.word}: the archive of {kernel.suite} has no such headers (any more). "
                                   f"Next: a version that apt-cache policy {kernel.headers} has there")  # fmt: skip
            last = [line for line in text.splitlines() if line.strip()][-1:] or ["nothing was said"]
            raise OSError(0, f"{kernel.word}: no root could be made: {last[0]}. Next: see {log}")


class NoSuchKernel(Exception):
    """The archive does not have it."""


def packages(root):
    """package -> version, of ROOT, which nothing but mmdebstrap has written."""
    listing = subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\n"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return dict(line.split() for line in listing.splitlines())


def architecture(root, package):
    """Of the only PACKAGE of that name in ROOT, as Debian calls it."""
    return subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Architecture}", package],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def try_lock(directory):
    """The descriptor that holds DIRECTORY, or None where another process does."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def remove_stale(scratch):
    """What builders have left that were killed."""
    for path in Path(scratch).glob("build-*"):
        fd = try_lock(path)
        if fd is not None:
            cache.remove(path)
            os.close(fd)


class Inside:
    """A throw-away view of a root; the last of its processes ends with the `with` block, or with the builder."""

    def __init__(self, root, scratch):
        self._root = root
        with cache.locked(Path(scratch, ".lock")):
            remove_stale(scratch)
            self._directory = tempfile.TemporaryDirectory(dir=scratch, prefix="build-", ignore_cleanup_errors=False)
            self.path = Path(self._directory.name)
            self._lock = try_lock(self.path)
        for name in ("upper", "work", "root"):
            (self.path / name).mkdir(mode=0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._directory.cleanup()
        os.close(self._lock)

    def start(self, script, *, log, variables=(), arguments=()):
        """A process that runs SCRIPT (for sh) inside; its standard input and output are pipes."""
        caps = ",".join(["-all", *[f"+{name}" for name in KEPT]])
        settings = [f"{key}={value}" for key, value in {**ENVIRONMENT, **dict(variables)}.items()]
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc",
             "sh", "-c", ENTER, "sh", str(self._root), str(self.path), caps,
             *settings, "/bin/sh", "-c", script, "sh", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
