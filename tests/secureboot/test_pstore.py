# SPDX-License-Identifier: GPL-2.0-or-later
"""The newest records come back after a panic: through the firmware's variables.

Secure Boot is on, with shim and GRUB before the kernel, which is therefore locked
down.  It panics, efi_pstore stores the end of its log in variables of OVMF, 1 KiB
each, and after the reboot the tool in the guest recovers the records from them.

Two boots by firmware take minutes under emulation, so only FULL=1 has it done;
K=6.12 chooses another kernel.
"""

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lib.kernels import build_modules, kernel
from tests.lib.tool import flightrec_tool
from tests.qemu import variables
from tests.qemu.direct import build_initramfs
from tests.qemu.secureboot import BOOT_TIMEOUT, SecureBootGuest
from tests.qemu.smallguest import boot_disk
from tests.secureboot import cells

TOP = Path(__file__).parents[2]
# What pstore does is the kernel's affair: one of them stands for all.
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else ["6.1"]

SCRIPT = r"""
modprobe efi_pstore pstore_disable=0 || exit 1
mount -t pstore pstore /sys/fs/pstore
if ls /sys/fs/pstore/dmesg-efi* 2>/dev/null; then
	flightrec recover --json /sys/fs/pstore/* >/run/recovered 2>/run/err
	echo "recover: exit status $?"
	cat /run/err
	echo TRACES "$(cat /sys/fs/pstore/* | grep -c 'Call Trace')"
	echo RECOVERED-BEGIN
	gzip </run/recovered | base64
	echo RECOVERED-END
	exit 0
fi
echo LOCKDOWN "$(cat /sys/kernel/security/lockdown)"
insmod /modules/flightrec.ko channels=default,app crash=1,1 events=none quota=67108864 || exit 1
for i in $(seq 40); do
	flightrec write -p err "event $i before the end"
	flightrec write -c app "application \"$i\" \\ $(printf '\001')"
done
echo LISTED-BEGIN
for channel in default app; do flightrec read -c $channel --json; done | gzip | base64
echo LISTED-END
cat /proc/sys/kernel/random/boot_id
# A panic takes away what the console has not sent yet.
read -r _ </dev/console
echo c >/proc/sysrq-trigger
"""

MEMBERS = ["channel", "seq", "boot_ns", "wall_ns", "severity", "pid", "uid", "comm", "text"]
BASE64 = r"([A-Za-z0-9+/=\s]+)"


def unpacked(base64):
    done = subprocess.run("base64 -d | gunzip", shell=True, input=base64.encode(),
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def signed_module(name, key, workdir):
    """The driver for kernel NAME, signed with KEY, without what only a debugger needs."""
    plain = workdir / "plain.ko"
    built = build_modules(name, TOP / "src") / "flightrec.ko"
    subprocess.run(["strip", "--strip-debug", built, "-o", plain], check=True)
    content = plain.read_bytes()
    module = workdir / "flightrec.ko"
    module.write_bytes(cells.appended(content, cells.cms(content, [key])))
    return module


def guest(name, workdir):
    """A guest with kernel NAME, not yet started, that trusts the driver's key."""
    key = cells.make_key(workdir, "good")
    archive = build_initramfs(
        kernel(name), flightrec_tool(workdir / "tool"), SCRIPT, workdir / "initrd",
        modules=[signed_module(name, key, workdir)], stock=["efi_pstore"],
    )  # fmt: skip
    disk = boot_disk(workdir, kernel(name), archive)
    made = SecureBootGuest([disk], workdir, name=f"pstore-{name}", memory="512M")
    variables.add(workdir / "efivars.fd", "MokList",
                  variables.signature_list(variables.X509, [key.der]))  # fmt: skip
    return made


class Story:
    """What was there before the panic, and what after it."""

    def __init__(self, name):
        with tempfile.TemporaryDirectory(prefix="pstore-") as workdir:
            with guest(name, Path(workdir)) as started:
                self.lockdown = started.wait_for(r"LOCKDOWN (.*)", BOOT_TIMEOUT)[1]
                listed = started.wait_for(rf"LISTED-BEGIN\s+{BASE64}LISTED-END", 300)[1]
                self.listed = unpacked(listed)
                self.boot = started.wait_for(r"([0-9a-f-]{36})", 30)[1].replace("-", "")
                started.send("\n")
                self.files = started.wait_for(r"(?:/sys/fs/pstore/\S+\s+)+", BOOT_TIMEOUT,
                                              "the boot after the panic")[0].split()  # fmt: skip
                self.traces = int(started.wait_for(r"TRACES (\d+)\n", 300)[1])
                found = started.wait_for(rf"RECOVERED-BEGIN\s+{BASE64}RECOVERED-END", 60)[1]
                *self.found, last = unpacked(found)
                self.summary = last["summary"]


@functools.cache
def story(name):
    return Story(name)


if os.environ.get("FULL"):

    @pytest.mark.parametrize("name", SELECTED)
    def test_newest_records_come_back(name):
        told = story(name)
        assert "[none]" not in told.lockdown
        assert len(told.files) > 1, "the log is in parts"
        assert told.summary["damaged"] == 0 and told.summary["missing_lines"] == 0, told.summary
        assert {line["boot_id"] for line in told.found} == {told.boot}
        before = [[line.get(m) for m in MEMBERS] for line in told.listed]
        for channel in ("default", "app"):
            back = [line for line in told.found if line["channel"] == channel]
            assert len(back) >= 5 and not any(line["cut"] for line in back)
            assert all([line.get(m) for m in MEMBERS] in before for line in back)
            assert [line["seq"] for line in back] == list(range(41 - len(back), 41))

    @pytest.mark.parametrize("name", SELECTED)
    def test_the_kernels_own_backtrace_is_still_there(name):
        assert story(name).traces >= 1
