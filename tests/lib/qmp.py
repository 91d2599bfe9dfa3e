# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's control channel: keys, screen pictures, interrupts, resets."""

import json
import socket
import struct
import time
import zlib
from pathlib import Path

# Characters whose key has another name, and those that need the shift key, on
# the US keyboard that firmware assumes.
KEY_NAMES = {
    " ": "spc", "\n": "ret", "\t": "tab", "-": "minus", "=": "equal",
    ",": "comma", ".": "dot", "/": "slash", ";": "semicolon",
    "'": "apostrophe", "[": "bracket_left", "]": "bracket_right",
    "\\": "backslash", "`": "grave_accent",
}  # fmt: skip
SHIFTED = dict(zip('!@#$%^&*()_+<>?:"{}|~', "1234567890-=,./;'[]\\`"))


class Qmp:
    """A connected QMP socket, ready for commands."""

    def __init__(self, sock, timeout=60):
        sock.settimeout(timeout)
        self._sock = sock
        self._reader = sock.makefile("r", encoding="utf-8")
        self._receive("QMP")
        self.command("qmp_capabilities")

    def _receive(self, *wanted):
        """The next message that has one of the keys WANTED; events are passed over."""
        while True:
            line = self._reader.readline()
            if not line:
                raise ConnectionError("QEMU closed its control channel")
            message = json.loads(line)
            if any(key in message for key in wanted):
                return message

    def command(self, name, **arguments):
        """Run one command and return its result; an error is raised."""
        request = {"execute": name, "arguments": arguments}
        self._sock.sendall(json.dumps(request).encode() + b"\n")
        reply = self._receive("return", "error")
        if "error" in reply:
            raise RuntimeError(f"QMP {name}: {reply['error']['desc']}")
        return reply["return"]

    def set_timeout(self, seconds):
        """Wait for the answer to each command up to SECONDS, for those that take long."""
        self._sock.settimeout(seconds)

    def send_key(self, *keys):
        """Press KEYS together; names as in QEMU, for example "down", "ret", "ctrl"."""
        codes = [{"type": "qcode", "data": key} for key in keys]
        self.command("send-key", keys=codes)

    def type_text(self, text, delay=0.15):
        """Type TEXT on the keyboard, slowly enough for firmware to follow."""
        for char in text:
            if char in SHIFTED or char.isupper():
                base = SHIFTED.get(char, char.lower())
                self.send_key("shift", KEY_NAMES.get(base, base))
            else:
                self.send_key(KEY_NAMES.get(char, char))
            time.sleep(delay)

    def screendump(self, png):
        """Store what the screen shows as the file PNG."""
        png = Path(png)
        ppm = png.with_suffix(".ppm")
        self.command("screendump", filename=str(ppm.absolute()))
        png.write_bytes(ppm_to_png(ppm.read_bytes()))
        ppm.unlink()
        return png

    def inject_nmi(self):
        """Send a non-maskable interrupt to all CPUs."""
        self.command("inject-nmi")

    def system_reset(self):
        """Press the reset button."""
        self.command("system_reset")

    def quit(self):
        """End QEMU.  It may close the channel before it answers."""
        try:
            self.command("quit")
        except (ConnectionError, socket.timeout):
            return

    def close(self):
        """Close the channel; QEMU keeps running."""
        self._reader.close()
        self._sock.close()


def ppm_to_png(ppm):
    """Convert a binary PPM picture, as QEMU writes it, to PNG."""
    magic, width, height, depth, pixels = _ppm_fields(ppm)
    if (magic, depth) != (b"P6", 255):
        raise ValueError(f"not a P6 picture of depth 255: {magic!r} {depth}")
    stride = width * 3
    rows = (pixels[y * stride : (y + 1) * stride] for y in range(height))
    scanlines = b"".join(b"\0" + row for row in rows)  # \0: the row is unfiltered
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(scanlines, 9))
        + _png_chunk(b"IEND", b"")
    )


def _ppm_fields(ppm):
    """Magic, width, height, depth and pixels; one white-space byte ends the header."""
    magic, width, height, rest = ppm.split(None, 3)
    depth, pixels = rest[:3], rest[4:]
    return magic, int(width), int(height), int(depth), pixels


def _png_chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
