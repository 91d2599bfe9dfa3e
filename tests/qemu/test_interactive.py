# SPDX-License-Identifier: GPL-2.0-or-later
"""`make shell`: the guest takes commands, has the driver, and can be left."""

from pathlib import Path

import pexpect
import pytest

TOP = Path(__file__).parents[2]
COMMAND = ["-m", "tests.qemu.interactive", "6.1"]


@pytest.fixture
def terminal():
    child = pexpect.spawn("/usr/bin/python3", COMMAND, cwd=TOP, encoding="utf-8", timeout=120)
    yield child
    child.close(force=True)


def test_driver_is_there_and_exit_leaves(terminal):
    terminal.expect("To leave: type `exit`")
    terminal.expect("~ # ")
    terminal.sendline("echo over-$((40 + 2)) >/dev/flightrec/default")
    terminal.expect("~ # ")
    terminal.sendline("cat /proc/flightrec/default")
    terminal.expect(": over-42\r")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0


def test_ctrl_a_x_leaves(terminal):
    terminal.expect("~ # ")
    terminal.send("\x01x")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0
