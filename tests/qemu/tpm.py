# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM 2.0 for a guest: swtpm, a program beside QEMU, that ends with this process."""

import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 30  # seconds until it listens


class Tpm:
    """A new TPM; `qemu_args` give it to a guest, who may reboot.  A context manager."""

    def __init__(self):
        # Not in a test's directory: the path of a socket must be short.
        self._directory = tempfile.TemporaryDirectory(prefix="tpm-")
        self._socket = Path(self._directory.name) / "socket"
        self._process = None

    @property
    def qemu_args(self):
        return ["-chardev", f"socket,id=tpm,path={self._socket}",
                "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]

    def __enter__(self):
        # setpriv: the kernel ends it should this process be killed.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "swtpm", "socket", "--tpm2",
             "--tpmstate", f"dir={self._directory.name}",
             "--ctrl", f"type=unixio,path={self._socket}"],
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("swtpm did not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()
