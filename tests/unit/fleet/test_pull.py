# SPDX-License-Identifier: GPL-2.0-or-later
"""A roll-out without a controller: who may update when, when it stops, and the file that says so."""

import hashlib
import json
import os
import subprocess
import time

import pytest

from fleet.kmodkeep_fleet import pull
from tests.unit.fleet.hosts import NEW, OLD, PROGRAM, TOP, digest, fleet, losing, put, rebooted, state
from tests.unit.kmodkeep.host import certificate

NAME = "kernel-7"
HOSTS = [f"h{n:03}" for n in range(40)]
HOUR = 3600


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("pull"), "fleet")


def ring(name, rollout=NAME):
    return int.from_bytes(hashlib.sha256(f"kmodkeep ring {rollout} {digest(name)}".encode()).digest()[:4], "big") % 10000


# In the order in which they may.
ORDER = sorted(HOSTS, key=ring)


def gate(verdict="waits", step=None, message=None, rollout=NAME, step_boot=None):
    return {"schema": 1, "verdict": verdict, "message": message, "step": step, "step_of": rollout if step else None,
            "step_boot": step_boot}  # fmt: skip


def updated(name, **changes):
    return rebooted(name, gate=gate("updated", "updated"), **changes)


class Publisher:
    """Its directory, the states of its hosts, and what it publishes."""

    def __init__(self, path, keys, hosts=HOSTS):
        self.path, self.keys, self.states, self.out = path, keys, path / "states", path / "gate"
        put(self.states, *[state(name, gate=gate()) for name in hosts])

    def run(self, *words, code=0):
        done = fleet("pull", "--dir", self.path / "rollout", *words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def begin(self, *words, name=NAME, code=0):
        return self.run("--begin", name, "--packages", "linux-image-amd64", "--out", self.out, "--certificate",
                        self.keys[1], "--key", self.keys[0], *(words or ("--settle", "0")), self.states, code=code)  # fmt: skip

    def look(self, code=0):
        return self.run(self.states, code=code)

    def record(self, **changes):
        path = self.path / "rollout/pull.json"
        doc = json.loads(path.read_text())
        if changes:
            path.write_text(json.dumps({**doc, **changes}))
        return doc

    def published(self):
        """What a host reads that has the certificate."""
        done = subprocess.run(["openssl", "cms", "-verify", "-binary", "-nointern", "-noverify", "-certfile", self.keys[1],
                               "-inform", "PEM", "-in", self.out], capture_output=True, text=True, check=True)  # fmt: skip
        lines = done.stdout.split("\n")
        assert lines[0] == "kmodkeep-gate 1" and lines[-1] == ""
        return dict(line.split(" = ") for line in lines[1:-1])


@pytest.fixture
def publisher(tmp_path, keys):
    return Publisher(tmp_path, keys)


def test_shares_grow_when_those_that_may_are_well(publisher):
    """There is a canary at once, then those of the next share, and at the end all."""
    publisher.begin()
    first = publisher.published()
    assert (first["decision"], first["share"], first["packages"]) == ("go-on", str(max(100, ring(ORDER[0]) + 1)), "linux-image-amd64")
    seen = []
    for _ in range(6):
        share = int(publisher.published()["share"])
        seen.append(share)
        put(publisher.states, *[updated(name) for name in ORDER if ring(name) < share])
        text = publisher.look()
    assert seen[-1] == 10000 and sorted(seen) == seen and len(set(seen)) >= 3
    assert "is finished: go-on" in text and "of 40 hosts 40 were asked (40 done), 0 come later" in text


def test_nobody_may_more_before_enough_are_done(publisher):
    publisher.begin()
    share = publisher.published()["share"]
    assert "(1 waits), 39 come later" in publisher.look()
    assert publisher.published()["share"] == share
    put(publisher.states, state(ORDER[0], gate=gate("update", "begun")))
    assert "(1 updating)" in publisher.look()
    put(publisher.states, state(ORDER[0], gate=gate("updated", "updated")))
    assert "(1 reboots)" in publisher.look() and publisher.published()["share"] == share
    put(publisher.states, updated(ORDER[0]))
    publisher.look()
    assert int(publisher.published()["share"]) > int(share)


def boot(name, number):
    return digest(f"{name} boot {number}")


def test_one_that_rebooted_into_the_old_kernel_is_not_done(publisher):
    """It has shown nothing of the new one, however well it is."""
    publisher.begin()
    name = ORDER[0]
    said = gate("updated", "updated", step_boot=boot(name, 1))
    put(publisher.states, rebooted(name, gate=said, running_kernel=OLD, reboot_pending=True))
    text = publisher.look(code=1)
    assert f"other-kernel: {name} (it came up with {OLD}, but {NEW} is what should have booted)" in text, text


def test_a_reboot_before_its_update_is_none_after_it(publisher):
    """A host may be rebooted on any day between the begin of the roll-out and its own turn."""
    publisher.begin()
    name, share = ORDER[0], publisher.published()["share"]
    said = gate("updated", "updated", step_boot=boot(name, 2))
    put(publisher.states, rebooted(name, gate=said, running_kernel=OLD, reboot_pending=True))
    assert "(1 reboots)" in publisher.look() and publisher.published()["share"] == share
    put(publisher.states, rebooted(name, number=3, gate=said))
    publisher.look()
    assert int(publisher.published()["share"]) > int(share)


def test_a_kernel_that_comes_after_the_roll_out_is_not_its_fault(publisher):
    publisher.begin()
    name = ORDER[0]
    said = gate("updated", "updated", step_boot=boot(name, 1))
    put(publisher.states, rebooted(name, gate=said))
    assert "(1 done" in publisher.look()
    put(publisher.states, rebooted(name, gate=said, running_kernel=OLD, reboot_pending=True))
    assert "(1 done" in publisher.look()


def test_a_host_that_came_in_between_is_done_when_it_has_rebooted(publisher):
    """Of it there is no state from before the roll-out."""
    publisher.begin("--shares", "100", "--settle", "0")
    put(publisher.states, state("new", gate=gate("updated", "updated", step_boot=boot("new", 1)), boot_id=boot("new", 1)))
    assert "1 reboots" in publisher.look()
    put(publisher.states, rebooted("new", gate=gate("updated", "updated", step_boot=boot("new", 1))))
    assert "1 done" in publisher.look()


def finished(publisher, late):
    """A roll-out that is finished, but for the hosts LATE, which sleep."""
    publisher.begin()
    for _ in range(6):
        share = int(publisher.published()["share"])
        put(publisher.states, *[updated(name) for name in ORDER if ring(name) < share and name not in late])
        text = publisher.look()
    assert "is finished: go-on" in text and f"({len(HOSTS) - len(late)} done, {len(late)} waits)" in text, text


def test_those_behind_the_quorum_are_judged_too(publisher):
    """None more begins then; what has been well is not taken back, and stays so."""
    late = ORDER[-5:]
    finished(publisher, late)
    put(publisher.states, updated(late[0]))
    assert "is finished: go-on" in publisher.look()
    put(publisher.states, losing(late[1], gate=gate("updated", "updated")))
    text = publisher.look(code=1)
    assert "is stopped: stop, 100 % may" in text and f"loses-driver: {late[1]} (" in text, text
    assert publisher.published()["decision"] == "stop"
    publisher.look(code=1)
    publisher.run("--back", code=1)
    assert publisher.published()["decision"] == "go-back"


def test_what_befalls_the_others_later_stops_nobody(publisher):
    late = ORDER[-5:]
    finished(publisher, late)
    put(publisher.states, losing(ORDER[3], gate=gate("updated", "updated")))
    assert "is finished: go-on" in publisher.look()
    put(publisher.states, updated(late[0]))
    assert "is finished: go-on" in publisher.look() and publisher.published()["decision"] == "go-on"


def test_it_settles(publisher):
    publisher.begin("--settle", "4")
    put(publisher.states, updated(ORDER[0]))
    publisher.look()
    share = publisher.published()["share"]
    publisher.record(since=publisher.record()["since"] - 5 * HOUR)
    publisher.look()
    assert int(publisher.published()["share"]) > int(share)


BAD = {
    "loses a driver": (losing(ORDER[0], gate=gate("updated", "updated")), "go-back", "loses-driver"),
    "failed": (state(ORDER[0], gate=gate("failed", "failed")), "go-back", "update-failed"),
    "smoke test": (updated(ORDER[0], smoke="failed"), "go-back", "smoke-failed"),
    "another machine": (state(ORDER[0], machine="0" * 32), "stop", "replaced"),
    "cut": ("{", "stop", "cut"),
}


@pytest.mark.parametrize(("now", "decision", "fault"), BAD.values(), ids=BAD)
def test_it_stops(publisher, now, decision, fault):
    """At the canary; and it stays so, whatever the host says later."""
    publisher.begin()
    put(publisher.states, state(ORDER[0], gate=gate("update", "begun")))
    publisher.look()
    put(publisher.states, **{ORDER[0]: now})
    text = publisher.look(code=1)
    assert f"{fault}: {ORDER[0]} (" in text and "39 come later" in text
    assert publisher.published()["decision"] == decision
    put(publisher.states, updated(ORDER[0]))
    publisher.look(code=1)
    assert publisher.published()["decision"] == decision


def test_one_that_vanishes_in_the_middle(publisher):
    publisher.begin()
    put(publisher.states, state(ORDER[0], gate=gate("update", "begun")))
    publisher.look()
    (publisher.states / f"{ORDER[0]}.json").unlink()
    assert f"gone: {ORDER[0]} (it was there before the batch; now missing" in publisher.look(code=1)
    assert publisher.published()["decision"] == "go-back"


def test_one_that_was_cut_in_the_middle_for_long(publisher):
    publisher.begin()
    put(publisher.states, state(ORDER[0], gate=gate("update", "begun")))
    publisher.look()
    publisher.record(begun={ORDER[0]: time.time() - 7 * HOUR})
    assert "it began 7 hours ago and has not come through" in publisher.look(code=1)


def test_one_that_sleeps_is_counted_and_not_waited_for(publisher):
    """With a quorum of 80 % of ten hosts, one may sleep, one may be unwell already."""
    publisher.begin()
    publisher.record(share=ring(ORDER[9]) + 1)
    put(publisher.states, *[updated(name) for name in ORDER[:8]], state(ORDER[9], gate=gate("left-out", "left-out")))
    (publisher.states / f"{ORDER[8]}.json").unlink()
    assert "of 40 hosts 10 were asked (8 done, 1 left-out, 1 silent), 30 come later" in publisher.look()
    assert publisher.record()["share"] > ring(ORDER[9]) + 1


def test_one_that_was_left_out_begins_later(publisher):
    """The time of its update runs from when it began, not from when it was unwell."""
    publisher.begin()
    put(publisher.states, state(ORDER[0], gate=gate("left-out", "left-out")))
    assert "(1 left-out)" in publisher.look() and not publisher.record()["begun"]
    put(publisher.states, state(ORDER[0], gate=gate("update", "begun")))
    assert "(1 updating)" in publisher.look() and list(publisher.record()["begun"]) == [ORDER[0]]
    # And whoever has begun cannot be left out any more.
    put(publisher.states, state(ORDER[0], gate=gate("left-out", "left-out")))
    assert f"update-failed: {ORDER[0]} (it had begun, and says now" in publisher.look(code=1)
    assert publisher.published()["decision"] == "go-back"


def test_versions(publisher):
    publisher.begin("--settle", "0", "--packages", "linux-image-amd64=1:6.1~bpo12+1 g++")
    assert publisher.published()["packages"] == "linux-image-amd64=1:6.1~bpo12+1 g++"


def test_no_pin_in_a_uri(publisher):
    text = publisher.begin("--key", "pkcs11:object=x?pin-value=123456", code=2)
    assert "pin-source=file:" in text and "123456" not in text
    assert not (publisher.path / "rollout/pull.json").exists()


def test_one_that_refuses_the_file_is_counted(publisher):
    publisher.begin()
    put(publisher.states, state(ORDER[0], gate=gate("refused", message="it is not signed")))
    assert "(1 refuses)" in publisher.look()
    page = fleet("report", publisher.states).stdout
    assert "the gate file is refused: it is not signed" in page and ORDER[0] in page


def test_clones_are_not_believed(publisher):
    """Two with one ID are nobody, from the beginning."""
    put(publisher.states, state(ORDER[5], machine=digest(ORDER[4])))
    publisher.begin()
    assert "2 were never heard or believed" in publisher.look()


def test_some_may_have_faults(publisher):
    publisher.begin("--settle", "0", "--allow", "1")
    put(publisher.states, losing(ORDER[0], gate=gate("updated", "updated")))
    assert "1 with faults" in publisher.look()
    assert publisher.published()["decision"] == "go-on"


def test_by_hand(publisher):
    publisher.begin()
    publisher.run("--stop", code=1)
    assert publisher.published()["decision"] == "stop"
    publisher.run("--back", code=1)
    assert publisher.published()["decision"] == "go-back"


def test_a_file_is_made_anew_before_it_expires(publisher):
    publisher.begin()
    first = publisher.out.read_bytes()
    publisher.look()
    assert publisher.out.read_bytes() == first
    publisher.record(expires=int(time.time()) + 11 * HOUR)
    publisher.look()
    assert publisher.out.read_bytes() != first and int(publisher.published()["expires"]) > time.time() + 23 * HOUR


@pytest.mark.parametrize("content", [None, b"somebody's"])
def test_what_is_not_there_any_more_is_published_again(publisher, content):
    """Also after a kill between the record and the file."""
    publisher.begin()
    issued = publisher.published()["issued"]
    publisher.out.unlink() if content is None else publisher.out.write_bytes(content)
    publisher.look()
    assert int(publisher.published()["issued"]) > int(issued)
    assert publisher.out.stat().st_mtime == int(publisher.published()["issued"])


@pytest.mark.parametrize("key", ["nowhere.key", "pkcs11:token=nowhere;object=x"])
def test_the_signer_is_not_there(publisher, key):
    """Nothing has happened then, and the next run tries again."""
    publisher.begin()
    before, file = publisher.record(key=key if ":" in key else str(publisher.path / key)), publisher.out.read_bytes()
    put(publisher.states, updated(ORDER[0]))
    assert "kmodkeep fleet pull: openssl did not sign: " in publisher.look(code=3)
    assert publisher.out.read_bytes() == file and publisher.record()["share"] == before["share"]
    publisher.record(key=before["key"])
    publisher.look()
    assert publisher.record()["share"] > before["share"]


def test_a_signer_that_never_answers(tmp_path, monkeypatch):
    """It is not waited for without a bound, and nothing has happened then."""
    (tmp_path / "openssl").write_text("#!/bin/sh\nexec sleep 3600\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(pull, "SIGN_SECONDS", 1)
    with pytest.raises(OSError, match="openssl did not answer within 1 seconds"):
        pull.sign("text", "certificate", "key")


def test_two_at_once(publisher):
    publisher.begin()
    assert "is still running. Next: --stop it" in publisher.begin(name="kernel-8", code=2)
    publisher.run("--stop", code=1)
    assert "there was a roll-out kernel-7 already" in publisher.begin(code=2)
    issued = int(publisher.published()["issued"])
    publisher.begin(name="kernel-8")
    assert int(publisher.published()["issued"]) > issued


def test_a_damaged_record(publisher):
    publisher.begin()
    (publisher.path / "rollout/pull.json").write_text('{"schema": 1')
    assert "damaged, so nobody knows how far the roll-out was. Next: " in publisher.look(code=2)


@pytest.mark.parametrize("words", [
    ("--shares", "5,1,100"), ("--shares", "1,5"), ("--shares", "0,100"), ("--shares", "x"), ("--quorum", "0"),
    ("--life", "1"), ("--settle", "-1"), ("--allow", "x"), ("--packages", "a --b"), ("--packages", "kmodkeep-"),
    ("--packages", "a="), ("--packages", "a=1=2"), ("--packages", "a=-o"), ("--packages", " "), ("--packages", "a" * 5000),
    ("--shares", "inf,100"), ("--settle", "nan"), ("--settle", "inf"), ("--life", "99999999"),
], ids=" ".join)  # fmt: skip
def test_what_makes_no_sense(publisher, words):
    publisher.begin(*words, code=2)
    assert not publisher.out.exists()


def test_names_that_make_no_sense(publisher):
    for name in ("a b", "../x", "", "a" * 65):
        publisher.begin(name=name, code=2)
    assert "there is no roll-out" in publisher.look(code=2)


def test_no_host_is_well(publisher, tmp_path, keys):
    put(publisher.states, *[losing(name) for name in HOSTS])
    assert "no host there is well" in publisher.begin(code=2)


def test_the_commands_of_the_page(tmp_path):
    """docs/fleet.md, as they stand there, but below another root."""
    section = (TOP / "docs/fleet.md").read_text().split("## Without a controller\n")[1].split("\n## ")[0]
    commands = "".join(line for line in section.splitlines(True) if line.startswith("    ")).replace("/srv", f"{tmp_path}/srv")
    assert commands.count("kmodkeep fleet pull") == 2 and "openssl req" in commands
    put_path = tmp_path / "srv/states"
    (tmp_path / "srv/packages").mkdir(parents=True)
    put(put_path, *[state(name) for name in HOSTS])
    (tmp_path / "kmodkeep").write_text(f'#!/bin/sh\nshift\nexec {PROGRAM} kmodkeep "$@"\n')
    (tmp_path / "kmodkeep").chmod(0o755)
    done = subprocess.run(["sh", "-eu"], input=commands.replace("kmodkeep fleet pull", f"{tmp_path}/kmodkeep fleet pull --dir {tmp_path}/rollout"),
                          capture_output=True, text=True, timeout=120, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(1 waits), 39 come later" in done.stdout and (tmp_path / "srv/packages/gate").exists()
