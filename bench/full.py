# SPDX-License-Identifier: GPL-2.0-or-later
"""The full Debian 12 system of the Secure Boot tests, under any of the kernels, counting.

QEMU starts the kernel, whose initramfs brings what a root file system needs and then
hands over to the disk's own systemd.  That starts journald
and then the measurement, nothing else: all that runs there is emulated.
"""

import textwrap
from pathlib import Path

from bench import guest
from tests.lib import initramfs
from tests.lib.guest import Guest
from tests.lib.kernels import kernel
from tests.qemu import direct, image

SCRIPT = f"""
{guest.COPIES_BY_WORDS}
note journald /usr/local/sbin/bench journald
"""

UNIT = textwrap.dedent("""\
    [Unit]
    Description=Count what a message to journald costs
    DefaultDependencies=no
    Requires=systemd-journald.service
    After=systemd-journald.service

    [Service]
    Type=oneshot
    ExecStart=/bin/sh /usr/local/lib/bench-main
    StandardOutput=tty
    StandardError=tty
    TTYPath=/dev/ttyS0
    """)

# In memory, as all that it is compared with; without the limit, which drops messages.
JOURNALD = textwrap.dedent("""\
    [Journal]
    Storage=volatile
    RateLimitIntervalSec=0
    """)

MAIN = f"""
. /usr/local/lib/guest.sh
announce_kernel
{SCRIPT}
say_done
power_off
"""

# Other than where there is no disk, a guest that has nothing to do must not skip the time:
# what waits for the disk would time out.
ICOUNT = ["-icount", "shift=0,sleep=on"]

# What is on the disk beside Debian, and where.
ON_DISK = {
    "bench": "usr/local/sbin/bench",
    "lib/guest.sh": "usr/local/lib/guest.sh",
    "bin/verdict": "usr/local/bin/verdict",
    "bench-main": "usr/local/lib/bench-main",
    "bench.service": "etc/systemd/system/bench.service",
    "journald.conf": "etc/systemd/journald.conf.d/bench.conf",
}

INIT = "\n".join([
    "#!/bin/sh",
    ". /lib/guest.sh",
    "mount_filesystems",
    "set -e",
    "for name in $(cat /wanted); do modprobe $name; done",
    "mkdir /disk",
    "for try in $(seq 100); do [ -b /dev/vda2 ] && break || sleep 0.1; done",
    "mount -t ext4 /dev/vda2 /disk",
    "mkdir -p /disk/etc/systemd/journald.conf.d",
    *[f"cp /{source} /disk/{target}" for source, target in ON_DISK.items()],
    "for name in dev proc sys; do mount --move /$name /disk/$name; done",
    "exec switch_root /disk /sbin/init",
    "",
])


def root_modules(target):
    """The modules without which the Kernel TARGET does not get at the disk.

    crc32c_generic, for ext4's checksums, is asked for by name up to 6.13, and gone
    since; the others are built in where they are no module.
    """
    listing = (target.modules / "modules.dep").read_text(encoding="ascii")
    wanted = ["crc32c_generic", "virtio_pci", "virtio_blk", "ext4"]
    return [name for name in wanted if f"/{name}.ko" in listing]


def journald_guest(name, workdir):
    """A Guest, not yet started, in which messages to journald are counted."""
    target = kernel(name)
    workdir = Path(workdir)
    wanted = root_modules(target)
    archive = initramfs.build(
        target,
        {
            "init": INIT,
            **direct.reporting(target.arch),
            "bench": guest.compile_programs(workdir),
            "bench-main": MAIN,
            "bench.service": UNIT,
            "journald.conf": JOURNALD,
            "wanted": " ".join(wanted),
        },
        workdir / "initramfs",
        stock=wanted,
    )
    line = (f"console=ttyS0 rdinit=/init panic=-1 oops=panic systemd.unit=bench.service "
            f"{direct.PATIENCE} {guest.COMMAND_LINE}")  # fmt: skip
    return Guest(
        [str(a) for a in (
            "-kernel", target.vmlinuz, "-initrd", archive, "-append", line,
            "-drive", f"if=virtio,cache=unsafe,format=qcow2,file={image.overlay(workdir)}",
            *ICOUNT,
        )],
        name=f"bench-full-{name}", workdir=workdir, memory="1G", cpus=1, reboot=False,
        cpu=guest.CPU, accel="tcg",
    )  # fmt: skip
