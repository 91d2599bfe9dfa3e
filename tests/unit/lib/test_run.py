# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec run: whose line it is, none lost or torn, and the program's own end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.unit.lib.tools import NODES, PLAIN, SANITIZED, VALGRIND, build

RECORD = re.compile(rb"<(\d)>([^\s\[]+)\[(\d+)((?: uid \d+)?)\](\+?)(>?): ")


class Fake:
    """A FIFO in the place of a channel: what is written to it, cut where records begin."""

    def __init__(self, path):
        self.content = b""
        os.mkfifo(path)
        # For writing as well: its end is not reached while nobody writes.
        self.end = os.open(path, os.O_RDWR)
        self.stop = False
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while True:
            part = os.read(self.end, 65536)
            if self.stop and part.endswith(b"stop"):
                self.content += part[:-4]
                return
            self.content += part

    def records(self):
        """[(severity, comm, pid, " uid N", "+" or "", ">" or "", text)]; nothing comes any more."""
        if not self.stop:
            self.stop = True
            os.write(self.end, b"stop")
            self.thread.join()
            os.close(self.end)
        parts = RECORD.split(self.content)
        assert parts[0] == b""
        return [tuple(part.decode() for part in parts[at : at + 7]) for at in range(1, len(parts), 7)]

    def texts(self):
        return [record[-1] for record in self.records()]


@pytest.fixture
def fake():
    build()
    path = NODES / "my"
    channel = Fake(path)
    yield channel
    channel.records()
    path.unlink()


def run(*arguments, valgrind=False, **settings):
    command = [*VALGRIND, PLAIN] if valgrind else [SANITIZED]
    return subprocess.run([*command, "run", "-c", "my", *arguments], capture_output=True, text=True,
                          timeout=120, **settings)  # fmt: skip


def test_lines_of_both_outputs_in_their_order(fake):
    done = run("--", "sh", "-c", "echo $$; echo two >&2; echo; echo '<3>bad'; printf half; exit 7", valgrind=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    records = fake.records()
    pid = records[0][-1]
    assert records == [(severity, "sh", pid, "", "", "", text) for severity, text in (
        ("6", pid), ("6", "two"), ("6", ""), ("3", "bad"), ("6", "half"))]  # fmt: skip


def test_each_process_by_its_own_number(fake):
    """The kernel says which process wrote; its name is looked up then."""
    code = "import os, time; os.write(1, b'%d me\\n' % os.getpid()); time.sleep(3)"
    done = run("-p", "warn", "sh", "-c", f"echo $$ shell; {sys.executable} -c \"{code}\"; echo $$ again; exec sleep 0")
    assert done.returncode == 0, done.stderr
    records = fake.records()
    assert [text.split()[1] for text in fake.texts()] == ["shell", "me", "again"]
    assert all(severity == "4" and pid == text.split()[0] for severity, _, pid, *_, text in records)
    assert records[0][1] == "sh" and records[1][1].startswith("python3")


def test_another_user_is_named(fake):
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "echo", "hello")
    assert done.returncode == 0 and [r[3] for r in fake.records()] == [" uid 65534"]


def test_lines_of_many_processes_are_not_torn(fake):
    """Half lines of 8 processes at once, a byte at a time."""
    code = ("import os, sys\nfor n in range(40):\n"
            "    for c in f'{os.getpid()} line {n}\\n': os.write(1, c.encode())\n")  # fmt: skip
    script = f"for i in 1 2 3 4 5 6 7 8; do {sys.executable} -c \"$CODE\" & done; wait"
    done = run("sh", "-c", script, env={**os.environ, "CODE": code})
    assert done.returncode == 0, done.stderr
    by_pid = {}
    for _, _, pid, _, more, on, text in fake.records():
        assert (more, on) == ("", "") and text.split()[0] == pid
        by_pid.setdefault(pid, []).append(text.split()[2])
    assert len(by_pid) == 8 and all(lines == [str(n) for n in range(40)] for lines in by_pid.values())


@pytest.mark.parametrize("size", [1, 4028, 4029, 4030, 8058, 8059, 20000])
def test_long_lines_are_cut_and_marked(fake, size):
    code = f"import os; os.write(1, b'<2>' + b'x' * {size} + b'\\nnext\\n')"
    assert run(sys.executable, "-c", code).returncode == 0
    *pieces, last = fake.records()
    assert last[4:] == ("", "", "next") and last[0] == "6"
    assert "".join(piece[-1] for piece in pieces) == "x" * size
    assert all(piece[0] == "2" and len(piece[-1]) <= 4029 for piece in pieces)
    assert [piece[4] for piece in pieces] == [""] + ["+"] * (len(pieces) - 1)
    assert [piece[5] for piece in pieces] == [">"] * (len(pieces) - 1) + [""]
    assert len(pieces) == -(-(size + 3) // 4029)


def test_a_character_is_not_cut(fake):
    for offset in range(4):
        run(sys.executable, "-c", f"print('a' * {offset} + '漢🙂ü' * 1000)", env={**os.environ, "PYTHONUTF8": "1"})
    pieces = [r for r in fake.records() if r[-1]]  # each is decoded: UTF-8
    assert "".join(r[-1] for r in pieces) == "".join("a" * n + "漢🙂ü" * 1000 for n in range(4))


def test_nothing_is_lost_of_much(fake):
    done = run("seq", "1", "200000")
    assert done.returncode == 0 and fake.texts() == [str(n) for n in range(1, 200001)]


def test_half_a_line_is_recorded_after_a_second(fake):
    with subprocess.Popen([SANITIZED, "run", "-c", "my", "sh", "-c", "printf 'Password: '; read x; echo $x"],
                          stdin=subprocess.PIPE) as running:  # fmt: skip
        for _ in range(100):
            if fake.content:
                break
            time.sleep(0.1)
        assert re.fullmatch(rb"<6>sh\[\d+\]>: Password: ", fake.content)
        running.communicate(b"secret\n", timeout=60)
    assert [r[4:] for r in fake.records()] == [("", ">", "Password: "), ("+", "", "secret")]


@pytest.mark.parametrize("code", [0, 1, 3, 77, 255])
def test_the_exit_status_is_the_programs(fake, code):
    assert run("sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("name", ["TERM", "KILL", "ABRT", "PIPE"])
def test_it_ends_by_the_signal_that_ended_the_program(fake, name):
    done = run("sh", "-c", f"echo before; kill -{name} $$")
    assert done.returncode == -getattr(signal, f"SIG{name}") and fake.texts() == ["before"]


def test_what_cannot_be_run(fake, tmp_path):
    (tmp_path / "file").write_text("x")
    for program, status, says in (("/no/such", 127, "No such file"), (tmp_path / "file", 126, "Permission denied")):
        done = run("--", str(program))
        assert (done.returncode, done.stderr.count("\n")) == (status, 1)
        assert f"flightrec: {program}: {says}" in done.stderr


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "WINCH"])
def test_signals_are_passed_on(fake, name):
    number = getattr(signal, f"SIG{name}")
    script = f"trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
    # A shell cannot trap what it inherits as ignored: SIGINT is, where the tests run in the background.
    with subprocess.Popen([SANITIZED, "run", "-c", "my", "bash", "-c", script],
                          preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as running:  # fmt: skip
        while b"ready" not in fake.content:
            time.sleep(0.01)
        running.send_signal(number)
        try:
            assert running.wait(60) == 5
        finally:
            running.kill()
    assert fake.texts() == ["ready", f"got {name}"]


def test_what_the_program_leaves_running_is_recorded_too(fake):
    """It does not keep the end from being seen."""
    before = time.monotonic()
    done = subprocess.run([SANITIZED, "run", "-c", "my", "sh", "-c", "(sleep 3; echo late) & echo early; exit 4"])
    assert done.returncode == 4 and time.monotonic() - before < 2.5
    for _ in range(200):
        if b"late" in fake.content:
            break
        time.sleep(0.1)
    assert fake.texts() == ["early", "late"]


def test_a_program_that_closes_its_output(fake):
    assert run("sh", "-c", "echo last; exec >&- 2>&-; sleep 0.3; exit 9").returncode == 9
    assert fake.texts() == ["last"]


def test_the_writer_is_called_as_the_program(fake):
    """The name in the stamp is that of flightrec itself: seen in /proc while it runs."""
    for tag, name in (([], "sleep"), (["-t", "backup"], "backup")):
        with subprocess.Popen([SANITIZED, "run", "-c", "my", *tag, "/bin/sleep", "0.5"]) as running:
            time.sleep(0.3)
            with open(f"/proc/{running.pid}/comm") as comm:
                assert comm.read() == name + "\n"
    assert run("-t", "x" * 16, "true").returncode == 2


def test_names_cannot_be_forged(fake, tmp_path):
    """A process may call itself anything."""
    code = ("import ctypes, os; ctypes.CDLL(None).prctl(15, b'a[1]: <0>\\n\\xff b'); os.write(1, b'x\\n')")  # fmt: skip
    assert run(sys.executable, "-c", code).returncode == 0
    assert [r[1] for r in fake.records()] == ["a_1____0____b"]


def test_without_the_channel_the_program_runs_and_nothing_is_lost():
    build()
    done = run("sh", "-c", "echo one; echo two >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "")
    first, *rest = done.stderr.splitlines()
    assert "channel my: " in first and "is not recorded and comes here" in first
    assert rest == ["one", "two", "flightrec: channel my: 2 lines were not recorded, but printed here"]


def test_wrong_usage():
    build()
    for arguments in (["-c", "../x", "true"], ["-p", "loud", "true"], ["-x", "true"], []):
        done = subprocess.run([SANITIZED, "run", *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_what_the_driver_refuses_is_printed():
    build()
    (NODES / "my").symlink_to("/dev/full")
    try:
        done = run("sh", "-c", "echo one; echo two")
    finally:
        (NODES / "my").unlink()
    assert done.returncode == 0 and done.stderr.splitlines()[1:3] == ["one", "two"]
    assert "No space left on device" in done.stderr


def over_quota(when):
    """flightrec run, whose records are over the quota at the WHEN-th tries."""
    return ["strace", "-qq", "-o", "/dev/null", "-e", "trace=writev", "-e", f"inject=writev:error=EDQUOT:when={when}",
            PLAIN, "run", "-c", "my"]  # fmt: skip


def test_over_the_quota_is_tried_again(fake):
    done = subprocess.run([*over_quota("2..4"), "seq", "5"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and fake.texts() == list("12345")


def test_signals_get_through_while_over_the_quota(fake):
    """Ten lines would be tried for ten seconds."""
    told, tell = os.pipe()
    script = f"trap 'echo got >&{tell}; exit 5' TERM; seq 10; echo ready >&{tell}; while :; do sleep 0.05; done"
    with subprocess.Popen([*over_quota("1+"), "bash", "-c", script], pass_fds=[tell],
                          stderr=subprocess.PIPE, text=True) as running:  # fmt: skip
        os.close(tell)
        assert os.read(told, 6) == b"ready\n"
        with open(f"/proc/{running.pid}/task/{running.pid}/children") as children:
            os.kill(int(children.read()), signal.SIGTERM)
        before = time.monotonic()
        assert os.read(told, 4) == b"got\n" and time.monotonic() - before < 3
        os.close(told)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 5 and errors.splitlines()[1:11] == [str(n) for n in range(1, 11)]
    assert fake.texts() == []


def test_an_idle_program_does_not_hold_the_driver(fake):
    with subprocess.Popen([SANITIZED, "run", "-c", "my", "sh", "-c", "echo x; sleep 4; echo y"]) as running:
        while b"x" not in fake.content:
            time.sleep(0.01)
        held = lambda: str(NODES / "my") in {  # noqa: E731
            os.readlink(f"/proc/{running.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{running.pid}/fd")}  # fmt: skip
        assert held()
        for _ in range(30):
            if not held():
                break
            time.sleep(0.1)
        assert not held()
        assert running.wait(60) == 0
    assert fake.texts() == ["x", "y"]
