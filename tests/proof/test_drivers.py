# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmodified DKMS drivers of the Debian archive: each does what kmodkeep said before the boot.

SYSTEM=bookworm chooses the system. What the guest said stays in build/results/drivers-SYSTEM.
KEEP=1 puts it into docs/proof.md.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.proof import page
from tests.proof.guest import LOAD, Load, Record, differences
from tests.proof.system import DRIVERS, STARTED, TOP, own_boot_loader
from tests.qemu import esp

SELECTED = os.environ["SYSTEM"].split(",") if os.environ.get("SYSTEM") else list(DRIVERS)


@pytest.fixture(scope="module", params=SELECTED)
def record(request):
    logs = TOP / f"build/results/drivers-{request.param}"
    shutil.rmtree(logs, ignore_errors=True)
    made = Record(request.param, logs)
    try:
        made.run()
        if os.environ.get("KEEP"):
            page.keep(made)
        return made
    finally:
        (logs / "disk.qcow2").unlink(missing_ok=True)


PROGRAMS = """
modinfo() { [ "$3" != hdaps ] || echo Y; }
timeout() { echo "could not insert '$3': No such device"; return 1; }
modprobe() { :; }
"""


def test_kernels_own_module_of_the_same_name_is_not_the_drivers():
    """Neither finds its device, and that is all that modprobe says of either."""
    script = f"{PROGRAMS}modules='hdaps tp_smapi'\n{LOAD}"
    lines = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout
    fields = [line.split("\t") for line in lines.splitlines()]
    assert [(name, Load(int(code), taint, said).served) for name, code, taint, said in fields] == [
        ("hdaps", False), ("tp_smapi", True)]


def test_boot_loader_is_of_the_suite(tmp_path):
    """Not of Debian 12, as all disks begin; what else is on the partition stays."""
    disk, root = tmp_path / "disk.img", tmp_path / "root"
    esp.partition(disk, 66, 64)
    esp.write(disk, 64, esp.boot_files("menu"))
    for name in set(STARTED.values()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name} of the suite")
    own_boot_loader(disk, root)
    for path in esp.boot_files(""):
        said = esp.run("mtype", "-i", f"{disk}@@{esp.START}", f"::{path}").decode()
        name = Path(path).name
        assert said == (f"{STARTED[name]} of the suite" if name in STARTED else "menu"), path


def test_every_module_of_every_driver_was_judged_and_tried(record):
    named = {module for _, module in record.predicted}
    for driver, modules in record.system.drivers.items():
        assert driver in {d["dkms"] for d in record.document["drivers"]}
        assert set(modules) <= named, driver
    assert set(record.loads) == {(k, m) for k in record.kernels for m in named}


def test_modprobe_does_what_was_predicted(record):
    wrong = list(differences(record.predicted, record.loads))
    assert not wrong, "\n".join(wrong)


def test_nothing_is_unknown(record):
    unsure = [f for f in record.predicted.values() if f["verdict"] == "unknown"]
    assert not unsure
    assert not record.document["not_seen"]


def test_the_kernel_itself_sees_the_same(record):
    """What was said of the next kernel before it was booted, and what is said on it."""
    new = record.kernels[1]
    for (kernel, module), finding in record.predicted.items():
        if kernel == new:
            assert record.after_boot[kernel, module]["verdict"] == finding["verdict"], module


def test_some_are_lost_and_some_are_not(record):
    """So that a doctor that always says the same is wrong here."""
    served = {kernel: [load.served for (k, _), load in record.loads.items() if k == kernel]
              for kernel in record.kernels}
    assert any(served[record.kernels[0]])
    assert any(served[record.kernels[1]]) and not all(served[record.kernels[1]])


def test_the_administrator_is_told(record):
    """By dpkg, which installs kmodkeep with nothing configured, and by the pages."""
    old, new = record.kernels
    lost = {record.predicted[new, m]["driver"] for (k, m), load in record.loads.items()
            if k == old and load.served and not record.loads[new, m].served}
    assert lost
    assert record.document["next_boot"]["kernel"] == new
    assert record.pages["status"].startswith("NOT SAFE")
    for driver in lost:
        assert driver in record.pages["guard"], record.pages["guard"]
