# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec collect, save, boots and report: what is kept of boots, whatever happens."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import NODES, OUT, PLAIN, PROC, build, flightrec, payload, recover

FULL = bool(os.environ.get("FULL"))  # ends it at more of its system calls

ROOT = OUT / "root"
STATE = ROOT / "state"
BOOTS = STATE / "boots"
CRASH = ROOT / "crash"
PSTORE = ROOT / "pstore"
NOW = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")

RECORDS = crash.records(200)
LINED = [r for r in RECORDS if len(r.payload) <= 100][:20]
IMAGE = crash.image(crash.Channel().fill(RECORDS, cpus=4).blocks, mib=1)

TRACE = """\
CPU: 1 PID: 204 Comm: sh Not tainted 6.1.0 #1
Call Trace:
 <TASK>
 dump_stack_lvl+0x49/0x63
 panic+0x118/0x2ed
 sysrq_handle_crash+0x16/0x20
 </TASK>
"""


def log(lines, number=1, text="sysrq triggered crash", before="sysrq: Trigger a crash", at=12.345678):
    """A kernel's log of a panic, with the recorder's LINES in it."""
    said = [before, f"Kernel panic - not syncing: {text}", *TRACE.splitlines()]
    said += [*(f"flightrec: {line}" for line in lines), f"---[ end Kernel panic - not syncing: {text} ]---"]
    return "".join(f"<4>[{at:12.6f}] {line}\n" for line in said).encode()


@pytest.fixture(autouse=True)
def clean():
    """No state, nothing left of any crash."""
    build()
    for path in (STATE, CRASH, PSTORE, ROOT / "motd", ROOT / "metrics"):
        shutil.rmtree(path, ignore_errors=True)
    (ROOT / "metrics").mkdir()
    yield
    for path in (STATE, CRASH, PSTORE, ROOT / "motd", ROOT / "metrics"):
        shutil.rmtree(path, ignore_errors=True)


def crashed_in(place, name, content):
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)
    return place / name


def boot_json(name=crash.BOOT_ID):
    return json.loads((BOOTS / name / "boot.json").read_text())


def kept(name=crash.BOOT_ID):
    done = subprocess.run(["zstdcat", BOOTS / name / "records.jsonl.zst"], capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def keys(lines):
    return [(line["channel"], line["seq"], payload(line)) for line in lines]


def wanted(records, channel="default"):
    return [(channel, r.seq, r.payload) for r in records]


def test_a_panic_in_pstore():
    crashed_in(PSTORE / "1700000000", "dmesg.txt", log(crash.crash_lines(LINED)))
    done = flightrec("collect")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert f"boot {crash.BOOT_ID[:8]} died 20" in line
    assert "Kernel panic - not syncing: sysrq triggered crash; 20 records" in line
    assert keys(kept()) == wanted(LINED)
    assert (ROOT / "motd/flightrec").read_text() == line + "\n"
    assert 'flightrec_previous_boot_crashed{kind="sysrq"} 1\n' in (ROOT / "metrics/flightrec.prom").read_text()
    assert "flightrec_boots_crashed 1\n" in (ROOT / "metrics/flightrec.prom").read_text()
    report = (BOOTS / crash.BOOT_ID / "report.txt").read_text()
    for text in ("Cause      Kernel panic - not syncing: sysrq triggered crash",
                 "Before it  sysrq: Trigger a crash", "by the clock of the kernel's log",
                 "What is missing", "All but the newest records", "The last 20 records",
                 "The kernel's backtrace", "  sysrq_handle_crash+0x16/0x20"):  # fmt: skip
        assert text in report, report
    assert flightrec("report").stdout == report
    assert flightrec("report", "-1").stdout == report
    assert flightrec("report", crash.BOOT_ID[:6]).stdout == report


def test_a_place_that_is_not_there():
    """Of the usual ones none has to be there; who names one has made a mistake."""
    assert flightrec("collect").returncode == 0
    done = flightrec("collect", "/no/such/place")
    assert done.returncode == 1 and done.stderr == "flightrec: /no/such/place: No such file or directory\n"


def test_twice_is_once():
    crashed_in(PSTORE / "1", "dmesg.txt", log(crash.crash_lines(LINED)))
    flightrec("collect")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in BOOTS.rglob("*") if path.is_file()}
    done = flightrec("collect")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}


def test_parts_of_pstore_are_put_in_order():
    """The firmware's variables hold a kilobyte each: the first part is the newest."""
    lines = log(crash.crash_lines(LINED)).splitlines(keepends=True)
    for number, cut in enumerate((lines[16:], lines[6:16], lines[:6]), start=1):
        crashed_in(PSTORE, f"dmesg-efi_pstore-17000000000{number}001", f"Panic#1 Part{number}\n".encode() + b"".join(cut))
    flightrec("collect")
    end = boot_json()["end"]
    assert end["cause"] == "Kernel panic - not syncing: sysrq triggered crash"
    assert (end["trouble"], end["backtrace"]) == ("sysrq: Trigger a crash", TRACE)
    assert len(kept()) == len(LINED)


CAUSES = {
    "oops": (
        ["BUG: kernel NULL pointer dereference, address: 0000000000000000", "#PF: supervisor write access",
         "Oops: 0002 [#1] PREEMPT SMP", "RIP: 0010:trouble_write+0x50/0x90 [guest_trouble]",
         "---[ end trace 0000000000000000 ]---", "Kernel panic - not syncing: Fatal exception"],
        "oops", "Kernel panic - not syncing: Fatal exception", "BUG: kernel NULL pointer"),
    "arm64": (
        ["Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
         "Internal error: Oops: 0000000096000044 [#1] SMP", "Kernel panic - not syncing: Oops: Fatal exception"],
        "oops", "Kernel panic - not syncing: Oops: Fatal exception", "Unable to handle kernel"),
    "lockup": (
        ["watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:1]", "Kernel panic - not syncing: softlockup: hung tasks"],
        "lockup", "Kernel panic - not syncing: softlockup: hung tasks", "watchdog: BUG: soft lockup"),
    "hung": (
        ["INFO: task dd:77 blocked for more than 120 seconds.", "Kernel panic - not syncing: hung_task: blocked tasks"],
        "hung-task", "Kernel panic - not syncing: hung_task: blocked tasks", "INFO: task dd:77"),
    "watchdog": (
        ["Kernel panic - not syncing: watchdog pretimeout event"], "watchdog",
        "Kernel panic - not syncing: watchdog pretimeout event", ""),
    "machine check": (
        ["mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 4: be00", "Kernel panic - not syncing: Fatal machine check"],
        "machine-check", "Kernel panic - not syncing: Fatal machine check", "mce: [Hardware Error]"),
    "sysrq-b": (["sysrq: Resetting"], "sysrq", "sysrq: Resetting", ""),
    "init": (["Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b"], "panic",
             "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b", ""),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["[   12.345678] ", "<2>[   12.345678][  T123] ", "[   12.345678][    C0] ",
                                    "Nov 22 23:16:45 host kernel: "])  # fmt: skip
@pytest.mark.parametrize("cause", CAUSES)
def test_causes(cause, prefix, tmp_path):
    said, kind, last, first = CAUSES[cause]
    text = "".join(f"{prefix}{line}\n" for line in ["usb 1-1: a device", *said]).encode()
    path = crashed_in(tmp_path, "log", text + crash.console(crash.crash_lines(LINED), prefix))
    _, _, summary, _ = recover(path)
    (death,) = summary["deaths"]
    assert (death["kind"], death["cause"], death["fatal"]) == (kind, last, True)
    assert death["trouble"].startswith(first) and death["boot_id"] == crash.BOOT_ID
    assert death["log_ns"] == (0 if "kernel:" in prefix else 12345678000)
    assert "usb" not in death["backtrace"]
    text = flightrec("recover", path).stdout
    assert text.index("event 20") < text.index("== died") < text.index(last)


def test_trouble_that_was_survived(tmp_path):
    """An oops, an hour later an orderly reboot: that is how it ended."""
    text = (b"[   12.000000] BUG: unable to handle page fault for address: 0\n[   12.000001] Call Trace:\n"
            b"[   12.000002] ---[ end trace 0 ]---\n[ 3612.000000] reboot: Restarting system\n")  # fmt: skip
    _, _, summary, _ = recover(crashed_in(tmp_path, "console", text + crash.console(crash.crash_lines(LINED))))
    assert [(d["kind"], d["fatal"]) for d in summary["deaths"]] == [("oops", False), ("reboot", True)]


def test_several_boots_in_one_console(tmp_path):
    boots = ["aa" * 16, "bb" * 16]
    text = b"".join(
        b"[    0.000000] Linux version 6.1.0\n" + log([*crash.crash_lines(LINED, boot=boot)], text=f"number {n}")
        for n, boot in enumerate(boots)
    )
    path = crashed_in(tmp_path, "console", text)
    _, lines, summary, _ = recover(path)
    assert [(d["boot_id"], d["cause"][-8:]) for d in summary["deaths"]] == [(b, f"number {n}") for n, b in enumerate(boots)]
    flightrec("collect", tmp_path)
    assert {boot_json(b)["end"]["cause"][-8:] for b in boots} == {"number 0", "number 1"}


def test_channels_in_one_timeline(tmp_path):
    """Not channel after channel: as it happened, with each loss in its place."""
    one = [r for r in RECORDS if r.seq % 2]
    other = [crash.Record(b"kernel", seq=n, boot_ns=r.boot_ns + 10, wall_ns=r.wall_ns) for n, r in enumerate(one, start=1)]
    blocks = [*crash.Channel().fill(one, cpus=3).blocks, *crash.Channel("kernel", instance=2).fill(other, cpus=2).blocks]
    path = crashed_in(tmp_path, "memory", crash.image(blocks, mib=2))
    _, lines, _, _ = recover(path)
    assert [line["channel"] for line in lines] == ["default", "kernel"] * len(one)
    assert [line["boot_ns"] for line in lines] == sorted(line["boot_ns"] for line in lines)
    assert [line["lost"] for line in lines if line["channel"] == "default"] == [0] + [1] * (len(one) - 1)
    assert {line["lost"] for line in lines if line["channel"] == "kernel"} == {0}


def test_dump_log_and_pstore_of_one_boot():
    """Each brings what it has; what is in several is kept once, the whole before the part."""
    crashed_in(PSTORE / "1", "dmesg.txt", log(crash.crash_lines(LINED[:10])))
    flightrec("collect")
    assert len(kept()) == 10
    crashed_in(CRASH / "202601311430", "dump.202601311430", IMAGE)
    crashed_in(CRASH / "202601311430", "dmesg.202601311430", log([]))
    done = flightrec("collect")
    assert (done.returncode, done.stderr) == (0, "")
    assert keys(kept()) == wanted(RECORDS)
    assert boot_json()["records"]["memory"] and boot_json()["end"]["kind"] == "sysrq"
    assert "All but the newest" not in flightrec("report").stdout
    assert sorted(path.name for path in BOOTS.iterdir()) == sorted([crash.BOOT_ID, NOW])


def test_two_boots_with_the_same_data():
    """A cloned machine, a record written at each start: they stay two."""
    for n, boot in enumerate((bytes(range(16)), bytes(range(1, 17)))):
        crashed_in(CRASH / f"{n}", "vmcore", crash.image(crash.Channel(boot=boot).fill(RECORDS).blocks, mib=3))
    assert flightrec("collect").returncode == 0
    assert [keys(kept(bytes(range(n, n + 16)).hex())) for n in (0, 1)] == [wanted(RECORDS)] * 2


def test_a_clock_that_went_back():
    """The boot clock decides; it never goes back."""
    back = [crash.Record(b"%d" % n, seq=n, boot_ns=n * 1000, wall_ns=10**18 - n * 10**15) for n in range(1, 50)]
    crashed_in(CRASH / "1", "vmcore", crash.image(crash.Channel().fill(back, cpus=2).blocks))
    assert flightrec("collect").returncode == 0
    assert [line["seq"] for line in kept()] == list(range(1, 50))
    assert flightrec("report").returncode == 0


def test_an_archive_of_a_later_version():
    """Is said, and never written to."""
    crashed_in(PSTORE / "1", "dmesg.txt", log(crash.crash_lines(LINED[:5])))
    flightrec("collect")
    path = BOOTS / crash.BOOT_ID / "boot.json"
    path.write_text(path.read_text().replace('"version":1', '"version":2'))
    before = {path: path.read_bytes() for path in (BOOTS / crash.BOOT_ID).iterdir()}
    crashed_in(PSTORE / "2", "dmesg.txt", log(crash.crash_lines(LINED)))
    done = flightrec("collect")
    assert done.returncode == 1 and "version that this program does not know: use a newer one" in done.stderr
    assert before == {path: path.read_bytes() for path in (BOOTS / crash.BOOT_ID).iterdir()}
    done = flightrec("report", crash.BOOT_ID)
    assert done.returncode == 3 and "use a newer one" in done.stderr
    assert "use a newer one" in flightrec("boots").stdout


@pytest.mark.parametrize("damage", ["boot.json", "cut", "rubbish", "lines"])
def test_a_damaged_archive(damage):
    """What can be read is kept; what comes again is taken again."""
    crashed_in(PSTORE / "1", "dmesg.txt", log(crash.crash_lines(LINED)))
    flightrec("collect")
    records = BOOTS / crash.BOOT_ID / "records.jsonl.zst"
    whole = records.read_bytes()
    if damage == "boot.json":
        (BOOTS / crash.BOOT_ID / "boot.json").write_bytes(b"{\0")
    elif damage == "cut":
        records.write_bytes(whole[: len(whole) // 2])
    elif damage == "rubbish":
        records.write_bytes(whole[:40] + bytes(60) + whole[100:])
    else:
        lines = subprocess.run(["zstdcat", records], capture_output=True, check=True).stdout
        records.write_bytes(subprocess.run(["zstd"], input=lines + b'{"seq":[]}\n', capture_output=True, check=True).stdout)
    assert flightrec("report", crash.BOOT_ID).returncode in (0, 3)
    crashed_in(PSTORE / "2", "dmesg.txt", log(crash.crash_lines(LINED)) + b"\n")
    assert flightrec("collect").returncode == 0
    assert keys(kept()) == wanted(LINED)


def test_a_dump_that_is_being_written():
    crashed_in(CRASH / "1", "vmcore-incomplete", IMAGE)
    crashed_in(CRASH / "1", "vmcore-dmesg.txt", log(crash.crash_lines(LINED)))
    done = flightrec("collect")
    assert done.returncode == 0 and "left for the next run" in done.stderr
    (CRASH / "1/vmcore-incomplete").rename(CRASH / "1/vmcore")
    assert flightrec("collect").returncode == 0
    assert keys(kept()) == wanted(RECORDS)


def test_a_dump_that_grows_while_it_is_read():
    """strace holds the program while the file changes below it."""
    build()
    path = crashed_in(CRASH / "1", "vmcore", IMAGE[: len(IMAGE) // 2])
    command = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:delay_enter=3000000:when=1",
               PLAIN, "collect"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while not list(BOOTS.glob("*/*.new")) and running.poll() is None:
            pass
        path.write_bytes(IMAGE)
        _, errors = running.communicate(timeout=60)
    assert "it changed while it was read: left for the next run" in errors
    assert flightrec("collect").returncode == 0
    assert keys(kept()) == wanted(RECORDS)


def collect_killed_at(syscall, number):
    """False: it never came so far."""
    command = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}",
               "-e", f"inject={syscall}:signal=KILL:when={number}", PLAIN, "collect"]  # fmt: skip
    return subprocess.run(command, capture_output=True, timeout=120).returncode == -signal.SIGKILL


@pytest.mark.parametrize("syscall", ["rename", "fsync", "mkdir"] + FULL * ["write", "openat", "unlink"])
def test_killed_anywhere(syscall):
    """The next run completes it: nothing is missing, nothing is there twice."""
    crashed_in(PSTORE / "1", "dmesg.txt", log(crash.crash_lines(LINED)))
    crashed_in(CRASH / "1", "vmcore", IMAGE)
    flightrec("collect")
    complete = keys(kept()), boot_json(), (BOOTS / crash.BOOT_ID / "report.txt").read_text()
    assert complete[0] == wanted(RECORDS)
    killed, number = True, 1
    while killed:
        shutil.rmtree(STATE)
        killed = collect_killed_at(syscall, number)
        done = subprocess.run([PLAIN, "collect"], capture_output=True, text=True,
                              env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"})  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), f"{syscall} {number}"
        assert (keys(kept()), boot_json(), (BOOTS / crash.BOOT_ID / "report.txt").read_text()) == complete
        assert not list(BOOTS.glob("*/*.new")), f"{syscall} {number}"
        number += 1
    assert number > 2


@pytest.fixture
def small_disk():
    """The state on a file system of its own, which fills up: 256 KiB."""
    STATE.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", STATE], check=True)
    yield STATE
    subprocess.run(["umount", STATE], check=True)


def test_a_full_disk(small_disk):
    crashed_in(CRASH / "1", "vmcore", IMAGE)
    (small_disk / "other").write_bytes(bytes(244 * 1024))
    done = flightrec("collect")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert "the records are still in " in done.stderr and "free some space" in done.stderr
    assert not list(BOOTS.glob("*/records*")), "no half file stays"
    assert "flightrec_collect_failed 1\n" in (ROOT / "metrics/flightrec.prom").read_text()
    (small_disk / "other").unlink()
    done = flightrec("collect")
    assert done.returncode == 0 and "flightrec_collect_failed 0\n" in (ROOT / "metrics/flightrec.prom").read_text()
    assert kept()


def test_a_read_only_disk(small_disk):
    crashed_in(CRASH / "1", "vmcore", IMAGE)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = flightrec("collect")
    assert done.returncode == 1 and "Read-only file system" in done.stderr
    assert "stays where it is" in done.stderr
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert flightrec("collect").returncode == 0 and kept()


def test_bounded_in_size():
    """The newest stay, whole frames of them; how many went is said."""
    many = [crash.Record(os.urandom(4000), seq=n, boot_ns=n * 1000) for n in range(1, 1001)]
    crashed_in(CRASH / "1", "vmcore", crash.image(crash.Channel().fill(many).blocks, mib=8))
    assert flightrec("collect", "--size", "1").returncode == 0
    records = boot_json()["records"]
    assert (BOOTS / crash.BOOT_ID / "records.jsonl.zst").stat().st_size <= 1 << 20 or len(kept()) < 400
    assert [line["seq"] for line in kept()] == list(range(records["left_out"] + 1, 1001))
    assert records["count"] == len(kept()) and 0 < records["left_out"] < 1000
    assert f"{records['left_out']} of the oldest records" in flightrec("report").stdout


def test_bounded_in_number():
    for n in range(6):
        boot = bytes([n]) * 16
        recs = [crash.Record(b"x", seq=1, boot_ns=1, wall_ns=10**18 + n)]
        crashed_in(CRASH / f"{n}", "vmcore", crash.image(crash.Channel(boot=boot).fill(recs).blocks, mib=1))
    flightrec("collect", "--boots", "3")
    assert sorted(path.name for path in BOOTS.iterdir()) == sorted(["04" * 16, "05" * 16, NOW])
    flightrec("collect", "--boots", "3")
    assert len(list(BOOTS.iterdir())) == 3, "what was removed does not come back"


def test_nothing_is_left_of_a_boot():
    """The boot before is known by its own run: that nothing came back of it is said."""
    assert flightrec("collect").returncode == 0
    done = flightrec("read", "-b", "-2")
    assert done.returncode == 1 and "no boot before this one is kept yet" in done.stderr
    before = BOOTS / ("ab" * 16)
    before.mkdir(parents=True)
    (before / "boot.json").write_text(json.dumps({"version": 1, "state": "running", "kernel": "6.1.0", "first_seen_ns": 10**18}))
    done = flightrec("collect")
    assert done.returncode == 0 and "boot abababab died: unknown: a reset, a power cut, a watchdog" in done.stdout
    report = flightrec("report").stdout
    assert "All records: no memory of that boot" in report and "Next: " in report
    assert "6.1.0" in report and "When       not known" in report


@pytest.mark.parametrize("bootstatus,kind", [("0x20\n", "watchdog"), ("0\n", "unknown"), ("", "unknown")])
def test_a_watchdog_that_reset_the_machine(bootstatus, kind):
    """The kernel said nothing; the hardware knows."""
    before = BOOTS / ("ab" * 16)
    before.mkdir(parents=True)
    (before / "boot.json").write_text(json.dumps({"version": 1, "state": "running", "first_seen_ns": 10**18}))
    (ROOT / "watchdog/watchdog0").mkdir(parents=True)
    (ROOT / "watchdog/watchdog0/bootstatus").write_text(bootstatus)
    try:
        said = flightrec("collect").stdout
    finally:
        shutil.rmtree(ROOT / "watchdog")
    assert boot_json("ab" * 16)["end"]["kind"] == kind
    assert ("the watchdog watchdog0 reset the machine" in said) == (kind == "watchdog")
    assert (ROOT / "motd/flightrec").stat().st_mode & 0o777 == 0o644


def test_save_and_an_orderly_end():
    """What the channels hold is kept; more that comes afterwards is merged with it."""
    build()
    for name, records in (("default", LINED[:10]), ("app", LINED[10:])):
        (NODES / name).write_bytes(crash.delivered(records))
    PROC.mkdir(parents=True, exist_ok=True)
    (PROC / "stats").write_text("channel=default size_kb=64\nchannel=app size_kb=64\nevents_requests=0\n")
    try:
        for _ in range(2):
            done = flightrec("save")
            assert (done.returncode, done.stderr) == (0, "")
            assert keys(kept(NOW)) == wanted(LINED[:10]) + wanted(LINED[10:], "app")
    finally:
        shutil.rmtree(NODES)
        shutil.rmtree(PROC)
        NODES.mkdir()
    assert boot_json(NOW)["state"] == "saved"
    # The next boot: this directory is of another one then.
    (BOOTS / NOW).rename(BOOTS / ("cd" * 16))
    done = flightrec("collect")
    assert "boot cdcdcdcd ended" in done.stdout and "an orderly shutdown" in done.stdout
    assert not (ROOT / "motd/flightrec").exists()


def test_boots():
    assert flightrec("boots").returncode == 1
    crashed_in(PSTORE / "1", "dmesg.txt", log(crash.crash_lines(LINED)))
    flightrec("collect")
    before, now = flightrec("boots").stdout.splitlines()
    assert before.split()[:2] == ["-1", crash.BOOT_ID[:8]] and "sysrq triggered crash" in before
    assert now.split()[:2] == ["0", NOW[:8]]
    assert [json.loads(line)["boot_id"] for line in flightrec("boots", "--json").stdout.splitlines()] == [crash.BOOT_ID, NOW]
    assert "this one, which runs" in now
    for wrong in ("-7", "zz", "0123", crash.BOOT_ID[:3]):
        done = flightrec("report", wrong)
        assert done.returncode == 1 and "flightrec boots" in done.stderr
