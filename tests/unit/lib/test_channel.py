# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec channel without the driver: what it refuses, and what it lists."""

import os
import shutil

import pytest

from tests.unit.lib.tools import NODES, PROC, build, flightrec


@pytest.fixture
def stats():
    build()
    PROC.mkdir(parents=True, exist_ok=True)
    (PROC / "stats").write_text(
        "channel=kernel size_kb=1024 records=0\n"
        "channel=a-rather-long-name size_kb=20971520 records=1\n"
        "events_requests=1\n"
    )  # fmt: skip
    yield
    shutil.rmtree(PROC)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name one of create, resize, remove, list"),
        (["frobnicate"], "unknown 'frobnicate'"),
        (["create"], "create: name one channel"),
        (["create", "a", "b"], "create: name one channel"),
        (["resize", "-s", "256"], "resize: name one channel"),
        (["resize", "a"], "resize: name the new size"),
        (["resize", "-s", "256", "--no-crash", "a"], "resize: name the new size"),
        (["resize", "-s", "256", "../kmsg"], "is not the name of a channel"),
        (["resize", "-s", "256", "a" * 32], "is not the name of a channel"),
        (["remove"], "remove: name the channels"),
        (["list", "a"], "unexpected argument 'a'"),
        (["remove", "-s", "256", "a"], 'options are for "create"'),
        (["list", "--no-crash"], 'options are for "create"'),
        (["create", "-s", "256K", "a"], '"256K" is not a number of KiB'),
        (["create", "-s", "0", "a"], '"0" is not a number of KiB'),
        (["create", "-s", "18014398509481984", "a"], "is not a number of KiB"),
        (["create", "-m", "648", "a"], '"648" is not an octal number'),
        (["create", "-m", "0", "a"], '"0" is not an octal number'),
        (["create", "-m", "0777", "a"], '"0777" is not an octal number'),
        (["create", "-g", "no-such-group", "a"], '"no-such-group" is not a group'),
        (["create", "-g", "4294967295", "a"], "is not a group"),
        (["create", "a" * 32], "it is longer than 31"),
        (["remove", "../kmsg"], '"../kmsg" is not the name of a channel'),
        (["create", "--size"], "option '--size' needs a value"),
        (["create", "--colour", "a"], "unknown option '--colour'"),
    ],
)
def test_wrong_usage(arguments, says):
    done = flightrec("channel", *arguments)
    assert done.returncode == 2 and says in done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_without_the_driver():
    for arguments in (["create", "a"], ["resize", "-s", "256", "a"], ["remove", "a"], ["list"]):
        done = flightrec("channel", *arguments, valgrind=True)
        assert done.returncode == 3 and "modprobe flightrec" in done.stderr


def test_a_driver_that_cannot(stats):
    for arguments in (["create", "a"], ["remove", "a"]):
        done = flightrec("channel", *arguments)
        assert done.returncode == 3 and "load a later one" in done.stderr


def test_list(stats):
    node = NODES / "kernel"
    node.write_bytes(b"")
    node.chmod(0o440)
    os.chown(node, 0, 4294967)
    try:
        done = flightrec("channel", "list", valgrind=True)
    finally:
        node.unlink()
    assert done.returncode == 0
    assert done.stdout == (
        "CHANNEL                  KIB  MODE  GROUP\n"
        "kernel                  1024  0440  4294967\n"
        "a-rather-long-name  20971520     -  -\n"
    )
