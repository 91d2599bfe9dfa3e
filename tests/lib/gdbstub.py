# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's debugger stub, as far as it takes to stop one CPU of a guest for good, or to step."""

import re
import socket
import time


STOPPED = re.compile(r"T(?P<signal>[0-9a-f]{2})thread:(?:p[0-9a-f]+\.)?(?P<thread>[0-9a-f]+);")
SIGTRAP = "05"


class GdbStub:
    """A connection to the stub at the UNIX socket PATH.  Connecting stops the guest."""

    def __init__(self, path, timeout=300):
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(timeout)
        self._sock.connect(str(path))
        self._buffer = b""
        self.ask("qSupported:multiprocess-;vContSupported+")

    def ask(self, command):
        """Send COMMAND and return its answer; an error is raised.

        That the guest has stopped, as it does when we connect, is no answer.
        """
        self._send(command)
        answer = self._receive()
        while STOPPED.match(answer):
            answer = self._receive()
        if re.fullmatch(r"E[0-9a-fA-F]{2}", answer):
            raise RuntimeError(f"debugger stub: {command} gets {answer}")
        return answer

    def set_breakpoint(self, address):
        """Stop all CPUs where one is about to execute what is at ADDRESS."""
        self._expect_ok(f"Z0,{address:x},1")

    def clear_breakpoint(self, address):
        self._expect_ok(f"z0,{address:x},1")

    def write_memory(self, cpu, address, data):
        """Write DATA at ADDRESS, as CPU sees its memory now."""
        self._expect_ok(f"Hg{cpu + 1:x}")
        self._expect_ok(f"M{address:x},{len(data):x}:{data.hex()}")

    def go(self, cpu=None):
        """Let all CPUs go on, or only CPU: then the others stay where they are."""
        self._send("vCont;c" if cpu is None else f"vCont;c:{cpu + 1:x}")

    def step(self, cpu=0):
        """Let CPU, of an x86-64, execute one instruction; the address of the next."""
        self._send(f"vCont;s:{cpu + 1:x}")
        self.wait_stop()
        registers = self.ask("g")
        return int.from_bytes(bytes.fromhex(registers[16 * 16 : 17 * 16]), "little")

    def wait_stop(self):
        """Wait until a CPU hits a breakpoint; which one, from 0."""
        while True:
            answer = self._receive()
            stop = STOPPED.match(answer)
            if not stop:
                raise RuntimeError(f"debugger stub: not a breakpoint but {answer}")
            if stop["signal"] == SIGTRAP:
                return int(stop["thread"], 16) - 1

    def close(self):
        self._sock.close()

    def _expect_ok(self, command):
        answer = self.ask(command)
        if answer != "OK":
            raise RuntimeError(f"debugger stub: {command} gets {answer or 'nothing'}")

    def _send(self, command):
        data = command.encode()
        self._sock.sendall(b"$%s#%02x" % (data, sum(data) & 0xFF))

    def _receive(self):
        """The next packet; acknowledgements in between are passed over."""
        deadline = time.monotonic() + self._sock.gettimeout()
        while True:
            packet = re.search(rb"\$([^#]*)#[0-9a-f]{2}", self._buffer)
            if packet:
                self._buffer = self._buffer[packet.end() :]
                self._sock.sendall(b"+")
                return packet[1].decode()
            if time.monotonic() > deadline:
                raise TimeoutError("debugger stub: no answer")
            data = self._sock.recv(4096)
            if not data:
                raise ConnectionError("QEMU closed the debugger's channel")
            self._buffer += data
