# SPDX-License-Identifier: GPL-2.0-or-later
"""State files of hosts, read as what they are: bytes from machines that may lie.

A state file is NAME.json: what "kmodkeep state" printed on the host, and beside it, where
the program that gathered it has put them in,

    inventory   the name by which the host was asked, in place of its own
    error       why it could not be asked; then nothing else need be there
    failed      why it could not be updated; the same
    recorder    {"boots": what "flightrec boots --json" printed, "report": text}

A file that cannot be believed makes no State: it is refused, with a word and a reason,
and stays counted under the name of the file.
"""

import calendar
import json
import os
import re
import stat
import sys
import time
from dataclasses import dataclass, field

SCHEMA = 1
FILE_MAX = 256 * 1024
FILES_MAX = 100_000
AHEAD = 300  # seconds that a clock may be ahead of ours
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
TEXT_MAX = 500
LIST_MAX = 2000  # objects in a list: modules times kernels
LOSSES_MAX = 50  # that are kept of a host: no host fills the page alone

# How boots end when nothing is wrong, as the recorder says it.
ORDERLY = {"shutdown", "reboot", "power-off", "halt"}


class Usage(Exception):
    """What was asked makes no sense; the text says why."""


class Refused(Exception):
    """This file is not believed: WORD for what kind of reason, DETAIL for people."""

    def __init__(self, word, detail):
        super().__init__(detail)
        self.word, self.detail = word, detail


def plain(text):
    """TEXT of a host for people: one line, bounded, nothing that a terminal obeys."""
    text = str(text)
    if len(text) > TEXT_MAX:
        text = text[: TEXT_MAX - 1] + "…"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    return sys.intern(text)


@dataclass(frozen=True)
class Finding:
    """A driver's module that does not serve on the kernel that boots next."""

    driver: str
    module: str
    kernel: str
    verdict: str
    serves: str
    message: str
    next_step: str


@dataclass(frozen=True)
class Boot:
    """A boot that the recorder has kept."""

    boot_id: str
    ended: bool
    kind: str
    cause: str
    end: int  # seconds since 1970, 0: not known

    @property
    def crashed(self):
        """Nobody ended it: a panic; or a reset, a power cut or a hang, of which there are no words."""
        return self.ended and self.kind not in ORDERLY


@dataclass
class State:
    """What a host said of itself, as far as it could be believed."""

    name: str
    machine: str
    boot_id: str
    time: int
    safe: str
    line: str
    next_step: str
    running: str
    next_kernel: str
    reboot_pending: bool
    losses: tuple
    pin: str = ""
    pin_since: int = 0
    held: bool = False  # pinned by hand, or by a roll-out that went back
    enrolment: str = ""
    key_expires: int = 0
    rotation: str = ""
    smoke: dict = field(default_factory=dict)  # driver -> (result, boot_id, message)
    unfinished: tuple = ()
    version: str = ""
    gate: str = ""  # what the gate file says to it; "refused": it does not believe the file
    gate_why: str = ""
    step: tuple = ("", "")  # how far it is, and with which roll-out
    step_boot: str = ""  # the boot in which it came so far
    boots: tuple = ()
    report: str = ""


@dataclass
class Fleet:
    """All hosts that were asked about: each is in exactly one of the two."""

    states: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)  # name -> (word, detail)

    def refuse(self, name, word, detail):
        self.states.pop(name, None)
        self.refused[name] = (word, detail)


# ---- one file


def _no_twice(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("malformed", "an object has a key twice")
    return found


def _no_constant(word):
    raise Refused("malformed", f"{word} is no number of JSON")


# One for all files: making one takes longer than reading a small file.
_DECODER = json.JSONDecoder(object_pairs_hook=_no_twice, parse_constant=_no_constant)


def _bytes_of(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused("unreadable", os.strerror(error.errno)) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise Refused("unreadable", "not a regular file")
        if found.st_size > FILE_MAX:
            raise Refused("huge", f"{found.st_size} bytes, more than {FILE_MAX}")
        data = os.read(fd, FILE_MAX + 1)
    except OSError as error:
        raise Refused("unreadable", os.strerror(error.errno)) from None
    finally:
        os.close(fd)
    if len(data) > FILE_MAX:
        raise Refused("huge", f"more than {FILE_MAX} bytes")
    return data


def _document(data):
    if not data:
        raise Refused("cut", "it is empty")
    try:
        doc = _DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise Refused("malformed", "it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, a number with too many digits
        raise Refused("cut", f"not whole JSON: {plain(error)}") from None
    if not isinstance(doc, dict):
        raise Refused("malformed", "not an object")
    return doc


def get(doc, key, kind, default):
    """doc[KEY], which is of KIND; DEFAULT for null and for what is not there."""
    value = doc.get(key)
    if value is None:
        return default
    # A boolean is an integer for Python alone.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Refused("malformed", f"'{key}' is of another type")
    return value


def text(doc, key):
    return plain(get(doc, key, str, ""))


def number(doc, key):
    value = get(doc, key, int, 0)
    if not 0 <= value < 2**63:
        raise Refused("malformed", f"'{key}' is out of range")
    return value


def objects(doc, key):
    found = get(doc, key, list, [])
    if not all(isinstance(one, dict) for one in found):
        raise Refused("malformed", f"'{key}' is no list of objects")
    if len(found) > LIST_MAX:
        raise Refused("malformed", f"'{key}' has {len(found)} objects, more than {LIST_MAX}")
    return found


def _seconds(doc):
    when = get(doc, "time", str, "")
    if not TIME.fullmatch(when):
        raise Refused("malformed", "'time' is no time")
    try:
        return calendar.timegm(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        raise Refused("malformed", "'time' is no time") from None


def _finding(one):
    return Finding(text(one, "driver"), text(one, "module"), text(one, "kernel"), text(one, "verdict"),
                   text(one, "serves"), text(one, "message"), text(one, "next_step"))  # fmt: skip


def _boot(one):
    end = get(one, "end", dict, {})
    return Boot(text(one, "boot_id"), text(one, "state") == "ended", text(end, "kind"), text(end, "cause"),
                number(end, "wall_ns") // 10**9)  # fmt: skip


def _report(recorder):
    """The end of a report: many lines, so each is made plain by itself."""
    lines = get(recorder, "report", str, "").split("\n")
    return "\n".join(plain(line) for line in lines[:60]) if lines != [""] else ""


def parse(name, doc):
    """The State in DOC, which is in the file of the host NAME.  Raises Refused."""
    if doc.get("schema") != SCHEMA or isinstance(doc["schema"], bool):
        raise Refused("other-schema", f"schema {plain(doc.get('schema'))}; this program knows {SCHEMA}")
    claimed = get(doc, "inventory", str, "") or get(doc, "host", str, "")
    if claimed != name:
        raise Refused("other-host", f"it says that it is of '{plain(claimed)}'")
    if doc.get("error") is not None:
        raise Refused("unreachable", text(doc, "error"))
    if doc.get("failed") is not None:
        raise Refused("update-failed", text(doc, "failed"))
    for key in ("safe", "next_kernel", "findings", "smoke", "unfinished_packages"):
        if key not in doc:
            raise Refused("malformed", f"it has no '{key}'")
    if text(doc, "place") in ("container", "chroot"):
        raise Refused("not-a-host", f"it is a {text(doc, 'place')}, which boots no kernel of its own")
    pin, key, recorder, gate = (get(doc, part, dict, {}) for part in ("pin", "key", "recorder", "gate"))
    losses = tuple(_finding(one) for one in objects(doc, "findings")
                   if one.get("next_boot") is True and one.get("serves") != "yes")[:LOSSES_MAX]  # fmt: skip
    state = State(
        name=name, machine=text(doc, "machine"), boot_id=text(doc, "boot_id"), time=_seconds(doc),
        safe=text(doc, "safe"), line=text(doc, "line"), next_step=text(doc, "next_step"),
        running=text(doc, "running_kernel"), next_kernel=text(doc, "next_kernel"),
        reboot_pending=get(doc, "reboot_pending", bool, False), losses=losses,
        pin=text(pin, "kernel"), pin_since=number(pin, "since"), held=get(pin, "held", bool, False), enrolment=text(key, "enrolment"),
        key_expires=number(key, "expires"), rotation=text(doc, "rotation"),
        smoke={text(one, "driver"): (text(one, "result"), text(one, "boot_id"), text(one, "message"))
               for one in objects(doc, "smoke")},
        unfinished=tuple(plain(one) for one in get(doc, "unfinished_packages", list, [])[:LOSSES_MAX]),
        version=text(doc, "kmodkeep"), gate=text(gate, "verdict"), gate_why=text(gate, "message"),
        step=(text(gate, "step"), text(gate, "step_of")), step_boot=text(gate, "step_boot"),
        boots=tuple(_boot(one) for one in objects(recorder, "boots")),
        report=_report(recorder),
    )  # fmt: skip
    _must_agree(state)
    return state


def _must_agree(state):
    """"Safe" is believed only of a state that says nothing else."""
    if state.safe not in ("yes", "no", "unknown"):
        raise Refused("malformed", f"'safe' is '{state.safe}'")
    if not state.machine or not state.boot_id:
        raise Refused("malformed", "it does not say of which machine or boot it is")
    if state.safe == "yes" and not state.next_kernel:
        raise Refused("contradicts-itself", "safe, but which kernel boots next is not known")
    if state.safe == "yes" and state.losses:
        lost = state.losses[0]
        raise Refused("contradicts-itself", f"safe, but {lost.module} is {lost.verdict} on {lost.kernel}")


# ---- a directory of them


def read_file(path, name, now, oldest=0):
    """The State of host NAME in the file PATH.  Raises Refused.

    It must not be newer than NOW nor older than OLDEST, seconds since 1970.
    """
    state = parse(name, _document(_bytes_of(path)))
    if state.time > now + AHEAD:
        raise Refused("from-the-future", f"its time is {state.time - now:.0f} seconds ahead: is its clock wrong, or ours?")
    if state.time < oldest:
        raise Refused("stale", f"its time is {now - state.time:.0f} seconds ago")
    return state


def names_in(directory):
    """{name of host: path} of the state files in DIRECTORY; OSError if it cannot be read."""
    found = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                found[entry.name[: -len(".json")]] = entry.path
                if len(found) > FILES_MAX:
                    raise OSError(27, f"more than {FILES_MAX} state files", str(directory))
    return found


def read_directory(directory, now=None, max_age=None, wanted=None, oldest=0):
    """The Fleet in DIRECTORY.  WANTED are the names that must be there, or None: those that are."""
    now = time.time() if now is None else now
    if max_age is not None:
        oldest = max(oldest, now - max_age)
    paths = names_in(directory)
    fleet = Fleet()
    for name in sorted(set(paths) if wanted is None else set(wanted)):
        try:
            if name not in paths:
                raise Refused("missing", "there is no state file of it")
            if not NAME.fullmatch(name):
                raise Refused("malformed", "its name is no name of a host")
            fleet.states[name] = read_file(paths[name], name, now, oldest)
        except Refused as why:
            fleet.refuse(plain(name), why.word, why.detail)
    refuse_clones(fleet)
    return fleet


def refuse_clones(fleet):
    """One machine under two names: nobody knows which of them has said what."""
    by_machine = {}
    for name, state in fleet.states.items():
        by_machine.setdefault(state.machine, []).append(name)
    for names in by_machine.values():
        for name in names if len(names) > 1 else ():
            others = [other for other in names if other != name]
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            fleet.refuse(name, "same-machine", f"{others[0]}{more} has the same machine ID")


def read_names(path):
    """The names of hosts in a file, one a line; # begins a comment."""
    with open(path, encoding="utf-8") as lines:
        names = [line.split("#")[0].strip() for line in lines]
    return [name for name in names if name]
