# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of a guest's shell, as they come over the port."""

import base64
import socket

import pytest

from tests.qemu.rootshell import Shell


class Port:
    """The guest's end: before each look of the host it writes the next piece."""

    def __init__(self, path, pieces):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._pieces = iter(pieces)
        self.shell = Shell(self, path)
        self._end, _ = self._listener.accept()

    def wait_until(self, condition, *_):
        for piece in self._pieces:
            self._end.sendall(piece)
            if result := condition():
                return result
        raise AssertionError("no answer was taken")

    def close(self):
        for one in (self.shell, self._end, self._listener):
            one.close()


@pytest.mark.parametrize("cut", range(len(b"\nrun-1 1 aGVsbG8gd29ybGQ=")))
def test_answer_that_comes_in_pieces_is_taken_whole(tmp_path, cut):
    answer = b"\nrun-1 1 " + base64.b64encode(b"hello world") + b"\n"
    port = Port(tmp_path / "port", [answer[:cut], answer[cut:-1], answer[-1:]])
    result = port.shell.run("x")
    port.close()
    assert (result.status, result.output) == (1, "hello world")


def test_other_lines_are_skipped(tmp_path):
    port = Port(tmp_path / "port", [b"n-1 0 QQ==\nrun-11 0 QQ==\n", b"\nrun-1 0 \n"])
    result = port.shell.run("x")
    port.close()
    assert (result.status, result.output) == (0, "")
