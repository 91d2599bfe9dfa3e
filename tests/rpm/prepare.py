# SPDX-License-Identifier: GPL-2.0-or-later
"""Fill the cache for the tests of the RPM packages, with progress.

    python3 -m tests.rpm.prepare [--guest]

With --guest also the disk that a guest boots from.
"""

import argparse
import concurrent.futures
import tempfile
from pathlib import Path

from tests.rpm import builder, dnf5, payload, system, trees


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guest", action="store_true", help="also the disk of the guest")
    guest = parser.parse_args().guest
    print(system.LABEL, flush=True)
    builder.root()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(_system, guest), pool.submit(_packages)]:
            done.result()
    trees.compile_ahead()


def _system(guest):
    system.root()
    if guest:
        system.base_image()


def _packages():
    with tempfile.TemporaryDirectory(prefix="rpm-prepare-") as into:
        trees.ours(Path(into))
    for name in ("dkms", "libs", *[f"kernel-{kernel}" for kernel in payload.KERNELS]):
        payload.directory(name)
    dnf5.root()


if __name__ == "__main__":
    main()
