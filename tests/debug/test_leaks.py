# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the leaks that kmemleak finds count as ours."""

import subprocess
from pathlib import Path

import pytest

LEAKS = Path(__file__).parent / "leaks.awk"

OBJECT = """unreferenced object 0xffff888004f03c40 (size 16):
  comm "nomem", pid 92, jiffies 4294904121 (age 33.080s)
  hex dump (first 16 bytes):
    66 6c 69 67 68 74 72 65 63 00 6b 6b 6b 6b 6b a5  ..........kkkkk.
  backtrace:
"""
GONE = "0xffffffffa0000123"
NAME = ["kstrdup+0x3c/0x70", "kstrdup_const+0x4f/0x60", "kvasprintf_const+0x10c/0x190",
        "kobject_set_name_vargs+0x56/0x150", "kobject_set_name+0xab/0xe0"]  # fmt: skip


def leak(*functions):
    """With each function's address as kernels show it before and after they have secrets."""
    addresses = ("ffffffff81000123", "(____ptrval____)")
    frames = [f"    [<{addresses[i % 2]}>] {name}\n" for i, name in enumerate(functions)]
    return OBJECT + "".join(frames)


def ours(text, awk=("awk",)):
    done = subprocess.run([*awk, "-f", LEAKS], input=text, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(params=["awk", "busybox awk"])
def awk(request):
    return request.param.split()


@pytest.mark.parametrize("function", [GONE, "flightrec_ring_init+0x12/0x200 [flightrec]"])
def test_what_the_driver_allocated_counts(awk, function):
    found = leak("kmalloc_trace+0x27/0xa0", function)
    other = leak("kmalloc_trace+0x27/0xa0", "acpi_init+0x1/0x2")
    assert ours(other + found + other, awk) == found


def test_what_others_allocated_does_not(awk):
    assert ours(leak("kmalloc_trace+0x27/0xa0", "acpi_init+0x1/0x2"), awk) == ""
    assert ours("", awk) == ""


def test_the_name_that_the_kernel_forgets_does_not(awk):
    assert ours(leak(*NAME, "__class_register+0x1c6/0x460", GONE), awk) == ""


def test_what_else_is_allocated_for_a_class_does(awk):
    other = [
        leak("kmalloc_trace+0x27/0xa0", "__class_register+0x5e/0x460", GONE),
        leak(*NAME, "device_add+0x1c6/0x460", GONE),
        leak(*NAME, GONE),
        leak("kstrdup+0x3c/0x70", GONE, "__class_register+0x1/0x2"),
    ]
    kernels_own = leak(*NAME, "__class_register+0x1c6/0x460", GONE)
    assert ours(kernels_own.join(other), awk) == "".join(other)
