# SPDX-License-Identifier: GPL-2.0-or-later
"""Initramfs archives for guests that boot a kernel directly.

A tree is staged in a directory and then written as one uncompressed cpio
archive: unpacking costs an emulated CPU more than reading.
"""

import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from tests.lib import apt

BUSYBOX = Path("/bin/busybox")
KMOD = Path("/bin/kmod")  # busybox has modprobe too, but not for all compressions
KMOD_NAMES = ["depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod"]

DIRECTORIES = ["dev", "etc", "modules", "proc", "root", "run", "sys", "tmp", "usr/bin"]
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


def build(kernel, files, into, *, modules=(), stock=()):
    """Write the archive INTO for KERNEL, and return its path.

    FILES: {path in the guest: what}, where what is a Path (file or directory,
    mode kept), bytes or a text, which is executable if it begins with "#!".
    MODULES: .ko files that modprobe shall find; they are in /modules too.
    STOCK: names of modules of the kernel that come along, with what they need.
    """
    into = Path(into)
    tree = into.with_suffix(".tree")
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True)
    for path, what in ACCOUNTS.items():
        put(tree, path, what)
    if kernel.arch == "amd64":
        _put_busybox(tree, BUSYBOX)
        _put_kmod(tree)
    else:
        _put_foreign_userland(tree, kernel)
    _put_modules(tree, kernel, modules, stock)
    for path, what in files.items():
        put(tree, path, what)
    write_cpio(tree, into)
    shutil.rmtree(tree)
    return into


def put(tree, path, what):
    """Put WHAT (see build()) at PATH below TREE."""
    target = tree / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, Path):
        if what.is_dir():
            shutil.copytree(what, target, dirs_exist_ok=True)
        else:
            shutil.copy(what, target)
        return
    data = what if isinstance(what, bytes) else what.encode()
    target.write_bytes(data)
    target.chmod(0o755 if data.startswith(b"#!") else 0o644)


def put_program(tree, program):
    """Put a PROGRAM of this machine and the libraries it is linked to into TREE."""
    put(tree, program, program)
    for library in libraries(program):
        put(tree, library, library)


def libraries(program):
    """The libraries, and the loader, that a PROGRAM of this machine is linked to."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(library) for library in re.findall(r"(/\S+) \(0x", listing)]


def _put_foreign_userland(tree, kernel):
    """Busybox of the kernel's architecture, which has modprobe, too."""
    (deb,) = apt.download(kernel.suite, ["busybox-static"], kernel.arch).iterdir()
    with tempfile.TemporaryDirectory() as directory:
        apt.extract(deb, directory)
        _put_busybox(tree, next(Path(directory).rglob("bin/busybox")))
    (tree / "sbin").mkdir(exist_ok=True)
    for name in KMOD_NAMES:
        (tree / "sbin" / name).symlink_to("/bin/busybox")


def _put_busybox(tree, busybox):
    """Put BUSYBOX there under all names that this machine's has."""
    put(tree, "bin/busybox", busybox)
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    for name in sorted(set(names.split()) - {"busybox", *KMOD_NAMES}):
        (tree / "bin" / name).symlink_to("busybox")


def _put_kmod(tree):
    put_program(tree, KMOD)
    (tree / "sbin").mkdir(exist_ok=True)  # where the kernel looks for modprobe
    for name in KMOD_NAMES:
        (tree / "sbin" / name).symlink_to(KMOD)


def _put_modules(tree, kernel, modules, stock):
    """Install MODULES and the STOCK modules, and index them for modprobe."""
    directory = tree / "lib/modules" / kernel.release
    directory.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(kernel.modules / name, directory)
    for path in _with_dependencies(kernel, stock):
        put(directory, path.relative_to(kernel.modules), path)
    for path in modules:
        put(directory, f"updates/{Path(path).name}", Path(path))
        (tree / "modules" / Path(path).name).symlink_to(
            f"/lib/modules/{kernel.release}/updates/{Path(path).name}"
        )
    subprocess.run(["depmod", "-b", tree, kernel.release], check=True)


def _with_dependencies(kernel, names):
    """The files of the stock modules NAMES and of all that they need."""
    dependencies = {}
    for line in (kernel.modules / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, needed = line.partition(":")
        name = re.sub(r"\.ko(\.\w+)?$", "", Path(path).name).replace("-", "_")
        dependencies[name] = [path, *needed.split()]
    paths = set()
    for name in names:
        paths.update(dependencies[name.replace("-", "_")])
    return [kernel.modules / path for path in sorted(paths)]


def write_cpio(tree, archive):
    """Write TREE, and the console device, as a cpio archive in the "newc" form.

    Owner, time and inode numbers are not those of the tree: equal trees give
    equal archives, and nobody needs to be root for it.
    """
    with open(archive, "wb") as out:
        for number, path in enumerate(sorted(tree.rglob("*")), start=1):
            info = path.lstat()
            data = b""
            if stat.S_ISLNK(info.st_mode):
                data = str(path.readlink()).encode()
            elif stat.S_ISREG(info.st_mode):
                data = path.read_bytes()
            _write_entry(out, str(path.relative_to(tree)), info.st_mode, number, data)
        _write_entry(out, "dev/console", stat.S_IFCHR | 0o600, 0, b"", device=(5, 1))
        _write_entry(out, "TRAILER!!!", 0, 0, b"")


def _write_entry(out, name, mode, number, data, device=(0, 0)):
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    out.write(_padded(header + name.encode() + b"\0"))
    out.write(_padded(data))


def _padded(data):
    return data + b"\0" * (-len(data) % 4)
