# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec read: channels in one timeline, filters, forms, times; without the driver."""

import datetime
import json
import os
import re
import subprocess
import time

import pytest

from tests.lib.syslogng import syslog_ng
from tests.unit.lib import crashdata as crash
from tests.unit.lib.crashdata import delivered
from tests.unit.lib.tools import NODES, OUT, PLAIN, TOP, build, flightrec

SECOND = 10**9
WALL = 1_000_000_000 * SECOND


def at(seconds, text, seq, **settings):
    """A record of SECONDS after the boot."""
    ns = int(seconds * SECOND)
    return crash.Record(text.encode() if isinstance(text, str) else text, seq=seq, boot_ns=ns,
                        wall_ns=WALL + ns, **settings)  # fmt: skip


def lose(path, record_number, count):
    """Say that COUNT records were lost before a record in the file of a channel."""
    content = bytearray(path.read_bytes())
    offset = 0
    for _ in range(record_number):
        offset += int.from_bytes(content[offset : offset + 4], "little")
    content[offset + 8] = count
    path.write_bytes(content)


def texts(done):
    assert done.returncode == 0, done.stderr
    return re.sub(r"^.*\]: ", "", done.stdout, flags=re.M).splitlines()


@pytest.fixture
def two(channel):
    """Two channels that take turns; the second one has lost records in the middle."""
    channel([at(1, "a1", 1), at(4, "a2", 2, severity=3, uid=7), at(6, "a3 Disk", 3, severity=4)], "one")
    path = channel([at(2, "b1", 1, comm=b"other"), at(3, "b2", 2, severity=7), at(5, "b3", 10)], "two")
    lose(path, 2, 7)
    return ["read", "-c", "one", "-c", "two"]


def test_channels_are_merged_by_time(two):
    done = flightrec(*two, valgrind=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "2001-09-09 01:46:41.000000 one info    writer[40]: a1\n"
        "2001-09-09 01:46:42.000000 two info    other[40]: b1\n"
        "2001-09-09 01:46:43.000000 two debug   writer[40]: b2\n"
        "2001-09-09 01:46:44.000000 one err     writer[40]: a2\n"
        "# lost 7 records of channel two\n"
        "2001-09-09 01:46:45.000000 two info    writer[40]: b3\n"
        "2001-09-09 01:46:46.000000 one warning writer[40]: a3 Disk\n"
    )


def test_a_channel_that_is_named_twice_is_read_once(two):
    assert texts(flightrec(*two, "-c", "one")) == texts(flightrec(*two))


def test_newest_first(two):
    done = flightrec(*two, "-r", valgrind=True)
    forward = texts(flightrec(*two))
    assert (done.returncode, done.stderr) == (0, "")
    # What is lost before a record comes after it when time runs backwards.
    assert texts(done) == [*forward[-1::-1][:1], "b3", "# lost 7 records of channel two", *forward[3::-1]]


@pytest.mark.parametrize("options,expected", [
    (["-n", "all", "-p", "3"], ["a2", "# lost 7 records of channel two"]),
    (["-n", "1", "-p", "err"], ["a2", "# lost 7 records of channel two"]),
    (["-r", "-n", "1", "-p", "debug"], ["a3 Disk"]),
    (["-r", "-n", "2", "-p", "debug..info"], ["b3", "# lost 7 records of channel two", "b2"]),
    (["-p", "warning..err"], ["a2", "# lost 7 records of channel two", "a3 Disk"]),
    (["-p", "debug..debug"], ["b2", "# lost 7 records of channel two"]),
    (["-g", "disk"], ["# lost 7 records of channel two", "a3 Disk"]),
    (["-g", "DISK"], ["# lost 7 records of channel two"]),
    (["-g", "DISK", "--case-sensitive=no"], ["# lost 7 records of channel two", "a3 Disk"]),
    (["-g", r"^b[12]$|\d D"], ["b1", "b2", "# lost 7 records of channel two", "a3 Disk"]),
    (["--uid", "7"], ["a2", "# lost 7 records of channel two"]),
    (["--uid", "root"], ["# lost 7 records of channel two"]),
    (["--comm", "other", "--comm", "nobody"], ["b1", "# lost 7 records of channel two"]),
    (["--pid", "40", "--comm", "other"], ["b1", "# lost 7 records of channel two"]),
    (["--pid", "41", "-g", "a1"], ["a1", "# lost 7 records of channel two"]),
    (["--pid", "39"], ["# lost 7 records of channel two"]),
], ids=lambda v: " ".join(v) if v and v[0].startswith("-") else "")  # fmt: skip
def test_filters_and_each_loss_all_the_same(two, options, expected):
    """Without a filter the driver finds the newest by their number: tests/guest/timeline.sh."""
    assert texts(flightrec(*two, *options)) == expected


def test_filters_leave_no_memory_behind(two):
    options = ["-g", "a|b", "--field", "a=b", "--field", "a=c", "--uid", "0", "--pid", "40", "--comm", "writer", "-r", "-n", "3"]
    assert flightrec(*two, *options, valgrind=True).returncode == 0


@pytest.mark.parametrize("fields, expected", [
    (["disk=sda"], [1, 2, 9]),
    (["disk=sda", "disk=sdb"], [1, 2, 3, 9]),
    (["disk=sda", "errors=3"], [2]),
    (["full=true"], [3]),
    (["nothing=null"], [3]),
    (["at.cpu=7"], [4, 5]),
    (["at={"], []),
    (["text=ü=\"\n"], [6]),
    (["disk="], [10]),
    (["disk=sd"], []),
    (['paths=["/a"]'], [17]),
], ids=str)  # fmt: skip
def test_fields_of_json(channel, fields, expected):
    texts_ = ['{"disk":"sda"}', '{"disk":"sda","errors":3}\n', '{"disk":"sdb","full":true,"nothing":null}',
              '{"at":{"cpu":7}}', '{"at.cpu":7}', '{"text":"ü=\\"\\n"}', "disk=sda", '{"disk":"sda"',
              '{"disk":"sda"} \n', '{"disk":""}', '{"disk":"sda"} {}', '["disk"]', b'{"disk":"sda\0"}',
              '{"a":' * 400 + "1" + "}" * 400, b'{"disk":"sd\xff"}', "{}", '{"paths": ["/a"]}']  # fmt: skip
    channel([at(n, text, n) for n, text in enumerate(texts_, start=1)])
    options = [option for field in fields for option in ("--field", field)]
    done = flightrec("read", "-o", "json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == expected


def test_what_is_no_field(channel):
    channel([])
    for value in ("disk", "=sda", ""):
        done = flightrec("read", "--field", value)
        assert done.returncode == 2 and done.stderr == f'flightrec: "{value}" is not a field: NAME=VALUE\n'


def test_json_carries_a_loss_to_the_next_line(two):
    lines = [json.loads(line) for line in flightrec(*two, "-o", "json", "-g", "a3|b").stdout.splitlines()]
    assert [(line["channel"], line["lost"]) for line in lines] == [
        ("two", 0), ("two", 0), ("two", 7), ("one", 0)]  # fmt: skip
    done = flightrec(*two, "--json", "-g", "b1")
    assert done.returncode == 0 and "channel two: 7 records were lost after the last one" in done.stderr


def test_cat_is_the_text_alone(two):
    assert flightrec(*two, "-o", "cat", "-g", "a").stdout == "a1\na2\na3 Disk\n"


def test_iso_has_the_offset(two):
    done = flightrec(*two, "-o", "iso", "-g", "a1", env={"TZ": "Asia/Kolkata"})
    assert done.stdout.startswith("2001-09-09T07:16:41.000000+05:30 one ")
    assert flightrec(*two, "-o", "short-iso", "-g", "a1", env={"TZ": "Asia/Kolkata"}).stdout == done.stdout
    done = flightrec(*two, "-o", "iso", "--utc", "-g", "a1", env={"TZ": "Asia/Kolkata"})
    assert done.stdout.startswith("2001-09-09T01:46:41.000000+00:00 one ")
    parsed = datetime.datetime.fromisoformat(done.stdout.split()[0])
    assert parsed.timestamp() == WALL / SECOND + 1


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
@pytest.mark.parametrize("text,seen", [
    ("Größe 漢字 🙂", "Größe 漢字 🙂"), ("a\tb\x1b[31m\x7f", r"a\x09b\x1b[31m\x7f"),
    ("\x9b31m", r"\xc2\x9b31m"), ("txt\u202egpj", r"txt\xe2\x80\xaegpj"),
    ("\u2028\u200b\ufeff", r"\xe2\x80\xa8\xe2\x80\x8b\xef\xbb\xbf"), (b"\xff\xc3(\xe2\x82", r"\xff\xc3(\xe2\x82"),
    (b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf", r"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf"),
    (r"C:\x", r"C:\x"), ("two\nlines\n", r"two\x0alines"),
], ids=repr)  # fmt: skip
def test_text_in_any_locale(channel, text, seen, locale):
    channel([at(1, text, 1)])
    done = flightrec("read", env={"LC_ALL": locale})
    assert done.stdout.split("]: ", 1)[1] == seen + "\n"


def test_a_pattern_and_bytes_that_are_no_text(channel):
    channel([at(1, b"\xff\xfe disk \x80", 1), at(2, b"\0" * 4096, 2), at(3, "a" * 4000 + "b", 3)])
    assert len(texts(flightrec("read", "-g", "disk", valgrind=True))) == 1
    # A pattern that would need for ever on this is given up, and the line is shown.
    assert flightrec("read", "-g", "(a+)+$").returncode == 0


def moments():
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    midnight = now.replace(hour=0, minute=0, second=0)
    day = datetime.timedelta(days=1)
    words = {
        "now": now, "today": midnight, "yesterday": midnight - day, "5m": now - 5 * day / 1440,
        "1h30m": now - 1.5 * day / 24, "1h 30min ago": now - 1.5 * day / 24, "-2h": now - day / 12,
        "90s": now - 90 * day / 86400, "1.5h": now - 1.5 * day / 24, "2 weeks ago": now - 14 * day,
        "3d": now - 3 * day, "1M": now - datetime.timedelta(seconds=2629800),
    }  # fmt: skip
    fixed = datetime.datetime(2026, 11, 27, 10, 0, tzinfo=datetime.timezone.utc)
    for text in ("2026-11-27 10:00", "2026-11-27 10:00:00", "2026-11-27T10:00:00Z", "2026-11-27T10:00Z",
                 "2026-11-27 10:00 UTC", "Fri 2026-11-27 10:00", "Friday, 2026-11-27 10:00:00.000",
                 "2026-11-27T11:30:00+01:30", "2026-11-27 05:00 America/New_York", "26-11-27 10:00",
                 f"@{int(fixed.timestamp())}", f"@{int(fixed.timestamp())}.0"):  # fmt: skip
        words[text] = fixed
    words["2026-11-27"] = fixed.replace(hour=0)
    words["10:00:05"] = midnight + datetime.timedelta(hours=10, seconds=5)
    words["09:30"] = midnight + datetime.timedelta(hours=9, minutes=30)
    return words


@pytest.mark.parametrize("when", sorted(moments()))
def test_times_as_systemd_has_them(when):
    build()
    before = moments()[when].timestamp()
    done = subprocess.run([OUT / "test_times", when], capture_output=True, text=True,
                          env={**os.environ, "TZ": "UTC"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert -1 <= int(done.stdout) / SECOND - before < 30


@pytest.mark.parametrize("when", [
    "", "yesteryear", "5", "5x", "1h30", "-", "@", "@1e5", "2026-13-01", "Mon 2026-11-27", "14:60", "10:00 Mars/Base",
    "10:00 ../../etc/passwd", "2026-11-27T", "9999999999999y", "5m left over", "1h -1h", "2026-11-27 10:00 +99:00",
])  # fmt: skip
def test_what_is_no_time(when):
    done = flightrec("read", "--since", when)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_many_records_keep_their_order(channel):
    """Through the temporary file, both ways, with equal times as well."""
    records = {f"c{n}": [at(i // 3 * 0.001, f"c{n} {i}", i + 1) for i in range(200)] for n in range(5)}
    for name, list_ in records.items():
        channel(list_, name)
    command = ["read", *(word for name in records for word in ("-c", name)), "-o", "json"]
    lines = [json.loads(line) for line in flightrec(*command).stdout.splitlines()]
    back = [json.loads(line) for line in flightrec(*command, "-r").stdout.splitlines()]
    assert len(lines) == 1000 and lines == sorted(lines, key=lambda line: line["boot_ns"])
    assert sorted(map(str, lines)) == sorted(map(str, back))
    for name in records:
        seqs = [line["seq"] for line in lines if line["channel"] == name]
        assert seqs == list(range(1, 201))
        assert [line["seq"] for line in back if line["channel"] == name] == seqs[::-1]
    assert flightrec(*command, "-r", "-n", "7", "-p", "debug").stdout.splitlines() == flightrec(
        *command, "-r").stdout.splitlines()[:7]  # fmt: skip


def test_a_temporary_file_that_cannot_be_made_is_no_obstacle(two):
    assert texts(flightrec(*two, "-r", env={"TMPDIR": "/no/such/directory"}))


# ---- onwards


@pytest.fixture
def shipped(channel):
    channel([at(1, "plain", 1, severity=3), at(2, "two\nlines", 2), at(3, b"\xff\0 bytes", 3),
             at(4, "interrupt", 4, origin=1, flags=1, comm=b"")])  # fmt: skip


def test_the_journal_takes_the_export(shipped, tmp_path):
    remote = "/lib/systemd/systemd-journal-remote"
    made = flightrec("read", "-o", "export", text=False).stdout
    journal = tmp_path / "flightrec.journal"
    done = subprocess.run([remote, "-o", journal, "-"], input=made, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(["journalctl", f"--file={journal}", "-o", "json", "--all"], capture_output=True,
                            check=True, text=True).stdout  # fmt: skip
    lines = [json.loads(line) for line in listed.splitlines()]
    assert [line["MESSAGE"] for line in lines] == ["plain", "two\nlines", list(b"\xff\0 bytes"), "interrupt"]
    first = lines[0]
    assert (first["PRIORITY"], first["_COMM"], first["_PID"], first["_UID"]) == ("3", "writer", "40", "1000")
    assert first["__REALTIME_TIMESTAMP"] == str(WALL // 1000 + 10**6)
    assert [line["FLIGHTREC_SEQ"] for line in lines] == ["1", "2", "3", "4"]
    assert lines[3]["FLIGHTREC_ORIGIN"] == "interrupt" and "_PID" not in lines[3]


def test_rsyslog_takes_the_json(channel, tmp_path):
    """The configuration as it is printed but for its paths, over a restart of rsyslogd."""
    events = [at(n, f'event {n} "quoted" \\\\ ü', n, severity=n % 8) for n in range(1, 301)]
    config = (TOP / "docs/ship/rsyslog.conf").read_text().replace("/var/log/", f"{tmp_path}/")
    (tmp_path / "conf").write_text(f'global(workDirectory="{tmp_path}" maxMessageSize="64k")\n{config}')
    log = tmp_path / "flightrec.log"
    for part in (events[:150], events[150:]):
        channel(part)
        with open(tmp_path / "flightrec.json", "a") as out:
            out.write(flightrec("read", "-o", "json").stdout)
        with subprocess.Popen(["rsyslogd", "-n", "-f", tmp_path / "conf", "-i", tmp_path / "pid"]) as daemon:
            for _ in range(600):
                if log.exists() and len(log.read_text().splitlines()) >= part[-1].seq:
                    break
                time.sleep(0.1)
            daemon.terminate()  # it saves its place; killed, it would send some again
    lines = log.read_text().splitlines()
    assert [int(re.search(r"seq=(\d+) lost=0 ", line)[1]) for line in lines] == list(range(1, 301))
    assert lines[0].endswith('flightrec/default seq=1 lost=0 severity=1 writer[40]: event 1 "quoted" \\\\ ü')


def test_syslog_ng_takes_the_json(channel, tmp_path):
    """The configuration as it is printed but for its paths, over a restart."""
    events = [at(n, f'event {n} "quoted" \\\\ ü', n, severity=n % 8) for n in range(1, 299)]
    events += [at(299, "two\nlines", 299), at(300, b"\xff\0", 300)]
    config = (TOP / "docs/ship/syslog-ng.conf").read_text().replace("/var/log/", f"{tmp_path}/")
    (tmp_path / "conf").write_text(f"@version: 3.38\noptions {{ use-dns(no); }};\n{config}")
    log = tmp_path / "flightrec.log"
    command, environment = syslog_ng(tmp_path / "conf", tmp_path)
    for part in (events[:150], events[150:]):
        channel(part)
        with open(tmp_path / "flightrec.json", "a") as out:
            out.write(flightrec("read", "-o", "json").stdout)
        with subprocess.Popen(command, env=environment) as daemon:
            for _ in range(600):
                if log.exists() and len(log.read_text().splitlines()) >= part[-1].seq:
                    break
                time.sleep(0.1)
            daemon.terminate()
    lines = log.read_text().splitlines()
    assert [int(re.search(r"seq=(\d+) lost=0 ", line)[1]) for line in lines] == list(range(1, 301))
    assert lines[0].startswith("2001-09-09T01:46:41+00:00 ")
    assert lines[0].endswith('flightrec/default seq=1 lost=0 severity=1 writer[40]: event 1 "quoted" \\\\ ü')
    assert lines[298].endswith(": two lines") and lines[299].endswith(": ff00")


def test_lnav_knows_the_lines(channel, tmp_path):
    """With the format installed as the page says: times, severities, columns."""
    format_ = TOP / "docs/ship/lnav.json"
    environment = {**os.environ, "HOME": str(tmp_path), "TZ": "UTC", "TERM": "dumb"}

    def lnav(*arguments):
        done = subprocess.run(["lnav", *arguments], capture_output=True, text=True, timeout=60, env=environment,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        assert done.returncode == 0 and "error" not in done.stderr, done.stdout + done.stderr
        return done.stdout

    lnav("-i", format_)
    lnav("-C")
    severities = ["fatal", "fatal", "critical", "error", "warning", "notice", "info", "debug"]
    events = [at(n, f"event {n} of a disk", n + 1, severity=n) for n in range(8)]
    lose(channel([*events, at(8, b"\xff\0", 9)]), 8, 3)
    log = tmp_path / "flightrec.json"
    log.write_text(flightrec("read", "-o", "json").stdout)
    query = ";select seq, log_level, log_time, comm, tgid, lost, log_body from flightrec"
    rows = json.loads(lnav("-n", "-c", query, "-c", ":write-json-to -", log))
    assert [row["log_level"] for row in rows] == [*severities, "info"]
    assert [row["log_body"] for row in rows] == [*(f"event {n} of a disk" for n in range(8)), None]
    assert rows[0] == {"seq": 1, "log_level": "fatal", "log_time": "2001-09-09 01:46:40.000", "comm": "writer",
                       "tgid": 40, "lost": 0, "log_body": "event 0 of a disk"}  # fmt: skip
    assert [row["lost"] for row in rows] == [0] * 8 + [3]
    shown = lnav("-n", log).splitlines()
    assert shown[3] == "2001-09-09T01:46:43.000 default  error    writer[40]: event 3 of a disk"
    assert shown[8].endswith("writer[40]: ff00")


# ---- speed


def instructions(records, *options):
    """What reading a channel of that many RECORDS takes."""
    # Of 128 bytes, so that none is cut where the program's buffer ends, as the driver cuts none.
    text = b"".join(delivered([at(n * 0.001, f"an event, number {n:07}", n + 1)])
                    for n in range(records))  # fmt: skip
    assert len(text) == 128 * records
    (NODES / "default").write_bytes(text)
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", PLAIN,
                           "read", *options], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


@pytest.mark.parametrize("limit, options", [(1000, ["-g", "no such thing"]), (3000, ["-o", "json"])])
def test_reading_costs_few_instructions_a_record(channel, limit, options):
    """A million records a second are 3,000 instructions for each of them at 3 GHz."""
    channel()
    count = 5_000
    used = [instructions(records, *options) for records in (count, 2 * count)]
    assert (used[1] - used[0]) / count < limit, used
