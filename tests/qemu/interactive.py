# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest to play in: a shell in a stock kernel with the driver loaded.

    python3 -m tests.qemu.interactive [KERNEL]      what `make shell` runs
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from tests.lib import emulator, initramfs
from tests.lib.accel import accel
from tests.lib.kernels import KERNELS, build_modules, kernel
from tests.lib.tool import flightrec_tool

HERE = Path(__file__).parent
TOP = HERE.parents[1]

HINT = """
Linux {release} is starting.  The guest lives in memory: nothing remains of it.
To leave: type `exit`, or Ctrl-A x at any time.
"""


def start(name, directory):
    """Run the guest with kernel NAME on this terminal until it ends; QEMU's exit code."""
    target = kernel(name)
    files = {
        "init": HERE / "interactive-init.sh",
        "lib/guest.sh": HERE / "guest-lib.sh",
        **flightrec_tool(directory),
    }
    modules = sorted(build_modules(name, TOP / "src").glob("*.ko"))
    archive = initramfs.build(
        target, files, Path(directory, "initramfs"), modules=modules, stock=["dummy"]
    )
    print(HINT.format(release=target.release), flush=True)
    how = accel()
    command = [
        *emulator.command(), "-nodefaults", "-display", "none", "-serial", "mon:stdio",
        "-machine", "q35", "-accel", how, "-cpu", emulator.best_cpu(how), "-m", "512M", "-smp", "2",
        "-no-reboot", "-kernel", target.vmlinuz, "-initrd", archive,
        "-append", "console=ttyS0 rdinit=/init panic=-1 quiet",
    ]  # fmt: skip
    return subprocess.run(command).returncode


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="A shell in a guest with the driver loaded.")
    parser.add_argument("kernel", nargs="?", default="6.1", choices=list(KERNELS))
    name = parser.parse_args().kernel
    with tempfile.TemporaryDirectory(prefix="shell-") as directory:
        raise SystemExit(start(name, directory))


if __name__ == "__main__":
    main()
