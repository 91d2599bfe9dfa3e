# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in a guest, with their exit status and output, over a virtio serial port.

The console is for people and for the kernel; what decides a test comes over this
port, which carries nothing else.  In the guest test-shell.sh answers.
"""

import base64
import itertools
import re
import socket
import time
from dataclasses import dataclass

from tests.lib.guest import GuestError

PORT = "test-shell"
AGAIN = 10  # seconds after which a request is sent once more: a reboot may have eaten it


@dataclass
class Result:
    """What a command in the guest said and how it ended."""

    command: str
    status: int
    output: str

    def check(self):
        """This result, if the command succeeded."""
        if self.status:
            raise GuestError(f"in the guest: {self.command}: exit {self.status}\n{self.output}")
        return self


def qemu_args(path):
    """QEMU arguments for the port; PATH is the socket on the host."""
    return ["-device", "virtio-serial-pci",
            "-chardev", f"socket,id=shell,path={path},server=on,wait=off",
            "-device", f"virtserialport,chardev=shell,name={PORT}"]


class Shell:
    """The host's end of the port of GUEST."""

    def __init__(self, guest, path):
        self._guest = guest
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.setblocking(False)
        self._numbers = itertools.count(1)
        self._received = ""

    def close(self):
        """Leave the port; the guest does not mind."""
        self._socket.close()

    def run(self, command, timeout=60, what=None, again=False):
        """Run COMMAND with sh as root in the guest, and return its Result.

        AGAIN sends the request repeatedly, for a guest that is only starting: COMMAND
        must then be one that may run twice.
        """
        number = f"run-{next(self._numbers)}"
        request = f"{number} {base64.b64encode(command.encode()).decode()}\n".encode()
        # With its newline: a long one comes in pieces.
        answer = re.compile(rf"^{number} (\d+) (\S*)\n", re.MULTILINE)
        self._received = ""
        next_send = time.monotonic()

        def answered():
            nonlocal next_send
            if time.monotonic() >= next_send:
                self._send(request)
                next_send = time.monotonic() + (AGAIN if again else timeout + AGAIN)
            self._receive()
            return answer.search(self._received)

        match = self._guest.wait_until(answered, timeout, what or f"the end of: {command}")
        output = base64.b64decode(match[2]).decode(errors="replace")
        return Result(command, int(match[1]), output)

    def _send(self, data):
        self._socket.setblocking(True)
        self._socket.sendall(data)
        self._socket.setblocking(False)

    def _receive(self):
        try:
            while data := self._socket.recv(65536):
                self._received += data.decode("ascii", errors="replace")
        except BlockingIOError:
            return
