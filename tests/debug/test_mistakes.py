# SPDX-License-Identifier: GPL-2.0-or-later
"""The watching kernel does watch: mistakes made in the driver on purpose are found.

A small guest for each, with a program that passes for the driver as it is, and
whose end it need not see.
"""

import pytest

from tests.debug.kernels import debug_kernel
from tests.debug.test_debug import LIMIT, START, WATCHED, files, kind
from tests.lib.guestmodules import build_guest_modules
from tests.mutants.runner import mutate
from tests.qemu.direct import direct_guest

KASAN = [name for name in WATCHED if kind(name) == "kasan"]

LOADED = """
insmod /modules/flightrec.ko channels=default,small size_kb=1024,128 quota=67108864 events=none
run_program /tests/{}
rmmod flightrec
check no-leaks no_leaks
"""

RELEASE = """	if (file->f_mode & FMODE_READ)
		atomic_dec(&handle->channel->readers);
	kfree(handle);
"""
FREE = "	kfree(handle);\n"
LOCK = """	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	if (cmd == FLIGHTREC_IOC_SEEK_SEQ)
"""
UNLOCK = """		flightrec_seek_time(handle, value);
	mutex_unlock(&handle->lock);
"""
CHECKED = "	if (!handle)\n		return -ENOMEM;\n	handle->channel = channel;\n"

ABI, READING = LOADED.format("abi"), LOADED.format("reading")
NO_MEMORY = "run_program /tests/nomem\n"
# Among others somebody holds a node of the driver until it is gone.
UNLOADING = "run_program /tests/load\n"

ADD = "		err = device_add(dev);\n"
RELEASED_HERE = """		{
			void released(struct device *node) { put_device(node->parent); }

			dev->release = released;
		}
"""

# name -> (file, old, new), script, what is said on the console
MISTAKES = {
    "not freed": (
        ("chardev.c", RELEASE, RELEASE.replace(FREE, "")),
        ABI, r"^\[result\] not ok no-leaks"),
    "used after it was freed": (
        ("chardev.c", RELEASE, FREE + RELEASE.replace(FREE, "")),
        ABI, r"KASAN: use-after-free in node_release"),
    "too small": (
        ("read.c", "kmalloc(room, nowait", "kmalloc(room / 2, nowait"),
        READING, r"KASAN: slab-out-of-bounds"),
    "taken for granted": (
        ("chardev.c", CHECKED, CHECKED.splitlines(keepends=True)[-1]),
        NO_MEMORY, r"KASAN: null-ptr-deref"),
    "still locked": (
        ("chardev.c", UNLOCK, UNLOCK.splitlines(keepends=True)[0]),
        ABI, r"lock held when returning to user space"),
    "released by code that is gone": (
        ("chardev.c", ADD, RELEASED_HERE + ADD),
        UNLOADING, r"BUG: unable to handle page fault"),
    "sleeps without preemption": (
        ("chardev.c", LOCK, f"	preempt_disable();\n{LOCK}".replace(
            "	if (cmd", "	preempt_enable();\n	if (cmd")),
        ABI, r"BUG: sleeping function called from invalid context"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", KASAN)
def test_found(name, mistake, tmp_path):
    change, script, said = MISTAKES[mistake]
    kernel = debug_kernel(name)
    modules = build_guest_modules(kernel, lambda source: mutate(source, mistake, *change))
    with direct_guest(kernel, files(), START + script, tmp_path, modules=sorted(modules.values()),
                      cpus=2, memory="1G", boot_timeout=600) as guest:  # fmt: skip
        guest.wait_for(said, LIMIT, said)
