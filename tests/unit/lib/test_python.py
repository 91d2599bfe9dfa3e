# SPDX-License-Identifier: GPL-2.0-or-later
"""bindings/python: the layouts are the header's, records come whole, logging goes on.

A pair of sockets that keep messages apart is the device: one write is one message, one
read delivers one.
"""

import errno
import importlib.util
import logging
import os
import re
import socket
import subprocess
import sys

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import TOP

SPEC = importlib.util.spec_from_file_location("flightrec", TOP / "bindings/python/flightrec.py")
flightrec = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(flightrec)


@pytest.fixture
def device(monkeypatch):
    """The driver's side of each channel that is opened, by its name."""
    sides = {}

    def open_(channel, flags):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(not flags & os.O_NONBLOCK)
        sides[channel] = ours
        return theirs.detach()

    monkeypatch.setattr(flightrec, "_open", open_)
    monkeypatch.setattr(flightrec._Channel, "info", lambda self: flightrec.Info(1 << 20, 1, 1000))
    yield sides
    for side in sides.values():
        side.close()


def test_the_layouts_are_those_of_the_header(tmp_path):
    source = tmp_path / "sizes.c"
    source.write_text("""
        #include <linux/flightrec.h>
        #include <stdio.h>
        #include <stddef.h>
        int main(void)
        {
            printf("%zu %zu %d %d %d %d %d ", sizeof(struct flightrec_record), (size_t)FLIGHTREC_INFO_MIN,
                   FLIGHTREC_PAYLOAD_MAX, FLIGHTREC_NAME_MAX, FLIGHTREC_ABI_VERSION, FLIGHTREC_ORIGIN_KERNEL,
                   FLIGHTREC_F_INTERRUPT);
            printf("%lu %lu %lu\\n", (unsigned long)_IOC(_IOC_READ, 0xf1, 0, FLIGHTREC_INFO_MIN), (unsigned long)FLIGHTREC_IOC_SEEK_SEQ,
                   (unsigned long)FLIGHTREC_IOC_SEEK_TIME);
            return 0;
        }
    """)
    (tmp_path / "include").mkdir()
    (tmp_path / "include/linux").symlink_to(TOP / "src/uapi")
    subprocess.run(["gcc", "-idirafter", tmp_path / "include", "-o", tmp_path / "sizes", source], check=True)
    printed = subprocess.run([tmp_path / "sizes"], capture_output=True, check=True, text=True).stdout
    assert [int(word) for word in printed.split()] == [
        flightrec.HEADER.size + flightrec.WRITER.size, flightrec.INFO_LAYOUT.size, flightrec.PAYLOAD_MAX, flightrec.NAME_MAX,
        flightrec.ABI_VERSION, flightrec.ORIGIN_KERNEL, flightrec.F_INTERRUPT, flightrec.GET_INFO,
        flightrec.SEEK_SEQ, flightrec.SEEK_TIME]  # fmt: skip


def test_records_are_read_as_the_driver_delivers_them(device):
    records = [*crash.records(300), crash.Record(b"tick", seq=301, flags=1, origin=1, comm=b"")]
    with flightrec.Reader("app") as reader:
        at = 0
        while at < len(records):  # as many as fit, whole ones
            count = 1
            while at + count < len(records) and len(crash.delivered(records[at : at + count + 1])) <= flightrec.READ_SIZE:
                count += 1
            device["app"].send(crash.delivered(records[at : at + count]))
            at += count
        got = list(reader)
        assert list(reader) == []
    assert [(r.seq, r.boot_ns, r.wall_ns, r.severity, r.kernel, r.pid, r.tgid, r.uid, r.euid, r.cpu, r.payload)
            for r in got] == [
        (r.seq, r.boot_ns, r.wall_ns, r.severity, bool(r.origin), r.pid, r.tgid, r.uid, r.euid, r.cpu, r.payload)
        for r in records]  # fmt: skip
    assert {r.comm for r in got[:-1]} == {"writer"} and got[-1].interrupt and got[-1].comm == ""
    with pytest.raises(ValueError):
        reader.fileno()


def test_who_wrote_it_where_the_driver_says_so():
    record = crash.Record(b"x", seq=1)
    assert flightrec.decode(crash.delivered([record]))[0][-2:] == (record.cgroup, record.start_ns)
    got, size = flightrec.decode(crash.delivered([record], short=True))
    assert (got.cgroup, got.start_ns, got.payload, size) == (0, 0, b"x", 96)


def test_iterating_ends_where_the_channel_ended(device):
    with flightrec.Reader() as reader:
        device["default"].send(crash.delivered([crash.Record(b"in", seq=999), crash.Record(b"later", seq=1000)]))
        assert [r.text for r in reader] == ["in"]
    with flightrec.Reader(follow=True) as reader:
        device["default"].send(crash.delivered([crash.Record(b"later", seq=1000), crash.Record(b"\xff\0", seq=1001)]))
        assert [next(reader).text for _ in range(2)] == ["later", "\\xff\0"]
        device["default"].shutdown(socket.SHUT_WR)
        assert list(reader) == []


def test_losses_are_told():
    content = bytearray(crash.delivered([crash.Record(b"x", seq=9)]))
    content[8] = 7
    assert flightrec.decode(content)[0].lost == 7


def test_no_bytes_are_believed():
    whole = crash.delivered([crash.Record(b"hello", seq=1)])
    for at in range(0, 48):
        for value in (0, 1, 7, 0x59, 0x80, 0xFF):
            broken = bytearray(whole)
            broken[at] = value
            try:
                record, size = flightrec.decode(broken)
            except ValueError:
                continue
            assert 88 <= size <= len(broken) and len(record.payload) <= size
    for cut in range(len(whole)):
        with pytest.raises(ValueError):
            flightrec.decode(whole[:cut])


def test_writing(device):
    with flightrec.Writer("app") as writer:
        writer.write("Größe", severity=flightrec.ERR)
        writer.write(b"\xff\0")
        with pytest.raises(ValueError):
            writer.write("x", severity=8)
    assert [device["app"].recv(9999) for _ in range(2)] == ["<3>Größe".encode(), b"<6>\xff\0"]


@pytest.mark.parametrize("name", ["", "../kmsg", "Default", "a" * 32, "a\n"])
def test_what_is_no_name(name):
    with pytest.raises(ValueError):
        flightrec.Writer(name)


def test_a_file_is_no_channel(tmp_path, monkeypatch):
    """Nor is another device; and a missing one is not made."""
    monkeypatch.setattr(flightrec, "DEVICES", str(tmp_path))
    (tmp_path / "file").write_text("")
    (tmp_path / "null").symlink_to("/dev/null")
    before = os.listdir("/proc/self/fd")
    for name, error in (("file", errno.ENOTTY), ("null", errno.ENOTTY), ("missing", errno.ENOENT)):
        with pytest.raises(OSError) as caught:
            flightrec.Writer(name)
        assert caught.value.errno == error
    assert not (tmp_path / "missing").exists() and os.listdir("/proc/self/fd") == before


@pytest.fixture
def logger():
    made = logging.Logger("app")
    yield made
    for handler in made.handlers:
        handler.close()


def test_logging(device, logger):
    logger.addHandler(flightrec.Handler("app"))
    logger.handlers[0].setFormatter(logging.Formatter("%(name)s: %(message)s"))
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)("%s ü \udcff", level)
    logger.log(25, "between")
    assert [device["app"].recv(9999).decode() for _ in range(6)] == [
        "<7>app: debug ü \\udcff", "<6>app: info ü \\udcff", "<4>app: warning ü \\udcff", "<3>app: error ü \\udcff",
        "<2>app: critical ü \\udcff", "<6>app: between"]  # fmt: skip


@pytest.mark.parametrize("text", ["x" * 4093, "x" * 4094, "ä" * 9000, "a" + "🙂" * 3000], ids=len)
def test_a_long_message_is_several_records(device, logger, text):
    logger.addHandler(flightrec.Handler("app"))
    logger.error(text)
    device["app"].setblocking(False)
    pieces = []
    try:
        while True:
            pieces.append(device["app"].recv(9999))
    except BlockingIOError:
        pass
    assert all(len(piece) <= flightrec.PAYLOAD_MAX and piece.startswith(b"<3>") for piece in pieces)
    if len(pieces) == 1:
        assert pieces[0].decode() == "<3>" + text
    else:
        numbered = [re.fullmatch(r"<3>\[(\d+)/(\d+)\] (.*)", piece.decode()) for piece in pieces]
        assert [(m[1], m[2]) for m in numbered] == [(str(n), str(len(pieces))) for n in range(1, len(pieces) + 1)]
        assert "".join(m[3] for m in numbered) == text


def test_without_the_driver_the_program_goes_on(tmp_path, monkeypatch, logger, capsys):
    """It is said once, and recorded again when the driver comes."""
    monkeypatch.setattr(flightrec, "DEVICES", str(tmp_path))
    handler = flightrec.Handler("app")
    logger.addHandler(handler)
    for _ in range(50):
        logger.error("lost")
    assert handler.refused == 50 and capsys.readouterr().err.count("Traceback") == 1
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(flightrec, "_open", lambda *_: theirs.detach())
    handler._retry_at = 0
    logger.error("back")
    assert ours.recv(99) == b"<3>back" and handler.refused == 50
    ours.close()  # EPIPE stands for a driver that is gone
    logger.error("lost")
    assert handler.refused == 51 and handler._writer is None


def test_over_the_quota_the_channel_stays_open(device, logger, monkeypatch, capsys):
    handler = flightrec.Handler("app")
    logger.addHandler(handler)
    logger.error("first")
    write = os.write

    def refuse(*_):
        raise OSError(errno.EDQUOT, "over quota")

    monkeypatch.setattr(os, "write", refuse)
    for _ in range(3):
        logger.error("lost")
    monkeypatch.setattr(os, "write", write)
    logger.error("second")
    assert [device["app"].recv(99) for _ in range(2)] == [b"<3>first", b"<3>second"]
    assert handler.refused == 3 and capsys.readouterr().err.count("--- Logging error ---") == 1


def test_the_oldest_python_that_distributions_have():
    """Debian 11 has 3.9, EL 9 too."""
    code = (TOP / "bindings/python/flightrec.py").read_text()
    subprocess.run([sys.executable, "-c", "import ast, sys; ast.parse(sys.stdin.read(), feature_version=(3, 9))"],
                   input=code, text=True, check=True)  # fmt: skip
