# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec(1) without the driver: files stand for channels, valgrind watches."""

import json
import os
import pty
import re
import shutil
import subprocess
import time

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import NODES, OUT, PROC, SANITIZED, STRICT, TOP, build, flightrec, payload

COMMANDS = ["write", "run", "read", "channel", "stats", "recover", "collect", "save", "boots", "report"]


@pytest.fixture
def stats():
    build()
    PROC.mkdir(parents=True, exist_ok=True)
    (PROC / "stats").write_text(
        "channel=default size_kb=1024 records=1234567 bytes=99 retained=400 overwritten=1234167 "
        "cleared=0 rejected_size=3 rejected_fault=0 rejected_quota=12 readers=1 wakeups=2 "
        "oldest_age_ms=7384000\n"
        "channel=kernel size_kb=256 records=0 bytes=0 retained=0 overwritten=0 cleared=0 "
        "rejected_size=0 readers=0 wakeups=0 oldest_age_ms=0\n"
        "events_requests=1 events_request_failures=0\n"
    )
    yield
    shutil.rmtree(PROC)


def on_terminal(*arguments, env=None):
    """What the program prints on a terminal of 80 columns."""
    build()
    control, terminal = pty.openpty()
    with subprocess.Popen([SANITIZED, *arguments], stdout=terminal, stderr=terminal,
                          env={**os.environ, "TERM": "xterm", "TZ": "UTC", **(env or {})}):  # fmt: skip
        os.close(terminal)
        out = b""
        while True:
            try:
                part = os.read(control, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            out += part
    os.close(control)
    return out.decode()


RECORDS = [
    crash.Record(b"all is well\n", seq=1, wall_ns=10**18, severity=6),
    crash.Record(b"disk full", seq=2, wall_ns=10**18 + 1500, severity=3),
    crash.Record(b"eth0 up", seq=3, wall_ns=10**18, severity=5, origin=1),
    crash.Record(b"tick", seq=4, wall_ns=10**18, severity=7, origin=1, flags=1, comm=b""),
]


def test_read_for_people(channel):
    channel(RECORDS)
    done = flightrec("read", valgrind=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "2001-09-09 01:46:40.000000 info    writer[40]: all is well\n"
        "2001-09-09 01:46:40.000001 err     writer[40]: disk full\n"
        "2001-09-09 01:46:40.000000 notice  writer[40]: eth0 up\n"
        "2001-09-09 01:46:40.000000 debug   [interrupt]: tick\n"
    )


def test_read_json(channel):
    channel(crash.records(600), "other")
    done = flightrec("read", "-c", "other", "--json", valgrind=True)
    # The file's end falls into a read: a channel never delivers half a record.
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 200 and {line["channel"] for line in lines} == {"other"}
    assert [payload(line) for line in lines] == [r.payload for r in crash.records(len(lines))]


def test_json_is_escaped_as_everybody_does(channel):
    """To the byte: a line is what another program makes of its members."""
    each = [bytes([byte]) for byte in range(256)]
    around = [head + byte + tail for byte in (*each[:32], b'"', b"\\", b"\x7f", "ü".encode(), b"\xc3")
              for head in (b"", b"seven..", b"eight...") for tail in (b"", b"and eight more")]  # fmt: skip
    texts = [*each, *around, b"\x01" * 4096, b"\xff" * 4096, "🙂".encode() * 1024, b""]
    for some in (texts[:300], texts[300:]):
        channel([crash.Record(text, seq=n, comm=b"a\n\"b") for n, text in enumerate(some, start=1)])
        lines = flightrec("read", "--json").stdout.splitlines()
        assert [payload(json.loads(line)) for line in lines] == some
        for line in lines:
            assert json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":")) == line


def test_json_has_what_the_manual_says(channel):
    channel(RECORDS)
    line = json.loads(flightrec("read", "--json").stdout.splitlines()[0])
    manual = (TOP / "man/flightrec.1").read_text()
    section = manual[manual.index(".SH JSON") : manual.index(".B recover\nhas in addition")]
    documented = re.findall(r"^\.TP\n\.BR? (.*)$", section, re.M)
    names = set(re.findall(r"[a-z_]+", " ".join(documented).replace('"', " "))) - {"or"}
    assert set(line) == names - {"payload_hex"}


def test_colours_on_a_terminal_only(channel):
    channel(RECORDS)
    text = on_terminal("read")
    lines = text.splitlines()
    assert "\033[31merr    \033[0m" in lines[1]
    assert "\033[36mwriter[40]\033[0m" in lines[2]
    assert "\033" not in on_terminal("read", env={"NO_COLOR": "1"})
    assert "\033" not in on_terminal("read", env={"TERM": "dumb"})
    assert "\033" not in flightrec("read").stdout


def test_relative_times_on_a_terminal(channel):
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    ages = [0, 15, 185, 7400]
    channel([crash.Record(b"x", seq=n + 1, boot_ns=max(now - age * 10**9, 0))
             for n, age in enumerate(ages)])  # fmt: skip
    lines = on_terminal("read", env={"NO_COLOR": "1"}).splitlines()
    assert re.fullmatch(r"  0\.\ds info    writer\[40\]: x|  \ds info .*", lines[0])
    assert re.match(r"   1[5-9]s info ", lines[1])
    assert re.match(r" 3m0[5-9]s info ", lines[2])
    assert all(len(line) <= 80 for line in lines)
    assert flightrec("read", "--time", "boot").stdout.splitlines()[0].startswith(str(now)[:-9].rjust(6))


def test_losses_are_a_line(channel):
    path = channel(RECORDS[:1])
    content = bytearray(path.read_bytes())
    content[8] = 7
    path.write_bytes(content)
    assert flightrec("read").stdout.startswith("# lost 7 records\n2001")


def test_write_words_and_lines(channel):
    path = channel()
    assert flightrec("write", "-p", "err", "two", "words", valgrind=True).returncode == 0
    assert path.read_bytes() == b"<3>two words"
    path.write_bytes(b"")
    done = flightrec("write", input="one\n\nthree\nno end", valgrind=True)
    # A file has no records: each line was one write.
    assert (done.returncode, path.read_bytes()) == (0, b"one\nthreeno end")


def test_a_long_line_takes_no_memory_and_costs_no_other(channel):
    channel()
    done = flightrec("write", input="before\n" + "x" * 5_000_000 + "\nafter\n")
    assert done.returncode == 1 and "5000000 bytes is too long" in done.stderr


def test_stats(stats):
    done = flightrec("stats", valgrind=True)
    assert (done.returncode, done.stderr) == (0, "")
    head, default, refused, kernel = done.stdout.splitlines()
    assert head.split() == "CHANNEL SIZE RECORDS KEPT OVERWRITTEN REFUSED READERS OLDEST".split()
    assert default.split() == "default 1M 1.2M 400 1.2M 15 1 2h03m".split()
    assert refused == "  refused: size 3, quota 12"
    assert kernel.split()[-1] == "-"
    text = (PROC / "stats").read_text()
    (PROC / "stats").write_text(text.replace("failures=0", "failures=3"))
    assert flightrec("stats").stdout.endswith("\nevents_request_failures=3: see the kernel's log\n")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_stats_leaves_out_the_smoke_tests_and_names_strays(stats):
    text = (PROC / "stats").read_text()
    (PROC / "stats").write_text(text.replace("channel=kernel", "channel=selftest"))
    (NODES / "ty\x1bpo").write_text("lost")
    try:
        done = flightrec("stats")
        assert "selftest" not in done.stdout and "selftest" in flightrec("stats", "-a").stdout
        assert "/ty\\x1bpo is a file of 4 bytes, not a channel" in done.stderr
    finally:
        (NODES / "ty\x1bpo").unlink()


def test_a_refusal_is_said_once(channel):
    channel()
    with open("/dev/full", "w"):
        (NODES / "default").unlink()
        (NODES / "default").symlink_to("/dev/full")
        done = flightrec("write", input="x\n" * 500)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "flightrec: not recorded: No space left on device",
        "flightrec: 500 lines were not recorded: No space left on device",
    ]


@pytest.mark.parametrize("arguments,says", [
    (["write", "-c", "kernel", "x"], "channel kernel: only the kernel writes to it"),
    (["write", "x"], "permission denied: writing needs the group flightrec-write"),
    (["read"], "permission denied: reading needs the group flightrec\n"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")  # fmt: skip
def test_no_permission_says_what_helps(channel, tmp_path, arguments, says):
    for name in ("default", "kernel"):
        channel([], name).chmod(0)
    # As a user who may look for the nodes, and run the program.
    code = f"""
import os, sys
fd = os.open({str(SANITIZED)!r}, os.O_RDONLY)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.execve(fd, {["flightrec", *arguments]!r}, {{"LC_ALL": "C.UTF-8"}})
"""
    done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True)
    assert done.returncode == 3 and says in done.stderr, done.stderr


def test_stats_json(stats):
    lines = [json.loads(line) for line in flightrec("stats", "--json").stdout.splitlines()]
    assert [line["channel"] for line in lines] == ["default", "kernel"]
    assert lines[0]["records"] == 1234567


def test_stats_as_metrics(stats):
    text = (PROC / "stats").read_text()
    (PROC / "stats").write_text(text + text.splitlines()[1].replace("=kernel", "=selftest") + "\n")
    done = flightrec("stats", "--metrics", valgrind=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith("# ")]
    assert lines == [
        'flightrec_records_total{channel="default"} 1234567', 'flightrec_records_total{channel="kernel"} 0',
        'flightrec_overwritten_total{channel="default"} 1234167', 'flightrec_overwritten_total{channel="kernel"} 0',
        'flightrec_rejected_total{channel="default"} 15', 'flightrec_rejected_total{channel="kernel"} 0']  # fmt: skip
    assert flightrec("stats", "--metrics", "--json").returncode == 2


@pytest.mark.parametrize("interval", [["--watch"], ["-w", "1"], ["-w1"]], ids=" ".join)
def test_stats_again_and_again(stats, interval):
    build()
    command = [SANITIZED, "stats", "--json", *interval]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        first = json.loads(watch.stdout.readline())
        kernel = watch.stdout.readline()
        second = json.loads(watch.stdout.readline())
        watch.stdout.close()  # nobody listens any more: no error
        assert watch.wait(10) == 0
    assert first == second and '"kernel"' in kernel


def test_without_the_driver():
    build()
    for arguments in (["read"], ["write", "x"], ["stats"]):
        done = flightrec(*arguments)
        assert done.returncode == 3 and "modprobe flightrec" in done.stderr


def test_no_such_channel_no_permission(channel):
    path = channel()
    done = flightrec("read", "-c", "nowhere")
    assert done.returncode == 3 and "there is no such channel" in done.stderr
    path.chmod(0)
    build()
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", SANITIZED, "read"]
    done = subprocess.run(command, capture_output=True, text=True)
    # Root's files may be out of reach before that.
    assert done.returncode in (3, 126, 127)
    if done.returncode == 3:
        assert "permission denied" in done.stderr or "not loaded" in done.stderr


@pytest.mark.parametrize("command", [["write", "lost"], ["read"], ["read", "-f"]], ids=" ".join)
@pytest.mark.parametrize("kind", ["file", "null"])
def test_what_is_no_channel_is_refused(channel, command, kind):
    """Written into a stray file, or another device, an event is lost."""
    path = channel([], "typo")
    if kind == "null":
        path.unlink()
        path.symlink_to("/dev/null")
    done = subprocess.run([STRICT, *command, "-c", "typo"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "channel typo: not a channel of the recorder" in done.stderr
    assert kind == "null" or not path.read_bytes()


def test_two_channels_are_not_one(channel):
    channel(RECORDS)
    for command in ("write", "recover"):
        done = flightrec(command, "-c", "default", "-c", "other", "x")
        assert done.returncode == 2 and "two channels, 'default' and 'other'" in done.stderr


@pytest.mark.parametrize("arguments,says", [
    (["read", "x"], "unexpected argument 'x': a channel is \"-c x\""), (["stats", "x"], "unexpected argument 'x'"),
    (["read", "--foo"], "unknown option '--foo'"), (["write", "-x"], "unknown option '-x'"),
    (["read", "--json", "-xf"], "unknown option '-x'"), (["stats", "--foo=1"], "unknown option '--foo=1'"),
    (["read", "--json=1"], "option '--json=1' takes no value"), (["read", "-c"], "option '-c' needs a value"),
    (["recover", "--boot"], "option '--boot' needs a value"), (["frob"], "unknown command 'frob'"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")  # fmt: skip
def test_wrong_usage_in_one_line(arguments, says):
    done = flightrec(*arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"flightrec: {says}; see ") or says.startswith("unknown command")
    assert says in done.stderr


@pytest.mark.parametrize("arguments, step", [
    (["read", "-t", "nginx"], "a writer's name or tag is \"--comm nginx\""),
    (["write", "-p", "9", "x"], "0 to 7, or a name"), (["run", "-p", "bad", "true"], "0 to 7, or a name"),
    (["report"], "flightrec collect, run at boot"),
], ids=lambda v: v[0] if isinstance(v, list) else "")  # fmt: skip
def test_what_is_wrong_has_a_next_step(arguments, step):
    shutil.rmtree(OUT / "root/state", ignore_errors=True)
    done = flightrec(*arguments)
    assert done.returncode in (1, 2) and done.stderr.count("\n") == 1 and step in done.stderr


@pytest.mark.parametrize("name,digit", [("error", 3), ("warn", 4), ("panic", 0), ("CRITICAL", 2)])
def test_severities_have_their_other_names(channel, name, digit):
    path = channel()
    assert flightrec("write", "-p", name, "x").returncode == 0
    assert path.read_bytes() == b"<%d>x" % digit


def test_backslashes_and_slashes_are_readable(channel):
    text = r'{"path":"C:\a/b"}'
    channel([crash.Record(text.encode(), seq=1)])
    assert flightrec("read").stdout.endswith(text + "\n")
    line = flightrec("read", "--json").stdout
    assert json.loads(line)["text"] == text and "\\/" not in line


def test_a_closed_pipe_is_no_error(channel):
    channel(crash.records(500))
    with subprocess.Popen([SANITIZED, "read"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        p.stdout.close()
        assert p.wait(20) == 0 and not p.stderr.read()


def test_a_full_disk_is_said(channel):
    channel(RECORDS)
    for command in (["read"], ["read", "--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([SANITIZED, *command], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "No space left on device" in done.stderr


def test_help_without_dashes():
    assert flightrec("help").stdout == flightrec("--help").stdout
    assert flightrec("help", "read").stdout == flightrec("read", "--help").stdout
    assert flightrec("help", "frob").returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    done = flightrec(command, "--help", valgrind=True)
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: flightrec {command} ")
    assert all(len(line) <= 83 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["frobnicate"], ["write", "-p", "loud", "x"], ["read", "-n", "few"], ["read", "surplus"],
        ["read", "--since", "yesteryear"], ["read", "-f", "-r"], ["read", "-a", "-c", "default"],
        ["read", "-f", "--until", "5m"], ["read", "-o", "xml"], ["read", "-g", "("],
        ["read", "-p", "err.."], ["read", "--pid", "x"], ["read", "--uid", "no-such-user"],
        ["read", "-n1", "--cursor-file", "x"], ["read", "--since", "5m", "--until", "1h"],
        ["write", "-t", "x" * 16, "x"], ["write", "-t", "", "x"],
        ["read", "--time", "lunar"], ["read", "-c", "../kmsg"], ["stats", "x"], ["stats", "-w0"],
        ["recover", "--time", "relative", "x"], ["read", "--frobnicate"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage(arguments):
    done = flightrec(*arguments)
    assert done.returncode == 2 and done.stderr and not done.stdout


@pytest.mark.parametrize(
    "when", ["90s", "5m", "2h", "3d", "14:30", "14:30:05", "2026-01-31", "2026-01-31 14:30:05",
             "@1700000000"]  # fmt: skip
)
def test_times_that_since_takes(channel, when):
    channel(RECORDS)
    done = flightrec("read", "--since", when)
    # It got as far as the driver, which a file is not.
    assert done.returncode == 1 and "not a channel of the recorder" in done.stderr


def completions(*words):
    """What bash would offer for the last of WORDS."""
    script = f"""
        . {TOP}/tools/flightrec.bash
        compopt() {{ :; }}
        COMP_WORDS=(flightrec {' '.join(repr(w) for w in words)})
        COMP_CWORD={len(words)}
        _flightrec
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout.split()


def test_completion():
    assert set(completions("")) >= set(COMMANDS)
    assert completions("rec") == ["recover"]
    assert completions("write", "-p", "war") == ["warning"]
    for command in COMMANDS:
        usage = flightrec(command, "--help").stdout
        offered = completions(command, "--")
        assert set(offered) == set(re.findall(r"^  (?:-., |    )(--[a-z-]+)", usage, re.M))


def test_fuzz_programs_have_seeds():
    fuzzers = {path.stem for path in (TOP / "tests/unit/lib").glob("fuzz_*.c")}
    assert fuzzers == {p.name for p in (TOP / "tests/unit/lib/seeds").iterdir()} and OUT.is_dir()
