# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules of tests/guest/modules, built in one go with the driver they look into."""

import shutil
import tempfile
from pathlib import Path

from tests.lib.kernels import BUILD_PRODUCTS, build_modules

TOP = Path(__file__).parents[2]
MODULES = TOP / "tests/guest/modules"


def build_guest_modules(kernel, change=None):
    """The .ko files of the driver and of the test modules for KERNEL: {name: path}.

    CHANGE is called with the directory of the copy that is built.
    """
    with tempfile.TemporaryDirectory(prefix="guest-modules-") as directory:
        source = Path(directory, "tested")
        shutil.copytree(TOP / "src", source, ignore=BUILD_PRODUCTS)
        shutil.copy(TOP / "dkms.conf", source)
        for path in MODULES.glob("*.[ch]"):
            shutil.copy(path, source)
        with open(source / "Kbuild", "a", encoding="ascii") as kbuild:
            kbuild.write((MODULES / "Kbuild").read_text(encoding="ascii"))
        if change:
            change(source)
        return {path.stem: path for path in build_modules(kernel, source).glob("*.ko")}
