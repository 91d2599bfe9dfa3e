# SPDX-License-Identifier: GPL-2.0-or-later
"""A roll-out without a controller: hosts ask a signed file whether they may update.

Each host has a place among 10000, by a hash of the roll-out's name and its machine ID. The
gate file says how many may, and grows where the hosts that have updated are well. Run each
hour or so, this reads the states of the hosts, decides as the gate of "rollout" does, and
publishes the next file. pull.json in its directory is all that it remembers.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import gate, states
from .rollout import DIRECTORY, take_lock
from .states import Usage

SCHEMA = 1
ALL = 10000
RECORD_MAX = 256 * 1024 * 1024
SIGN_SECONDS = 120
STUCK = 6 * 3600  # an update that takes longer has been cut
MAX_AGE = 26 * 3600
LIFE_MAX = 8760  # hours
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9+._:-]*[A-Za-z0-9+._:])?(=[A-Za-z0-9][A-Za-z0-9.+~:-]*)?")
PACKAGES_MAX = 4096

# What a host that may update is, when nothing is wrong with it.
WORDS = ("done", "reboots", "updating", "left-out", "refuses", "silent", "waits")


def ring(rollout, machine):
    """The place of a machine; kmodkeep's gate_ring() says the same."""
    return int.from_bytes(hashlib.sha256(f"kmodkeep ring {rollout} {machine}".encode()).digest()[:4], "big") % ALL


# ---- what the hosts say


@dataclass
class Census:
    """All hosts, each in exactly one place: below the share (WORDS or a fault), or beyond it."""

    hosts: dict = field(default_factory=dict)  # name -> one of WORDS, of those below the share
    faults: dict = field(default_factory=dict)  # name -> [(word, reason)]
    beyond: int = 0
    nowhere: dict = field(default_factory=dict)  # name -> (word, detail): its machine is not known

    @property
    def members(self):
        return len(self.hosts) + len(self.faults)

    def count(self, word):
        return sum(one == word for one in self.hosts.values())


def _of_refused(name, refusal, before, begun):
    """A word of WORDS, or the faults, of a host that was not heard or is not believed."""
    word, detail = refusal
    if word in ("missing", "stale", "unreachable") and name not in begun:
        return "silent"  # it sleeps, or is gone; nothing has been done to it
    return [gate.refusal_of(word, detail, before)]


def _batch_of(state, before, since, came_up):
    """What the gate compares a host with that has begun.

    It may have booted often between the begin of the roll-out and its own: what counts is whether it
    has since. CAME_UP has the hosts that came up with the kernel that they should have booted; one of
    them may get another kernel later, which is not the roll-out's.
    """
    if before and state.step_boot:
        before = replace(before, boot_id=state.step_boot)
    old = before.boot_id if before else state.step_boot
    rebooted = bool(old) and old != state.boot_id
    came = rebooted and state.step[0] == "updated" and state.name not in came_up
    after = {state.name: state} if came else {}
    return gate.Batch({state.name: before} if before else {}, after, int(since), rebooted)


def _of_begun(state, before, since, came_up, now):
    """The same of one that has begun with the update."""
    step = state.step[0]
    if step == "gone-back":
        return "left-out"
    batch = _batch_of(state, before, since, came_up)
    rebooted = batch.rebooted
    faults = gate.faults_of(state, batch)
    if batch.after and not faults:
        came_up[state.name] = state.boot_id
    if step == "left-out":
        faults.append(("update-failed", "it had begun, and says now that it was left out"))
    elif step == "failed":
        faults.append(("update-failed", "its package manager said no"))
    elif step == "begun" and now > since + STUCK:
        faults.append(("update-failed", f"it began {(now - since) / 3600:.0f} hours ago and has not come through"))
    if faults:
        return faults
    return "updating" if step == "begun" else "done" if rebooted else "reboots"


def _place(name, fleet, before, record, now):
    state, begun = fleet.states.get(name), record["begun"]
    if not state:
        return _of_refused(name, fleet.refused[name], before, begun)
    if state.step[1] == record["rollout"]:
        # Its time begins when it begins, which may be days later.
        if state.step[0] == "left-out" and name not in begun:
            return "left-out"
        return _of_begun(state, before, begun.setdefault(name, now), record.setdefault("came_up", {}), now)
    if name in begun:
        return [("replaced", "it knows nothing of the update that it had begun")]
    return "refuses" if state.gate == "refused" else "waits"


def take_census(fleet, before, record, now):
    """BEFORE are the states from when the roll-out began; hosts that have begun since are noted in RECORD."""
    census = Census()
    for name in sorted(set(fleet.states) | set(fleet.refused)):
        known = before.get(name) or fleet.states.get(name)
        if not known:
            census.nowhere[name] = fleet.refused[name]
        elif name not in record["begun"] and ring(record["rollout"], known.machine) >= record["share"]:
            census.beyond += 1
        else:
            found = _place(name, fleet, before.get(name), record, now)
            (census.hosts if isinstance(found, str) else census.faults)[name] = found
    return census


def decide(census, record, now):
    """go-on, stop or go-back; the share in RECORD grows."""
    if record["state"] == "finished":
        return decide_late(census, record)
    if len(census.faults) > gate.allowance(record["allow"], census.members):
        blamed = any(word in gate.BLAMED for faults in census.faults.values() for word, _ in faults)
        return gate.GO_BACK if blamed else gate.STOP
    enough = census.count("done") >= max(1, census.members * record["quorum"] / 100)
    if enough and now >= record["since"] + record["settle"] * 3600:
        larger = [share for share in record["shares"] if share > record["share"]]
        if larger:
            record.update(share=larger[0], since=int(now))
        else:
            # Those behind the quorum have not begun, and are judged when they do.
            record.update(state="finished", proven=[name for name, word in census.hosts.items() if word == "done"])
    return gate.GO_ON


def decide_late(census, record):
    """Of hosts that update when most are done: go-on, or stop.

    It never goes back: that would take the update from all that have been well with it
    for days. Nor does what befalls these later count.
    """
    proven = set(record.get("proven", ()))
    late = [name for name in census.faults if name not in proven]
    return gate.STOP if len(late) > gate.allowance(record["allow"], census.members) else gate.GO_ON


# ---- the file


def text_of(record):
    return "".join(f"{line}\n" for line in (
        "kmodkeep-gate 1", f"rollout = {record['rollout']}", f"issued = {record['issued']}",
        f"expires = {record['expires']}", f"share = {record['share']}", f"decision = {record['decision']}",
        f"packages = {record['packages']}"))  # fmt: skip


def _openssl(*words, data):
    """What openssl makes of DATA; the key stays in its file or its token, and nobody is asked for a password."""
    try:
        done = subprocess.run(["openssl", *words], input=data, capture_output=True, timeout=SIGN_SECONDS,
                              check=False, start_new_session=True)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise OSError(110, f"openssl did not answer within {SIGN_SECONDS} seconds") from None
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().split("\n")
        raise OSError(5, f"openssl did not sign: {states.plain(lines[0] or 'it says nothing')}")
    return done.stdout


def sign(text, certificate, key):
    """The gate file of TEXT, checked as hosts do."""
    data = _openssl("cms", "-sign", "-nodetach", "-binary", "-nosmimecap", "-nocerts", "-md", "sha256", "-signer",
                    certificate, "-inkey", key, "-outform", "PEM", data=text.encode())  # fmt: skip
    back = _openssl("cms", "-verify", "-binary", "-nointern", "-noverify", "-certfile", certificate, "-inform",
                    "PEM", data=data)  # fmt: skip
    if back != text.encode():
        raise OSError(5, "what was signed is not what was asked for")
    return data


def _is_there(record):
    """Is what was published last still in its place, as it was?"""
    try:
        return hashlib.sha256(Path(record["out"]).read_bytes()).hexdigest() == record["digest"]
    except OSError:
        return False


def _replace(path, data, mode, modified=None):
    new = Path(f"{path}.new")
    with open(new, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(mode)
    if modified is not None:
        os.utime(new, (modified, modified))
    os.replace(new, path)


def publish(path, record, now):
    """True: there was something new. The signature first: without one, nothing has happened."""
    said = [record["share"], record["decision"]]
    half = record["expires"] - record["life"] * 1800
    if said == record["said"] and now < half and _is_there(record):
        write(path, record)
        return False
    record.update(issued=max(int(now), record["issued"] + 1), expires=int(now) + record["life"] * 3600, said=said)
    data = sign(text_of(record), record["certificate"], record["key"])
    record["digest"] = hashlib.sha256(data).hexdigest()
    write(path, record)
    # A host asks for what is newer than its own by HTTP, in whole seconds: two of the same
    # second would be one for it.
    _replace(record["out"], data, 0o644, modified=record["issued"])
    return True


# ---- the record


def write(path, record):
    _replace(path, json.dumps(record, indent=1, sort_keys=True).encode(), 0o600)


def read(path):
    """None: there is none."""
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(RECORD_MAX))
        if record["schema"] != SCHEMA or not isinstance(record["begun"], dict):
            raise ValueError
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Usage(f"{path}: damaged, so nobody knows how far the roll-out was. Next: move it away, look at "
                    "the hosts (kmodkeep fleet report), and begin another roll-out") from None  # fmt: skip
    return record


def _shares(text):
    try:
        shares = [round(float(part.strip().rstrip("%")) * 100) for part in text.split(",")]
    except (ValueError, OverflowError):
        shares = []
    if not shares or sorted(set(shares)) != shares or shares[0] < 1 or shares[-1] != ALL:
        raise Usage(f"'{text}' is no list of growing percentages that ends with 100")
    return shares


def _check(options):
    for name in ("packages", "out", "certificate", "key"):
        if not getattr(options, name):
            raise Usage(f"--begin needs --{name}")
    if not NAME.fullmatch(options.begin):
        raise Usage(f"'{options.begin}' is no name of a roll-out: letters, digits, dots, dashes, at most 64")
    for package in options.packages.split():
        if not PACKAGE.fullmatch(package):
            raise Usage(f"'{package}' is no name of a package, and no NAME=VERSION")
    if not 0 < len(" ".join(options.packages.split())) <= PACKAGES_MAX:
        raise Usage(f"--packages has 1 to {PACKAGES_MAX} characters")
    # It would be in the record, and in the arguments of openssl, which everybody can read.
    if "pin-value" in options.key:
        raise Usage("--key: a PIN does not belong into a URI. Next: pin-source=file:/PATH")
    if not 1 <= options.quorum <= 100 or not 2 <= options.life <= LIFE_MAX or not 0 <= options.settle <= LIFE_MAX:
        raise Usage(f"--quorum is 1 to 100, --life 2 to {LIFE_MAX} hours, --settle 0 to {LIFE_MAX}")
    gate.allowance(options.allow, 100)


def begin(options, path, old, now):
    """The first record of a roll-out; the states from before it are kept."""
    if old and old["state"] == "running":
        raise Usage(f"roll-out {old['rollout']} is still running. Next: --stop it, or let it end")
    if old and old["rollout"] == options.begin:
        raise Usage(f"there was a roll-out {options.begin} already: hosts would think that they have had it")
    _check(options)
    fleet = states.read_directory(options.states, now=now, max_age=MAX_AGE)
    places = [ring(options.begin, state.machine) for state in fleet.states.values() if state.safe == "yes"]
    if not places:
        raise Usage(f"{options.states}: no host there is well, so nothing can be tried out")
    before = path.parent / "before"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir(mode=0o700)
    for name in fleet.states:
        shutil.copyfile(Path(options.states, f"{name}.json"), before / f"{name}.json")
    shares = _shares(options.shares)
    # There is always a canary, however small the fleet.
    first = max(shares[0], min(places) + 1)
    return {
        "schema": SCHEMA, "rollout": options.begin, "state": "running", "shares": shares, "share": first,
        "decision": gate.GO_ON, "since": int(now), "began": int(now), "begun": {}, "came_up": {}, "said": None, "digest": "",
        "issued": old["issued"] if old else 0, "expires": 0, "packages": " ".join(options.packages.split()),
        "out": os.path.abspath(options.out), "certificate": os.path.abspath(options.certificate),
        "key": options.key if ":" in options.key else os.path.abspath(options.key),
        "allow": options.allow, "quorum": options.quorum, "settle": options.settle, "life": options.life,
    }  # fmt: skip


# ---- the verb


def add_options(parser):
    parser.add_argument("states", metavar="DIR", nargs="?", help="state files of now, NAME.json each")
    parser.add_argument("--dir", metavar="DIR", default=DIRECTORY, help=f"of the roll-out (default: {DIRECTORY})")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--begin", metavar="NAME", help="a roll-out of this name")
    what.add_argument("--stop", action="store_true", help="no host begins any more")
    what.add_argument("--back", action="store_true", help="those that have updated go back")
    parser.add_argument("--packages", metavar="LIST", help="NAME[=VERSION]..., to be brought to the newest version")
    parser.add_argument("--out", metavar="FILE", help="where the gate file is published")
    parser.add_argument("--certificate", metavar="FILE", help="PEM, which the hosts have in /etc/kmodkeep/gate.pem")
    parser.add_argument("--key", metavar="FILE|URI", help="its key, as openssl takes it")
    parser.add_argument("--shares", metavar="LIST", default="1,5,25,100", help="percentages (default: 1,5,25,100)")
    parser.add_argument("--allow", metavar="N|N%", default="0", help="hosts that may have faults (default: 0)")
    parser.add_argument("--quorum", metavar="PERCENT", type=int, default=80,
                        help="of those that may: so many must be done before more may (default: 80)")  # fmt: skip
    parser.add_argument("--settle", metavar="HOURS", type=float, default=4, help="between two shares (default: 4)")
    parser.add_argument("--life", metavar="HOURS", type=int, default=24, help="of a gate file (default: 24)")


def print_lines(record, census):
    share = f"{record['share'] / 100:g} %"
    print(f"roll-out {record['rollout']} is {record['state']}: {record['decision']}, {share} may")
    if not census:
        return
    words = [f"{census.count(word)} {word}" for word in WORDS if census.count(word)]
    words += [f"{len(census.faults)} with faults"] if census.faults else []
    asked = census.members + census.beyond + len(census.nowhere)
    print(f"  of {asked} hosts {census.members} were asked ({', '.join(words) or 'none'}), {census.beyond} come later"
          + (f", {len(census.nowhere)} were never heard or believed" if census.nowhere else ""))  # fmt: skip
    for line in gate.reasons_of(census.faults):
        print(f"  {line}")


def step(options, path, record, now):
    """One look at the hosts; the Census."""
    known = states.read_directory(path.parent / "before", now=now)
    wanted = set(known.states) | set(states.names_in(options.states)) | set(record["begun"])
    fleet = states.read_directory(options.states, now=now, max_age=MAX_AGE, wanted=wanted)
    census = take_census(fleet, known.states, record, now)
    if record["state"] in ("running", "finished"):
        record["decision"] = decide(census, record, now)
        if record["decision"] != gate.GO_ON:
            record["state"] = "stopped" if record["decision"] == gate.STOP else "gone-back"
    return census


def run(options):
    """0: it goes on, or is finished; 1: it has stopped or gone back."""
    now, path = time.time(), Path(options.dir, "pull.json")
    if not options.states and not options.stop and not options.back:
        raise Usage("it needs the directory of the state files")
    Path(options.dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = take_lock(options.dir)
    try:
        return _run(options, path, now)
    finally:
        os.close(lock)


def _run(options, path, now):
    record, census = read(path), None
    if options.begin:
        record = begin(options, path, record, now)
    elif not record:
        raise Usage(f"{options.dir}: there is no roll-out. Next: --begin one")
    elif options.stop or options.back:
        record.update(state="gone-back" if options.back else "stopped", decision=gate.GO_BACK if options.back else gate.STOP)
    else:
        census = step(options, path, record, now)
    publish(path, record, now)
    print_lines(record, census)
    return 0 if record["decision"] == gate.GO_ON else 1
