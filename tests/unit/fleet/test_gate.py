# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate's decision: go on, stop, go back; each host of the batch is counted."""

import json
import resource
import socket
import threading
import time

import jinja2
import pytest
import yaml
from jinja2 import nativetypes

from tests.unit.fleet.hosts import NEW, OLD, TOP, digest, fleet, kept, losing, put, rebooted, stamp, state


def gate(tmp_path, *words, now, before=(), after=(), code=None):
    """What the gate says of the states NOW."""
    directories = [put(tmp_path / "now", *now)]
    for option, docs in (("--before", before), ("--after", after)):
        if docs:
            directories += [option, put(tmp_path / option[2:], *docs)]
    done = fleet("gate", "--json", *directories, *words)
    assert not done.stderr, done.stderr
    verdict = json.loads(done.stdout)
    assert done.returncode == (0 if verdict["decision"] == "go-on" else 1)
    return verdict


def faults(verdict, name="h1"):
    return [one["fault"] for one in verdict["hosts"].get(name, [])]


def test_all_well(tmp_path):
    verdict = gate(tmp_path, "--rebooted", now=[rebooted("h1"), rebooted("h2")], before=[state("h1"), state("h2")])
    assert (verdict["decision"], verdict["hosts_asked"], verdict["hosts"]) == ("go-on", 2, {})


BAD = {
    "loses a driver": (losing("h1"), "loses-driver"),
    "cannot tell": (state("h1", safe="unknown", line="who knows"), "cannot-tell"),
    "half-configured": (rebooted("h1", unfinished_packages=["linux-image"]), "half-configured"),
    "smoke test failed": (rebooted("h1", smoke="failed"), "smoke-failed"),
    "smoke test not run": (rebooted("h1", smoke=""), "smoke-missing"),
    "pinned": (rebooted("h1", pin={"kernel": "6.1", "since": 1}), "pinned"),
    "not rebooted": (state("h1"), "not-rebooted"),
    "the update failed": (state("h1", failed="E: broken"), "update-failed"),
    "unreachable": (state("h1", error="no route"), "gone"),
}


@pytest.mark.parametrize(("now", "fault"), BAD.values(), ids=BAD)
def test_what_an_update_does_goes_back(tmp_path, now, fault):
    verdict = gate(tmp_path, "--rebooted", now=[now], before=[state("h1")])
    assert verdict["decision"] == "go-back" and fault in faults(verdict)
    assert any(line.startswith(f"{fault}: h1 (") for line in verdict["reasons"])


@pytest.mark.parametrize("held", [True, False])
def test_a_host_that_was_pinned_before(tmp_path, held):
    """By a roll-out that went back, or by its guard: it runs the old kernel and is well, which says nothing of a new one."""
    pin = {"kernel": "6.1", "since": 1, "held": held}
    states = {"now": [rebooted("h1", pin=pin)], "before": [state("h1", pin=pin)]}
    verdict = gate(tmp_path, "--rebooted", **states)
    assert verdict["decision"] == "stop" and faults(verdict) == ["not-tried"]
    assert "pinned to kernel 6.1 before the update" in verdict["hosts"]["h1"][0]["reason"]
    # Where nothing is rebooted no kernel is to be tried; and a pin that went with the update is none.
    states = {"now": [state("h1", pin=pin)], "before": [state("h1", pin=pin)]}
    assert gate(tmp_path, **states)["decision"] == "go-on"
    states = {"now": [rebooted("h1")], "before": [state("h1", pin=pin)]}
    assert gate(tmp_path, "--rebooted", **states)["decision"] == "go-on"


def test_a_host_that_came_up_with_another_kernel(tmp_path):
    """The boot loader went back by itself, or had another default: what is well is the old kernel."""
    after = rebooted("h1") | {"running_kernel": OLD}
    verdict = gate(tmp_path, "--rebooted", now=[after], before=[state("h1")], after=[after])
    assert verdict["decision"] == "go-back" and faults(verdict) == ["other-kernel"]
    assert verdict["reasons"] == [f"other-kernel: h1 (it came up with {OLD}, but {NEW} is what should have booted)"]
    # One that was installed later, by others, is not of this update.
    well = gate(tmp_path, "--rebooted", now=[after], before=[state("h1")], after=[rebooted("h1")])
    assert well["decision"] == "go-on"


def test_the_kernel_of_a_host_that_said_nothing_right_after_the_reboot(tmp_path):
    """It is that of now which counts."""
    now = [rebooted("h1") | {"running_kernel": OLD}, rebooted("h2")]
    verdict = gate(tmp_path, "--rebooted", now=now, before=[state("h1"), state("h2")], after=[rebooted("h2")])
    assert verdict["decision"] == "go-back" and faults(verdict) == ["other-kernel"] and "h2" not in verdict["hosts"]


@pytest.mark.parametrize("others", [[], [rebooted("h2")]])
def test_a_canary_that_tried_nothing_is_not_allowed(tmp_path, others):
    """However many may have faults; with another one that is well it is one of these."""
    pin = {"kernel": "6.1", "since": 1}
    verdict = gate(tmp_path, "--rebooted", "--allow", "1", now=[rebooted("h1", pin=pin), *others],
                   before=[state("h1", pin=pin), state("h2")])  # fmt: skip
    assert faults(verdict) == ["not-tried"]
    assert verdict["decision"] == ("go-on" if others else "stop")


FIRING = 'ALERTS{alertstate="firing",severity="critical"}'


def test_what_prometheus_has_of_them(prometheus, tmp_path):
    """The site's own alerts count, too; one of a host that is not in the batch does not."""
    prometheus.rows = {"up": [({"instance": f"h{n}:9100"}, "1") for n in (1, 2, 3)],
                       FIRING: [({"instance": name, "alertname": "Slow\x1b"}, "1") for name in ("h1:9100", "h3:9100")]}  # fmt: skip
    now, before = [rebooted("h1"), rebooted("h2")], [state("h1"), state("h2")]
    verdict = gate(tmp_path, "--rebooted", "--prometheus", prometheus.url, now=now, before=before)
    assert (verdict["decision"], list(verdict["hosts"])) == ("go-back", ["h1"])
    assert verdict["reasons"] == ["alert: h1 (Slow? fires)"]
    own = gate(tmp_path, "--rebooted", "--prometheus", prometheus.url, "--alerts", "other", now=now, before=before)
    assert own["decision"] == "go-on"


def ansibles(task, **variables):
    """The words by which the tasks TASK of the role ask the gate."""
    role = TOP / "fleet/ansible/roles/rollout"
    values = {**yaml.safe_load((role / "defaults/main.yml").read_text()), "rollout_fleet": ["gate-of-tests"], **variables}
    render = nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined).from_string
    watch = yaml.safe_load((role / "vars/main.yml").read_text())["rollout_watch"]
    (asked,) = [one for one in yaml.safe_load((role / f"tasks/{task}.yml").read_text()) if one["name"] == "Ask the gate"]
    verb, *words = render(asked["ansible.builtin.command"]["argv"]).render(values, rollout_watch=render(watch).render(values))[1:]
    assert verb == "gate"
    return words


@pytest.mark.parametrize("task", ["preflight", "gate"])
def test_a_rollout_asks_prometheus(prometheus, tmp_path, task):
    """Before anything is changed, and after each batch; which alerts is the site's choice."""
    put(tmp_path / "before", state("h1"))
    for name in ("now", "after"):
        put(tmp_path / name, rebooted("h1"))
    (tmp_path / "batch").write_text("h1\n")
    prometheus.rows = {"up": [({"instance": "h1:9100"}, "1")],
                       "slow": [({"instance": "h1:9100", "alertname": "Slow"}, "1")]}  # fmt: skip
    for more, found in (({}, []), ({"rollout_prometheus": prometheus.url}, []),
                        ({"rollout_prometheus": prometheus.url, "rollout_alerts": "slow"}, ["alert"])):  # fmt: skip
        words = ansibles(task, rollout_directory=str(tmp_path), **more)
        assert ("--prometheus" in words, "--alerts" in words) == ("rollout_prometheus" in more, "rollout_alerts" in more)
        assert faults(json.loads(fleet("gate", *words).stdout)) == found, words


def test_a_host_that_prometheus_does_not_know(prometheus, tmp_path):
    """That no alert fires for it says nothing."""
    prometheus.rows = {"up": [({"instance": "h2:9100"}, "1")]}
    verdict = gate(tmp_path, "--rebooted", "--prometheus", prometheus.url, now=[rebooted("h1")], before=[state("h1")])
    assert verdict["decision"] == "stop" and faults(verdict) == ["not-watched"]


def test_a_host_that_prometheus_does_not_reach(prometheus, tmp_path):
    """Its metrics are not there, so that none of their alerts fires. One exporter of several is enough."""
    down, other = ({"instance": "h1:9100"}, "0"), ({"instance": "h1:9400"}, "1")
    fires = [({"instance": "h1:9100", "alertname": "Down"}, "1")]
    for rows, firing, decision, found in (([down], [], "stop", ["not-watched"]), ([down, other], [], "go-on", []), ([down], fires, "go-back", ["alert"])):
        prometheus.rows = {"up": rows, FIRING: firing}
        verdict = gate(tmp_path, "--rebooted", "--prometheus", prometheus.url, now=[rebooted("h1")], before=[state("h1")])
        assert (verdict["decision"], faults(verdict)) == (decision, found)


def test_what_answers_is_not_prometheus(tmp_path):
    """No HTTP at all: it could not be told, and that is not the gate's own "no"."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=banner, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = fleet("gate", put(tmp_path / "now", state("h1")), "--prometheus", url)
    assert done.returncode == 3 and "no answer of Prometheus" in done.stderr and not done.stdout, done.stderr


def banner(server):
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"SSH-2.0-other\r\n\r\n")


def test_prometheus_does_not_answer(tmp_path):
    done = fleet("gate", put(tmp_path / "now", state("h1")), "--prometheus", "http://127.0.0.1:9")
    assert done.returncode == 3 and "Prometheus does not answer" in done.stderr and not done.stdout


def test_a_smoke_test_that_failed_in_an_earlier_boot_is_not_this_one(tmp_path):
    old = [{"driver": "other", "result": "failed", "boot_id": digest("h1 boot 0")}]
    assert gate(tmp_path, now=[state("h1", smoke=old)])["decision"] == "go-on"


def test_a_canary_that_died_and_came_back(tmp_path):
    """Its drivers are well now; nothing but the recorder, or the boot, says what happened."""
    recorder = {"boots": [kept("h1", 1), kept("h1", 2, "panic", "Kernel panic - oh\x1b no")],
                "report": "How boot 2 ended\n  Kernel panic\x1b[2J"}  # fmt: skip
    now = rebooted("h1", 3, recorder=recorder)
    verdict = gate(tmp_path, "--rebooted", now=[now], before=[state("h1")])
    assert verdict["decision"] == "go-back" and faults(verdict) == ["crashed", "booted-again"]
    assert verdict["hosts"]["h1"][0]["reason"].endswith("panic: Kernel panic - oh? no")
    assert verdict["reports"] == {"h1": "How boot 2 ended\n  Kernel panic?[2J"}


def test_one_that_came_back_without_a_recorder(tmp_path):
    verdict = gate(tmp_path, "--rebooted", now=[rebooted("h1", 3)], before=[state("h1")], after=[rebooted("h1", 2)])
    assert verdict["decision"] == "go-back" and faults(verdict) == ["booted-again"]


def test_a_boot_that_nobody_asked_for(tmp_path):
    verdict = gate(tmp_path, now=[rebooted("h1")], before=[state("h1")])
    assert verdict["decision"] == "go-back" and faults(verdict) == ["booted-again"]


def test_a_power_cut_is_no_orderly_end(tmp_path):
    now = rebooted("h1", recorder={"boots": [kept("h1", 1, "unknown")]})
    assert faults(gate(tmp_path, "--rebooted", now=[now], before=[state("h1")])) == ["crashed"]


def test_old_crashes_do_not_count(tmp_path):
    old = {"boots": [kept("h1", 0, "panic", "long ago", end=1000), kept("h1", 1)]}
    before = state("h1", recorder=old)
    assert gate(tmp_path, "--rebooted", now=[rebooted("h1", recorder=old)], before=[before])["decision"] == "go-on"
    # Nor without a state from before, if their end is known.
    since = int(time.time()) - 100
    (tmp_path / "before/h1.json").unlink()
    assert gate(tmp_path, "--since", since, now=[rebooted("h1", recorder=old)])["decision"] == "go-on"
    unknown = {"boots": [kept("h1", 0, "panic", "who knows when")]}
    assert faults(gate(tmp_path, "--since", since, now=[rebooted("h1", recorder=unknown)])) == ["crashed"]


def test_missing_stale_replaced(tmp_path):
    names = tmp_path / "names"
    names.write_text("h1\nh2 # sleeps\n\nh3\nh4\nh5\n")
    since = int(time.time()) - 600
    now = [rebooted("h1"), rebooted("h2", time=stamp(since - 1)), rebooted("h3", machine=digest("another"))]
    verdict = gate(tmp_path, "--rebooted", "--hosts", names, "--since", since, now=now,
                   before=[state(f"h{n}") for n in range(1, 5)])  # fmt: skip
    assert (verdict["hosts_asked"], verdict["hosts_failed"]) == (5, 4)
    assert {name: faults(verdict, name) for name in verdict["hosts"]} == {
        "h2": ["gone"], "h3": ["replaced"], "h4": ["gone"], "h5": ["missing"]}  # fmt: skip


@pytest.mark.parametrize("doc", [{"schema": 1}, state("h1", machine="x", safe="<b>")], ids=["empty", "hostile"])
def test_what_nobody_has_seen_stops(tmp_path, doc):
    """No sign of what the update did: going back would be a guess."""
    verdict = gate(tmp_path, now=[{**doc, "inventory": "h1"}], before=[state("h1")])
    assert verdict["decision"] == "stop" and len(verdict["hosts"]["h1"]) == 1


def test_a_state_of_this_morning_says_nothing_of_now(tmp_path):
    old = state("h1", time=stamp(time.time() - 3700))
    assert faults(gate(tmp_path, now=[old])) == ["stale"]
    assert gate(tmp_path, "--since", "0", now=[old])["decision"] == "go-on"


def test_nothing_is_no_success(tmp_path):
    verdict = gate(tmp_path, "--allow", "100", now=[])
    assert verdict["decision"] == "stop" and "nothing was tried" in verdict["reasons"][0]


@pytest.mark.parametrize(("allow", "decision"), [
    ("0", "go-back"), ("1", "go-back"), ("2", "go-on"), ("19%", "go-back"), ("20%", "go-on"), ("29%", "go-on")])  # fmt: skip
def test_allowed(tmp_path, allow, decision):
    now = [rebooted(f"h{n}") for n in range(8)] + [losing("bad1"), losing("bad2")]
    verdict = gate(tmp_path, "--allow", allow, now=now)
    assert (verdict["decision"], verdict["hosts_failed"]) == (decision, 2)
    assert verdict["reasons"] == ["loses-driver: bad1 (sample: missing on 6.1.0-31-amd64), and 1 more"]


@pytest.mark.parametrize("allow", ["-1", "x", "101%", "", "%", "1.5", "²"])
def test_allowed_wrongly(tmp_path, allow):
    done = fleet("gate", put(tmp_path / "now", state("h1")), f"--allow={allow}")
    assert done.returncode == 2 and "neither a number of hosts nor a percentage" in done.stderr


def test_for_people(tmp_path):
    put(tmp_path / "now", losing("h1"), rebooted("h2"))
    done = fleet("gate", tmp_path / "now")
    assert done.returncode == 1
    assert done.stdout == ("go-back: 1 of 2 hosts have faults, 0 may\n"
                           "  loses-driver: h1 (sample: missing on 6.1.0-31-amd64)\n")  # fmt: skip


def test_no_directory(tmp_path):
    done = fleet("gate", tmp_path / "none")
    assert done.returncode == 3 and done.stderr == f"kmodkeep fleet gate: {tmp_path}/none: No such file or directory\n"


def test_a_thousand(tmp_path):
    """Not timed here, but bounded: what it takes of the processor is counted."""
    put(tmp_path / "before", *[state(f"h{n}") for n in range(1000)])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    verdict = gate(tmp_path, "--rebooted", "--before", tmp_path / "before", now=[rebooted(f"h{n}") for n in range(1000)])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (verdict["decision"], verdict["hosts_asked"]) == ("go-on", 1000)
    assert after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime < 5
