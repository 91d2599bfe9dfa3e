# SPDX-License-Identifier: GPL-2.0-or-later
"""One page that a person reads: how many hosts are safe, who would lose what and why, what to do.

Every host is in exactly one of four lists: safe, would lose a driver, cannot tell, not
believed. Their lengths add up to the hosts that were asked about.
"""

import json
import os
import time
from dataclasses import dataclass, field

from . import page, prometheus, states

KEY_SOON = 60 * 24 * 3600
SNAPSHOT_SCHEMA = 1
SNAPSHOT_MAX = 64 * 1024 * 1024

REFUSALS = {
    "missing": "see whether the host lives, and whether its state is sent",
    "update-failed": "see what the roll-out said of it; then: kmodkeep status on the host",
    "unreachable": "see whether the host lives",
    "stale": "see why it sends no newer state: systemctl status kmodkeep-guard",
    "from-the-future": "set the clock of the host, or of this machine",
    "cut": "send it again; if it stays so, look at the disk of the host",
    "huge": "look at who wrote it: no kmodkeep does",
    "malformed": "look at who wrote it: no kmodkeep does",
    "other-schema": "bring kmodkeep to one version on the host and here",
    "other-host": "look at who wrote it; a cloned host needs a name of its own",
    "not-a-host": "take it off the list; its host is what counts",
    "same-machine": "give the clone an ID of its own: systemd-machine-id-setup after emptying /etc/machine-id",
    "contradicts-itself": "look at who wrote it, and ask the host itself: kmodkeep status",
    "unreadable": "put regular files there that this user may read",
}


@dataclass
class Group:
    """Hosts with the same cause, for which the same is to be done."""

    title: str
    next_step: str
    hosts: list = field(default_factory=list)


@dataclass
class Summary:
    """What the page says."""

    when: float
    asked: int
    safe: int
    losing: int
    unsure: int
    refused: int
    causes: list  # Groups of hosts that lose a driver, or cannot tell
    doubts: list  # Groups of files that are not believed
    waiting: list  # Groups of other things to do
    changes: list = None  # Groups of what is otherwise than at the last roll-out; None: not asked


def _group(groups, key, title, next_step, host):
    if key not in groups:
        groups[key] = Group(title, next_step)
    groups[key].hosts.append(host)


def _largest_first(groups):
    return sorted(groups.values(), key=lambda group: (-len(group.hosts), group.title))


def causes_of(state):
    """[(title, next step)] of what a host would lose, or of why that is not known."""
    found = {}
    for loss in state.losses:
        if state.safe == "no" and loss.serves != "no":
            continue
        why = loss.message or loss.verdict
        key = (loss.driver, loss.verdict, loss.kernel, loss.next_step)
        found.setdefault(key, (f"{loss.driver}: {loss.verdict} on kernel {loss.kernel}", loss.next_step or state.next_step, why))
    if not found:
        found[state.line] = (state.line or "it does not say why", state.next_step, "")
    return list(found.values())


def _causes(fleet):
    groups = {}
    for state in fleet.states.values():
        for title, step, why in causes_of(state) if state.safe != "yes" else ():
            head = "would lose " if state.safe == "no" else "cannot tell: "
            if (head, title, step) not in groups:
                groups[head, title, step] = Group(head + title + (f" ({why})" if why else ""), step)
            groups[head, title, step].hosts.append(state.name)
    return _largest_first(groups)


def _doubts(fleet):
    groups = {}
    for name, (word, detail) in fleet.refused.items():
        _group(groups, word, word, REFUSALS.get(word, "look at the file"), f"{name} ({detail})")
    return _largest_first(groups)


def _waiting(fleet, now):
    groups = {}
    for state in fleet.states.values():
        for title, step in _things_to_do(state, now):
            _group(groups, title, title, step, state.name)
    return _largest_first(groups)


def _things_to_do(state, now):
    if state.enrolment == "pending":
        yield ("a key waits for somebody at the console",
               "reboot the host, and confirm at its console: Enroll MOK, Continue, Yes, the one-time password")  # fmt: skip
    if state.enrolment == "declined":
        yield "the enrolment of a key was declined or not answered", "kmodkeep key enroll --again"
    for driver, (result, boot_id, message) in state.smoke.items():
        if result == "failed" and boot_id == state.boot_id:
            yield f"the smoke test of {driver} failed" + (f": {message}" if message else ""), "kmodkeep smoke " + driver
    if state.pin:
        yield "the boot loader is pinned to an older kernel", "mend the cause; or kmodkeep pin release"
    if 0 < state.key_expires < now + KEY_SOON:
        yield "the key expires in less than 60 days, or has", "kmodkeep key rotate begin"
    if state.unfinished:
        yield "packages are half-configured", "dpkg --configure -a"
    if any(boot.crashed for boot in state.boots):
        yield "a boot that is kept did not end in order", "flightrec boots; flightrec report"
    if state.rotation in ("both", "new", "back"):
        yield "a change of the key is under way", "kmodkeep key rotate status"
    if state.gate == "refused":
        yield f"the gate file is refused: {state.gate_why}", "kmodkeep gate --fetch on the host says more"
    if state.step[0] in ("failed", "left-out"):
        yield f"the roll-out {state.step[1]} has {state.step[0].replace('-', ' ')} it", "journalctl -u kmodkeep-pull"
    if state.reboot_pending and state.safe == "yes":
        yield "a reboot waits, and it is safe", "reboot when it suits"


def summarise(fleet, now):
    count = {word: sum(state.safe == word for state in fleet.states.values()) for word in ("yes", "no", "unknown")}
    return Summary(
        when=now, asked=len(fleet.states) + len(fleet.refused), safe=count["yes"], losing=count["no"],
        unsure=count["unknown"], refused=len(fleet.refused), causes=_causes(fleet),
        doubts=_doubts(fleet), waiting=_waiting(fleet, now),
    )  # fmt: skip


# ---- what changed since


def snapshot(fleet):
    """What the next report compares itself with, {name: [answer, cause]}."""
    found = {name: [state.safe, "; ".join(cause[0] for cause in causes_of(state)) if state.safe != "yes" else "",
                    state.next_kernel] for name, state in fleet.states.items()}  # fmt: skip
    found.update({name: ["not believed", word, ""] for name, (word, _) in fleet.refused.items()})
    return {"schema": SNAPSHOT_SCHEMA, "hosts": found}


def read_snapshot(path):
    with open(path, "rb") as file:
        data = file.read(SNAPSHOT_MAX + 1)
    try:
        doc = json.loads(data[:SNAPSHOT_MAX])
        hosts = doc["hosts"]
        if doc["schema"] != SNAPSHOT_SCHEMA or not all(
            len(row) == 3 and all(isinstance(word, str) for word in row) for row in hosts.values()
        ):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise states.Usage(f"{path}: not what --save has written") from None
    return hosts


def write_snapshot(path, fleet):
    """In one step: a report that was ended leaves the old one."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as file:
        json.dump(snapshot(fleet), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


ANSWERS = {"yes": "safe", "no": "would lose a driver", "unknown": "cannot tell", "not believed": "not believed"}


def changes(then, fleet):
    """Groups of hosts that are otherwise than in the snapshot THEN."""
    now = snapshot(fleet)["hosts"]
    groups = {}
    for name in sorted(set(then) | set(now)):
        host = states.plain(name)
        if name not in now:
            _group(groups, "gone", "was there, and was not asked about now", "take it off the list, or find it", host)
        elif name not in then:
            _group(groups, "new", "was not there", "", host)
        elif then[name][0] != now[name][0]:
            title = f"was: {ANSWERS.get(then[name][0], '?')}; now: {ANSWERS[now[name][0]]}"
            _group(groups, title, title, "", host)
        elif then[name][1] != now[name][1]:
            _group(groups, "cause", f"still {ANSWERS[now[name][0]]}, for another reason", "", host)
        elif then[name][2] != now[name][2]:
            _group(groups, "kernel", "as it was, with another kernel for the next boot", "", host)
    return _largest_first(groups)


# ---- the verb


def add_options(parser):
    parser.add_argument("directory", metavar="DIR", nargs="?", help="state files, NAME.json each")
    parser.add_argument("--prometheus", metavar="URL", help="ask Prometheus at this address instead")
    parser.add_argument("--hosts", metavar="FILE", help="names of all hosts, one a line: who is missing is said")
    parser.add_argument("--max-age", metavar="HOURS", type=int, default=26, help="older files are stale (default: 26)")
    parser.add_argument("--since", metavar="FILE", help="say what changed since the report that saved this")
    parser.add_argument("--save", metavar="FILE", help="for --since of a later report")
    parser.add_argument("--html", action="store_true", help="one page of HTML instead of text")


def gather(options, now):
    if bool(options.directory) == bool(options.prometheus):
        raise states.Usage("give a directory of state files, or --prometheus URL")
    wanted = states.read_names(options.hosts) if options.hosts else None
    if options.prometheus:
        return prometheus.read(options.prometheus, wanted)
    return states.read_directory(options.directory, now, options.max_age * 3600, wanted)


def run(options):
    """0: all hosts are safe; 1: one would lose a driver; 3: of one it cannot be told."""
    now = time.time()
    then = read_snapshot(options.since) if options.since else None
    fleet = gather(options, now)
    summary = summarise(fleet, now)
    if then is not None:
        summary.changes = changes(then, fleet)
    print(page.html(summary) if options.html else page.text(summary), end="")
    if options.save:
        write_snapshot(options.save, fleet)
    return 1 if summary.losing else 0 if summary.safe == summary.asked and summary.asked else 3
