# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate: after a batch, does the roll-out go on, stop, or go back?

Every host of the batch is either good or has faults, each a word with a reason. Up to the
allowed number of hosts with faults it goes on. Above it, it goes back if a fault is one that
the update can have caused, and stops if all are such that nobody has seen what it did.
"""

import json
import time
from dataclasses import dataclass

from . import prometheus, states

HOUR = 3600
GO_ON, STOP, GO_BACK = "go-on", "stop", "go-back"

# What only an update does to a host that was well before: the others get it back.
BLAMED = {
    "loses-driver", "cannot-tell", "smoke-failed", "smoke-missing", "crashed", "booted-again",
    "not-rebooted", "half-configured", "pinned", "gone", "update-failed", "alert",
    "other-kernel",
}  # fmt: skip


@dataclass
class Batch:
    """What is known of the hosts from before the batch, and right after its reboot."""

    states: dict
    after: dict
    since: int = 0  # when the batch began, seconds since 1970
    rebooted: bool = False  # each host was rebooted once
    alerts: dict = None  # of each host that Prometheus watches; None: it was not asked


def faults_of(now, batch):
    """[(word, reason)] of a host that was heard; NOW is its state."""
    before = batch.states.get(now.name)
    found = []
    if before and before.machine != now.machine:
        # Nothing else can be compared: this is another machine.
        return [("replaced", "another machine has its name")]
    if now.safe == "no":
        lost = now.losses[0] if now.losses else None
        found.append(("loses-driver", f"{lost.module}: {lost.verdict} on {lost.kernel}" if lost else now.line))
    elif now.safe != "yes":
        found.append(("cannot-tell", now.line))
    if now.unfinished:
        found.append(("half-configured", f"package {now.unfinished[0]}"))
    if before and now.pin and not before.pin:
        found.append(("pinned", f"it holds on to kernel {now.pin}"))
    return (found + _kernel_faults(now, before, batch) + _smoke_faults(now, before) + _crash_faults(now, before, batch.since)
            + _boot_faults(now, before, batch))  # fmt: skip


def _kernel_faults(now, before, batch):
    """A host that did not boot the newest kernel has shown nothing of it, however well it is."""
    after = batch.after.get(now.name)
    if batch.rebooted and before and before.pin and now.pin:
        return [("not-tried", f"it was pinned to kernel {before.pin} before the update, and is to {now.pin}: see kmodkeep pin there")]
    if batch.rebooted and after and after.next_kernel and after.running != after.next_kernel:
        return [("other-kernel", f"it came up with {after.running}, but {after.next_kernel} is what should have booted")]
    return []


def _smoke_faults(now, before):
    found = []
    for driver, (result, boot_id, message) in now.smoke.items():
        if result == "failed" and boot_id == now.boot_id:
            found.append(("smoke-failed", f"{driver}: {message}"))
    # One that was tested before, and is not in the boot that counts now.
    for driver, (result, _, _) in before.smoke.items() if before else ():
        if result == "passed" and now.smoke.get(driver, ("", "", ""))[1] != now.boot_id:
            found.append(("smoke-missing", f"{driver} was not tried out since the host booted"))
    return found


def _crash_faults(now, before, since):
    """The first boot that died since the batch began."""
    known = {boot.boot_id for boot in before.boots if boot.crashed} if before else set()
    for boot in now.boots:
        # Of one whose end is not known it cannot be told that it is an old one: it counts.
        if boot.crashed and boot.boot_id not in known and not 0 < boot.end < since:
            return [("crashed", f"boot {boot.boot_id[:8]}: {boot.kind}: {boot.cause}")]
    return []


def _boot_faults(now, before, batch):
    after = batch.after.get(now.name)
    found = []
    if before and batch.rebooted and now.boot_id == before.boot_id:
        found.append(("not-rebooted", "it still runs the boot from before the batch"))
    if after and now.boot_id != after.boot_id:
        found.append(("booted-again", "it came up again after the reboot of the batch"))
    elif before and now.boot_id != before.boot_id and not batch.rebooted:
        found.append(("booted-again", "it booted, and nobody asked it to"))
    elif before and batch.rebooted:
        found += _boots_between(now, before)
    return found


def _boots_between(now, before):
    """Boots that came and went between the one before the batch and the one of now."""
    ids = [boot.boot_id for boot in now.boots]
    if before.boot_id not in ids:
        return []
    between = [boot for boot in ids[ids.index(before.boot_id) + 1 :] if boot != now.boot_id]
    return [("booted-again", f"it booted {len(between) + 1} times")] if between else []


def _alert_faults(name, alerts):
    """A host that Prometheus does not reach has no alerts either, which says nothing."""
    if alerts is None:
        return []
    if name not in alerts:
        return [("not-watched", "Prometheus has no target of that name, or does not reach it")]
    return [("alert", f"{alerts[name][0]} fires")] if alerts[name] else []


def refusal_of(word, detail, before):
    """The fault of a host that was not heard."""
    if word in ("missing", "unreachable", "stale") and before:
        return "gone", f"it was there before the batch; now {word}: {detail}"
    return word, detail


def decide(fleet, batch, allowed):
    """{"decision", "reasons", "hosts", ...} of the batch in FLEET; ALLOWED hosts may have faults."""
    hosts = {}
    for name, state in fleet.states.items():
        hosts[name] = faults_of(state, batch) + _alert_faults(name, batch.alerts)
    for name, (word, detail) in fleet.refused.items():
        hosts[name] = [refusal_of(word, detail, batch.states.get(name))]
    failed = {name: faults for name, faults in hosts.items() if faults}
    if not hosts:
        decision, reasons = STOP, ["there is no host in this batch: nothing was tried"]
    else:
        reasons = reasons_of(failed)
        blamed = any(word in BLAMED for faults in failed.values() for word, _ in faults)
        # Of a batch in which nobody has seen what the update does, any number is too many.
        seen = blamed or len(failed) < len(hosts)
        decision = GO_ON if seen and len(failed) <= allowed else GO_BACK if blamed else STOP
    return {
        "schema": 1, "decision": decision, "hosts_asked": len(hosts), "hosts_failed": len(failed),
        "allowed": allowed, "reasons": reasons,
        "hosts": {name: [{"fault": word, "reason": reason} for word, reason in faults]
                  for name, faults in sorted(failed.items())},
        "reports": {name: fleet.states[name].report for name, faults in sorted(failed.items())
                    if any(word == "crashed" for word, _ in faults) and fleet.states[name].report},
    }  # fmt: skip


def reasons_of(failed):
    """A line for each kind of fault, the most frequent first."""
    kinds = {}
    for name, faults in sorted(failed.items()):
        for word, reason in faults:
            kinds.setdefault(word, []).append((name, reason))
    lines = []
    for word, found in sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0])):
        name, reason = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        lines.append(f"{word}: {name} ({reason}){more}")
    return lines


def allowance(word, hosts):
    """How many of HOSTS may fail, of a number or a percentage like "2%" (rounded down)."""
    percent = word.endswith("%")
    digits = word[:-1] if percent else word
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 6 or (percent and int(digits) > 100):
        raise states.Usage(f"'{word}' is neither a number of hosts nor a percentage")
    return int(digits) * hosts // 100 if percent else int(digits)


# ---- the verb


def add_options(parser):
    parser.add_argument("directory", metavar="DIR", help="state files of now, NAME.json each")
    parser.add_argument("--hosts", metavar="FILE", help="names of the batch, one a line; without it: all in DIR")
    parser.add_argument("--allow", metavar="N|N%", default="0", help="hosts that may fail (default: 0)")
    parser.add_argument("--before", metavar="DIR", help="their state files from before the batch")
    parser.add_argument("--after", metavar="DIR", help="those from right after its reboot")
    parser.add_argument("--rebooted", action="store_true", help="each host of the batch was rebooted once")
    parser.add_argument("--prometheus", metavar="URL", help="an alert that fires for a host is a fault, too")
    parser.add_argument("--alerts", metavar="QUERY", default=prometheus.FIRING,
                        help="which alerts (default: those that fire and are critical)")  # fmt: skip
    parser.add_argument("--since", metavar="SECONDS", type=int,
                        help="when the batch began, since 1970: what is older is stale (default: an hour ago)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(options):
    """0: go on; 1: stop, or go back."""
    wanted = states.read_names(options.hosts) if options.hosts else None
    since = int(time.time()) - HOUR if options.since is None else options.since
    fleet = states.read_directory(options.directory, wanted=wanted, oldest=since)
    names = list(fleet.states) + list(fleet.refused)
    after = {}
    if options.after:
        # Which kernel a host came up with has to be known of one, too, that said nothing right after the reboot.
        after = {**fleet.states, **states.read_directory(options.after, wanted=names).states}
    batch = Batch(
        states=states.read_directory(options.before, wanted=names).states if options.before else {},
        after=after, since=since, rebooted=options.rebooted,
        alerts=prometheus.watched(options.prometheus, options.alerts) if options.prometheus else None,
    )  # fmt: skip
    verdict = decide(fleet, batch, allowance(options.allow, len(names)))
    if options.json:
        print(json.dumps(verdict, indent=1))
    else:
        print_lines(verdict)
    return 0 if verdict["decision"] == GO_ON else 1


def print_lines(verdict):
    print(f"{verdict['decision']}: {verdict['hosts_failed']} of {verdict['hosts_asked']} hosts have faults, "
          f"{verdict['allowed']} may")  # fmt: skip
    for line in verdict["reasons"]:
        print(f"  {line}")
    for name, report in verdict["reports"].items():
        print(f"\n{name} crashed:\n\n{report}")
