# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep preflight --radar, whole, in a chroot: real apt, kernels that are stand-ins, nothing is built."""

import json
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from fleet.kmodkeep_fleet.cache import digest_tree
from tests.fleet.standins import FIRST, SECOND, TOP, System, module
from tests.lib import apt
from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import PROGRAM

SOURCE = "usr/src/sample-1.2"


# What is compiled here runs there: this machine's own suite, or the newest.
SUITE = platform.freedesktop_os_release().get("VERSION_CODENAME")
SUITE = SUITE if SUITE in apt.SUITES else "sid"


def put_program(system):
    """kmodkeep, as the unit tests build it, where they build it, and the libraries that it has here."""
    build()
    prefix = Path(PROGRAM).parents[1]
    shutil.copytree(prefix, system.path / str(prefix).lstrip("/"), symlinks=True)
    said = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=True).stdout
    for library in map(Path, re.findall(r"=> (/\S+)", said)):
        if not list((system.path / "usr/lib").glob(f"*/{library.name}")):
            shutil.copy(library, system.path / "usr/local/lib")
    system.run("ldconfig")


@pytest.fixture(name="system", scope="module")
def fixture_system():
    """A system with a driver of dkms, and a newer kernel in its repository."""
    with System(SUITE) as one:
        put_program(one)
        one.put_kernel(FIRST, dependants=False)
        one.update()
        one.apt("apt-get", "install", "linux-image-amd64")
        (one.path / SOURCE).mkdir(parents=True)
        (one.path / SOURCE / "dkms.conf").write_text('PACKAGE_NAME="sample"\nBUILT_MODULE_NAME="sample"\n')
        (one.path / "var/lib/dkms/sample/1.2").mkdir(parents=True)
        (one.path / "var/lib/dkms/sample/1.2/source").symlink_to(f"/{SOURCE}")
        built = one.path / f"lib/modules/{FIRST.release}/updates/dkms"
        built.mkdir(parents=True)
        module(built / "sample.ko", FIRST.release)
        one.run(["depmod", FIRST.release])
        yield one


def ask(system, verdict="builds", **changes):
    """(exit code, what was said) with a radar that has VERDICT of the driver and the newer kernel."""
    word = f"test:{SECOND.release}"
    cell = {"verdict": verdict, "error": None if verdict == "builds" else "a.c:1: error: no", "modules": ["sample"], "built": 1,
            "seconds": 1.0, "kernel_package_version": SECOND.version, "machine": os.uname().machine, **changes}  # fmt: skip
    document = {"schema": 1, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "kernels": [word],
                "drivers": [{"driver": "sample-dkms", "version": "1.2-1", "source": digest_tree(system.path / SOURCE),
                             "kernels": {word: cell}}]}  # fmt: skip
    jsonschema.validate(document, json.loads((TOP / "docs/radar.schema.json").read_text()))
    (system.path / "radar.json").write_text(json.dumps(document))
    done = system.run([PROGRAM, "preflight", "--radar", "/radar.json"], check=False)
    assert not list((system.path / "var/tmp").glob("kmodkeep-preflight*"))
    return done.returncode, done.stdout


def test_what_a_radar_answers_of_the_kernel_that_apt_would_install(system):
    assert ask(system) == (0, "kmodkeep: apt would install no kernel\n")
    system.put_kernel(SECOND, dependants=False)
    system.update()
    code, said = ask(system)
    assert code == 0 and f"{SECOND.release}: sample: builds: version 1.2\n" in said, said
    assert f"each driver builds for: {SECOND.release}. The radar did not sign or load them. Next, to be sure: kmodkeep preflight" in said
    code, said = ask(system, "does-not-build")
    assert code == 1 and "sample: missing: version 1.2 does not build: a.c:1: error: no" in said, said
    assert "not safe: this update would lose a driver. Next: keep the kernel (apt-mark hold linux-image-amd64)" in said
    # What does not fit exactly tells nothing.
    for changes in ({"kernel_package_version": FIRST.version}, {"machine": "other"}, {"modules": ["other"]}):
        code, said = ask(system, **changes)
        assert code == 3 and "sample: unknown: " in said and "could not tell by this radar" in said, said
    assert system.kernel() == FIRST.version
