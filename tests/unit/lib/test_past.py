# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec read --boot: what is kept of boots before this one, with filters and forms."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import OUT, PLAIN, PROC, build, flightrec

ROOT = OUT / "root"
BOOTS = ROOT / "state/boots"
NOW = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
OLD, NEW = bytes(range(0x30, 0x40)), bytes(range(0x50, 0x60))
WALL = 1_000_000_000 * 10**9


def boot(boot_id, start):
    """An image of a boot with two channels that take turns; "app" has lost its records 3 to 5."""
    app = [at(start + 2 * n, f"app {n}", n, severity=n % 8, uid=n, tgid=100 + n) for n in (1, 2, 6, 7)]
    kernel = [at(start + 2 * n + 1, f"kernel {n}", n, comm=b"kworker", origin=1) for n in range(1, 8)]
    blocks = [*crash.Channel("app", boot=boot_id).fill(app).blocks,
              *crash.Channel("kernel", boot=boot_id, instance=9).fill(kernel).blocks]  # fmt: skip
    return crash.image(blocks, mib=1)


def at(seconds, text, seq, **settings):
    return crash.Record(text.encode(), seq=seq, boot_ns=seconds * 10**9, wall_ns=WALL + seconds * 10**9, **settings)


@pytest.fixture(scope="module")
def kept():
    """Two boots that were collected."""
    build()
    for name in ("state", "crash", "metrics", "motd"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for boot_id, start in ((OLD, 0), (NEW, 1000)):
        place = ROOT / "crash" / boot_id.hex()
        place.mkdir(parents=True)
        (place / "vmcore").write_bytes(boot(boot_id, start))
    done = flightrec("collect")
    assert (done.returncode, done.stderr) == (0, "")
    yield BOOTS
    for name in ("state", "crash", "metrics", "motd"):
        shutil.rmtree(ROOT / name, ignore_errors=True)


def texts(done):
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("== ")]
    return [re.sub(r"^.*\]: ", "", line) for line in lines]


ALL = ["app 1", "kernel 1", "app 2", "kernel 2", "kernel 3", "kernel 4", "kernel 5",
       "# missing 3 records of channel app", "app 6", "kernel 6", "app 7", "kernel 7"]  # fmt: skip


@pytest.mark.parametrize("name", ["-1", NEW.hex(), NEW.hex()[:6], "50515253-5455-5657-5859-5a5b5c5d5e5f"])
def test_a_boot_by_number_and_by_id(kept, name):
    done = flightrec("read", "-a", "-b", name, valgrind=True)
    assert texts(done) == ALL and not done.stderr
    assert done.stdout.startswith("2001-09-09 02:03:22.000000 app      alert   writer[101]: app 1\n")
    assert done.stdout.splitlines()[-1].startswith(f"== boot {NEW.hex()[:8]} died ")


def test_the_boot_before_the_last(kept):
    done = flightrec("read", "-b", "-2", "-c", "app", "--utc")
    assert done.stdout.startswith("2001-09-09 01:46:42.000000 alert   writer[101]: app 1\n")
    assert texts(done) == ["app 1", "app 2", "# missing 3 records", "app 6", "app 7"]


@pytest.mark.parametrize("options,expected", [
    (["-a", "-n", "2"], ALL[-2:]),
    (["-a", "-n", "0"], []),
    (["-a", "-n", "all", "-g", "app"], ["app 1", "app 2", "# missing 3 records of channel app", "app 6", "app 7"]),
    (["-a", "-r", "-n", "4"], ["kernel 7", "app 7", "kernel 6", "app 6", "# missing 3 records of channel app"]),
    (["-a", "-r"], ["kernel 7", "app 7", "kernel 6", "app 6", *ALL[7:8], *ALL[6::-1]]),
    (["-c", "app", "-c", "kernel", "-p", "err..err", "--uid", "1"], None),
    (["-c", "app", "-p", "err"], ["app 1", "app 2", "# lost 3 records"]),
    (["-c", "app", "-p", "notice", "-n", "1"], ["app 2", "# lost 3 records"]),
    (["-c", "app", "--pid", "107"], ["# lost 3 records", "app 7"]),
    (["-a", "--comm", "kworker", "--until", "2001-09-09 02:03:25"], ["kernel 1", "kernel 2", "# lost 3 records of channel app"]),
    (["-a", "--since", "2001-09-09 02:03:34", "-g", "app"], ["# lost 3 records of channel app", "app 7"]),
], ids=lambda v: " ".join(v) if v and v[0].startswith("-") else "")  # fmt: skip
def test_filters(kept, options, expected):
    done = flightrec("read", "-b", NEW.hex(), *options)
    if expected is None:
        assert done.returncode == 1 and not done.stderr
    else:
        assert texts(done) == expected


def test_forms(kept):
    lines = [json.loads(line) for line in flightrec("read", "-ab", "-1", "-o", "json").stdout.splitlines()]
    assert [line["text"] for line in lines] == [text for text in ALL if text[0] != "#"]
    assert {line["boot_id"] for line in lines} == {NEW.hex()} and {line["source"] for line in lines} == {"memory"}
    assert [line["lost"] for line in lines if line["channel"] == "app"] == [0, 0, 3, 0]
    lines = flightrec("read", "-ab", "-1", "-o", "json", "-r", "-n", "3", "-g", "app [67]").stdout.splitlines()
    assert [(json.loads(line)["text"], json.loads(line)["lost"]) for line in lines] == [("app 7", 0), ("app 6", 3)]
    assert flightrec("read", "-b", "-1", "-c", "app", "-o", "cat").stdout == "app 1\napp 2\napp 6\napp 7\n"
    assert "\nFLIGHTREC_LOST=3\n" in flightrec("read", "-b", "-1", "-c", "app", "-o", "export").stdout
    assert flightrec("read", "-b", "-1", "-c", "app", "-t", "boot").stdout.startswith("  1002.000000 alert")


def test_boots_and_channels_that_are_not_there(kept):
    for name, says in (("-9", "only 2 before this one are kept"), ("ffff", "is not kept"), ("1", "at least 4 digits")):
        done = flightrec("read", "-b", name)
        assert done.returncode == 1 and says in done.stderr and "flightrec boots" in done.stderr
    done = flightrec("read", "-b", "-1")
    assert done.returncode == 1 and "nothing of channel default is left of that boot; --all has what there is" in done.stderr
    for wrong in (["-f"], ["--cursor-file", "x"], ["-t", "relative"]):
        assert flightrec("read", "-b", "-2", *wrong).returncode == 2


def test_this_boot_by_its_id_is_the_channels(channel, kept):
    channel([at(1, "now", 1)])
    for name in ("0", NOW, NOW.replace("-", ""), NOW[:8]):
        assert flightrec("read", "-b", name, "-o", "cat").stdout == "now\n"


def test_damage_is_said(kept):
    records = BOOTS / OLD.hex() / "records.jsonl.zst"
    whole = records.read_bytes()
    lines = subprocess.run(["zstdcat", records], capture_output=True, check=True).stdout.splitlines(keepends=True)
    broken = b"".join([*lines[:4], b"rubbish\n", *lines[4:]])
    records.write_bytes(packed([broken]))
    done = flightrec("read", "-ab", "-2", "-o", "cat")
    records.write_bytes(whole)
    assert done.returncode == 1 and done.stdout.splitlines() == [text for text in ALL[:4]]
    assert "damaged" in done.stderr


def packed(lines):
    return subprocess.run(["zstd"], input=b"".join(lines), capture_output=True, check=True).stdout


def test_lines_in_another_form_are_the_same_records(kept):
    """What collect writes is read by a way of its own, which is faster."""
    records = BOOTS / OLD.hex() / "records.jsonl.zst"
    whole = records.read_bytes()
    odd = ['a"b\\c/d\be\ff\ng\rh\ti', "\x01\x1f", "Größe 漢字 🙂", "", "x" * 4096, "\u2028\x7f", "\\u0041"]
    head = json.loads(subprocess.run(["zstdcat", records], capture_output=True, check=True).stdout.splitlines()[0])
    lines = [{**head, "seq": n, "text": text, "comm": text[:3], "wall_ns": 2**64 - n, "uid": 2**32 - 1, "lost": n}
             for n, text in enumerate(odd, start=1)]  # fmt: skip
    lines.append({**head, "seq": 9, "source": "text", "cut": True, "conflict": True, "interrupt": True, "origin": "kernel"})
    forms = [{"separators": (",", ":"), "ensure_ascii": False}, {}, {"separators": (",", ":"), "sort_keys": True}]
    seen = []
    try:
        for form in forms:
            records.write_bytes(packed([json.dumps(line, **form).encode() + b"\n" for line in lines]))
            seen.append(flightrec("read", "-ab", "-2", "-o", "json").stdout)
    finally:
        records.write_bytes(whole)
    assert seen[0] == seen[1] == seen[2]
    again = [json.loads(line) for line in seen[0].split("\n")[:-1]]
    assert [line["text"] for line in again[:-1]] == odd and again == lines


def test_a_line_that_is_cut_anywhere(kept):
    """The sanitizers watch."""
    records = BOOTS / OLD.hex() / "records.jsonl.zst"
    whole = records.read_bytes()
    line = subprocess.run(["zstdcat", records], capture_output=True, check=True).stdout.splitlines()[0]
    try:
        for at in range(1, len(line), 41):
            for broken in (line[:at], line[:at] + b"\xff" + line[at + 1 :]):
                records.write_bytes(packed([broken + b"\n"]))
                done = flightrec("read", "-ab", "-2", "-o", "json", text=False)
                assert done.returncode in (0, 1) and len(done.stdout.splitlines()) <= 1
    finally:
        records.write_bytes(whole)


def test_a_filter_costs_few_instructions_a_record(kept):
    """json-c alone would need 20,000; 6,000 are more than a million records a second."""
    records = BOOTS / OLD.hex() / "records.jsonl.zst"
    whole = records.read_bytes()
    head = json.loads(subprocess.run(["zstdcat", records], capture_output=True, check=True).stdout.splitlines()[0])
    used = []
    try:
        for count in (2000, 4000):
            lines = [{**head, "seq": n, "text": f"an event of the usual length, number {n:08}"} for n in range(1, count + 1)]
            records.write_bytes(packed([json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines]))
            done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", PLAIN,
                                   "read", "-ab", "-2", "-g", "no such thing"], capture_output=True, text=True)  # fmt: skip
            assert "flightrec: " not in done.stderr, done.stderr
            used.append(int(re.search(r"Collected : (\d+)", done.stderr)[1]))
    finally:
        records.write_bytes(whole)
    assert (used[1] - used[0]) / 2000 < 7000, used


def test_before_collect_has_run_memory_comes_first(kept):
    """What is kept is of older boots then."""
    PROC.mkdir(parents=True, exist_ok=True)
    other = bytes(range(0x70, 0x80))
    blocks = crash.Channel("app", boot=other, version=4).fill([at(1, "the last", 1)]).blocks
    (PROC / "previous.image").write_bytes(crash.previous_image(blocks, boot=other))
    now = BOOTS / NOW.replace("-", "")
    hidden = ROOT / "state/hidden"
    now.rename(hidden)
    try:
        assert flightrec("read", "-ab", "-1", "-o", "cat").stdout == "the last\n"
        (PROC / "previous.image").unlink()
        done = flightrec("read", "-ab", "-1", "-o", "cat", "-n", "1")
        assert done.stdout == "kernel 7\n" and "flightrec collect has not run in this boot" in done.stderr
    finally:
        hidden.rename(now)
        (PROC / "previous.image").unlink(missing_ok=True)
    assert flightrec("read", "-ab", "-1", "-o", "cat", "-n", "1").stderr == ""
