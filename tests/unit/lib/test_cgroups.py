# SPDX-License-Identifier: GPL-2.0-or-later
"""Control groups of writers: by number, path and unit, ended ones too, and of earlier boots."""

import json
import shutil

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import OUT, build, flightrec

ROOT = OUT / "root"
CGROUP = ROOT / "cgroup"
GONE, NAMELESS = 0x9_0000_0001, 0x9_0000_0002


@pytest.fixture
def groups(channel):
    """A host with two groups, one that has ended, and one that nobody named; {name: number}."""
    build()
    shutil.rmtree(CGROUP, ignore_errors=True)
    for path in ("system.slice/web.service/worker", "user.slice/user-7.slice/session-1.scope"):
        (CGROUP / path).mkdir(parents=True)
    numbers = {path.name: path.stat().st_ino for path in CGROUP.rglob("*")}
    numbers |= {"gone": GONE, "nameless": NAMELESS}
    writers = ["web.service", "worker", "session-1.scope", "gone", "nameless"]
    channel([crash.Record(name.encode(), seq=n, cgroup=numbers[name], boot_ns=n) for n, name in enumerate(writers, 1)])
    channel([crash.Record(b"cgroup id=%d path=/system.slice/gone.service" % GONE, seq=1, origin=1),
             crash.Record(b"cgroup id=%d path=/system.slice/forged.service" % NAMELESS, seq=2),
             crash.Record(b"cgroup id=99999999999999999999999 path=/x", seq=3, origin=1),
             crash.Record(b"cgroup id=5 path=", seq=4, origin=1)], "kernel")  # fmt: skip
    yield numbers
    shutil.rmtree(CGROUP)


def texts(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LEFT_OUT = "left out: 1 whose control groups have ended"


@pytest.mark.parametrize("options,expected,nameless", [
    (["--unit", "web"], ["web.service", "worker"], True),
    (["--unit", "web.service", "--unit", "session-1.scope"], ["web.service", "worker", "session-1.scope"], True),
    (["--unit", "gone"], ["gone"], True),
    (["--unit", "forged"], [], True),
    (["--unit", "system.slice"], ["web.service", "worker", "gone"], True),
    (["--cgroup", "/system.slice/web.service/worker/"], ["worker"], True),
    (["--cgroup", "/system.slice/web"], [], True),
    (["--cgroup", "/"], ["web.service", "worker", "session-1.scope", "gone"], True),
    (["--cgroup", str(NAMELESS)], ["nameless"], False),
])  # fmt: skip
def test_of_a_group(groups, options, expected, nameless):
    for more in ([], ["-r"]):
        done = flightrec("read", "-o", "cat", *options, *more, valgrind=not more)
        assert texts(done) == expected[:: -1 if more else 1]
        assert (LEFT_OUT in done.stderr) == nameless


def test_json_names_groups_and_units(groups):
    lines = {line["text"]: line for line in map(json.loads, texts(flightrec("read", "--json", valgrind=True)))}
    assert {name: line["cgroup"] for name, line in lines.items()} == {name: groups[name] for name in lines}
    assert {name: (line.get("cgroup_path"), line.get("unit")) for name, line in lines.items()} == {
        "web.service": ("/system.slice/web.service", "web.service"),
        "worker": ("/system.slice/web.service/worker", "web.service"),
        "session-1.scope": ("/user.slice/user-7.slice/session-1.scope", "session-1.scope"),
        "gone": ("/system.slice/gone.service", "gone.service"),
        "nameless": (None, None),
    }
    assert lines["worker"]["start_ns"] == 5_000_000
    fields = flightrec("read", "-o", "export", "-g", "worker").stdout.splitlines()
    assert "_SYSTEMD_UNIT=web.service" in fields and f"FLIGHTREC_CGROUP={groups['worker']}" in fields


def test_records_of_an_earlier_driver(channel):
    path = channel()
    path.write_bytes(crash.delivered([crash.Record(b"old", seq=1), crash.Record(b"", seq=2)], short=True))
    for options in ([], ["-r"]):
        lines = [json.loads(line) for line in texts(flightrec("read", "--json", *options, valgrind=True))]
        assert sorted(line["text"] for line in lines) == ["", "old"]
        assert not any({"cgroup", "start_ns"} & set(line) for line in lines)


@pytest.mark.parametrize("option,value", [
    ("--unit", ""), ("--unit", "a/b"), ("--cgroup", ""), ("--cgroup", "a"), ("--cgroup", "0"), ("--cgroup", "-1"),
])  # fmt: skip
def test_nonsense_is_refused(option, value):
    done = flightrec("read", option, value)
    assert done.returncode == 2 and f'"{value}" is not ' in done.stderr


def test_a_boot_before_has_names_of_its_own(groups):
    """The same number was another group then: names of this boot must not be used."""
    for name in ("state", "crash", "metrics", "motd"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    (ROOT / "crash/1").mkdir(parents=True)
    app = [crash.Record(b"then", seq=1, boot_ns=2, wall_ns=10**18, cgroup=groups["web.service"]),
           crash.Record(b"unnamed", seq=2, boot_ns=3, wall_ns=10**18, cgroup=groups["session-1.scope"])]  # fmt: skip
    named = b"cgroup id=%d path=/system.slice/old.service" % groups["web.service"]
    kernel = [crash.Record(named, seq=1, boot_ns=4, wall_ns=10**18, origin=1)]
    blocks = [*crash.Channel("app").fill(app).blocks, *crash.Channel("kernel", instance=9).fill(kernel).blocks]
    (ROOT / "crash/1/vmcore").write_bytes(crash.image(blocks, mib=1))
    assert flightrec("collect").returncode == 0
    read = ["read", "-b", "-1", "-c", "app"]
    assert texts(flightrec(*read, "-o", "cat", "--unit", "old", valgrind=True)) == ["then"]
    assert flightrec(*read, "--unit", "web").returncode == 1
    lines = [json.loads(line) for line in texts(flightrec(*read, "--json"))]
    assert [line.get("unit") for line in lines] == ["old.service", None]
    assert [line["start_ns"] for line in lines] == [5_000_000] * 2
    for name in ("state", "crash", "metrics", "motd"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
