# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs files of several kernels: each one's copies, and what reading them costs."""

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest

from tests.unit.kmodkeep.host import PROGRAM
from tests.unit.kmodkeep.system import NEW, OLD, System, cpio, module_bytes, packed

COPY = "usr/lib/modules/{}/updates/dkms/sample.ko"
BLOCKS = ["xz", "--check=crc32", "--block-size=65536", "-T2", "-0"]


@pytest.fixture
def system(tree):
    return System(tree)


def copies(system):
    """{kernel: what the doctor found in its initramfs}"""
    document = json.loads(system.tree.run("doctor", "--all", "--json").out)
    return {f["kernel"]: f["initramfs_copy"] for f in document["findings"]}


def test_each_kernel_has_its_own_copies(system):
    kernels = [f"6.{n}.0-amd64" for n in range(2, 7)]
    expected = dict(zip(kernels, ["same", "other", "none", "unread", "same"]))
    for kernel, word in expected.items():
        system.kernel(kernel)
        system.install(kernel)
        inside = {"same": module_bytes(kernel), "other": module_bytes(kernel, version="0.9")}
        system.initramfs(kernel, {"updates/dkms/sample.ko": inside[word]} if word in inside else {})
    system.tree.put(f"boot/initrd.img-{kernels[3]}", b"BZh91AY&SY")
    assert copies(system) == {**expected, OLD: None, NEW: None}


def bulk(megabytes):
    """What compresses about as programs do."""
    data = Path("/proc/self/exe").read_bytes()
    return (data * (1 + (megabytes << 20) // len(data)))[: megabytes << 20]


def test_xz_of_many_blocks(system):
    """What several threads unpack: nothing of it is lost, and damage is seen."""
    filler = {"filler": bulk(2), "end": os.urandom(70000)}
    good = cpio({**filler, COPY.format(NEW): module_bytes(NEW), "z": bulk(1)})
    image = packed(good, BLOCKS)
    path = system.tree.put(f"boot/initrd.img-{NEW}", image)
    assert copies(system)[NEW] == "same"
    listing = subprocess.run(["xz", "--robot", "--list", "--format=xz", path], capture_output=True,
                             text=True, check=True).stdout  # fmt: skip
    assert int(listing.split("file\t")[1].split("\t")[1]) > 10, listing
    for cut in (len(image) // 2, len(image) - 1):
        path.write_bytes(image[:cut])
        assert copies(system)[NEW] == "unread"
    path.write_bytes(image[: len(image) // 2] + b"xyz" + image[len(image) // 2 + 3 :])
    assert copies(system)[NEW] == "unread"


@pytest.mark.parametrize("tool", [["gzip", "-n"], ["zstd", "-q"], ["xz"], BLOCKS],
                         ids=["gzip", "zstd", "xz", "blocks"])  # fmt: skip
def test_later_copy_is_the_one_that_is_there(system, tool):
    """In the same archive and in one behind it; so none is read but to its end."""
    name = COPY.format(NEW)
    old, new = ({name: module_bytes(NEW, version=v)} for v in ("0.9", "1.2"))
    first, second = cpio({**old, "filler": bulk(1)}), cpio({"filler": bulk(1), **new})
    path = system.tree.put(f"boot/initrd.img-{NEW}", packed(first + second, tool))
    assert copies(system)[NEW] == "same"
    path.write_bytes(packed(first, tool) + bytes(512) + packed(second, tool))
    assert copies(system)[NEW] == "same"
    path.write_bytes(packed(second, tool) + packed(first, tool))
    assert copies(system)[NEW] == "other"


def seconds(*command, times=2):
    """What COMMAND takes of a processor, whatever runs beside it: the least of a few runs."""
    took = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime)
    return min(took)


def test_reading_costs_little_more_than_unpacking(system):
    """The doctor beside xz alone on the same files; of what it always takes, without them."""
    kernels = [NEW, *[f"6.{n}.0-amd64" for n in range(2, 5)], OLD]
    for kernel in kernels[1:-1]:
        system.kernel(kernel)
        system.install(kernel)
    doctor = [PROGRAM, "doctor", "--all", "--root", system.path]
    always = seconds(*doctor)
    image = packed(cpio({"filler": bulk(8) + os.urandom(2 << 20)}), ["xz", "-1", "-T1"])
    paths = [system.tree.put(f"boot/initrd.img-{kernel}", image) for kernel in kernels]
    assert seconds(*doctor) - always < 1.7 * seconds("xz", "-dc", "-T1", *paths) + 0.1
