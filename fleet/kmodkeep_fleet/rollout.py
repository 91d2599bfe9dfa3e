# SPDX-License-Identifier: GPL-2.0-or-later
"""A roll-out: Ansible does it; this holds its lock and remembers how far it is.

The directory of a roll-out, on the controller:

    lock            held by the kernel as long as ansible-playbook, or a child of it, lives
    rollout.json    how far it is; replaced in one step
    before/ after/ now/ back/   state files of the hosts: before their batch, right after
                    its reboot, at the gate, and where they went back
"""

import fcntl
import json
import os
import secrets
import shutil
import sys
import time
from pathlib import Path

from . import states
from .states import Usage

SCHEMA = 1
PLAYBOOK = "kmodkeep.fleet.rollout"
DIRECTORY = "/var/lib/kmodkeep-fleet"
PARTS = ("before", "after", "now", "back")
FILE_MAX = 64 * 1024 * 1024

# Of a roll-out; "running" with a free lock is one whose controller was ended.
ENDS = ("finished", "stopped", "gone-back")
# Of a host.
HOSTS = ("updating", "done", "failed", "left-out", "gone-back")


class Record:
    """rollout.json."""

    def __init__(self, directory):
        self.path = Path(directory, "rollout.json")
        self.doc = None

    def read(self):
        """False: there is none."""
        try:
            with open(self.path, "rb") as file:
                self.doc = json.loads(file.read(FILE_MAX))
            if self.doc["schema"] != SCHEMA or not isinstance(self.doc["hosts"], dict):
                raise ValueError
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Usage(f"{self.path}: damaged, so nobody knows how far the roll-out was. "
                        "Next: look at its hosts (kmodkeep fleet report), then begin with --new") from None  # fmt: skip
        return True

    def write(self):
        """In one step, also on a power cut."""
        new = self.path.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump(self.doc, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)

    def begin(self):
        self.doc = {"schema": SCHEMA, "id": f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}",
                    "began": int(time.time()), "state": "running", "hosts": {}}  # fmt: skip

    def line(self):
        count = {}
        for word in self.doc["hosts"].values():
            count[word] = count.get(word, 0) + 1
        hosts = ", ".join(f"{count[word]} {word}" for word in HOSTS if word in count) or "no host yet"
        return f"roll-out {self.doc['id']} is {self.doc['state']}: {hosts}"


def take_lock(directory):
    """The descriptor of the lock, which children inherit.  Usage if somebody has it."""
    fd = os.open(Path(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Usage(f"{directory}: a roll-out is going on there. Next: wait for it, or end its ansible-playbook") from None
    os.set_inheritable(fd, True)
    return fd


# ---- the verb rollout


def add_options(parser):
    parser.add_argument("--dir", metavar="DIR", default=DIRECTORY, help=f"of the roll-out (default: {DIRECTORY})")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="go on with the one that was ended or has stopped")
    how.add_argument("--new", action="store_true", help="begin anew, whatever came of the one before")
    how.add_argument("--show", action="store_true", help="say how far it is")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT",
                        help="of ansible-playbook, behind --: -- -i INVENTORY -e rollout_packages=...")  # fmt: skip


def show(record):
    if not record.read():
        print("there was no roll-out")
        return 1
    print(record.line())
    for name, word in sorted(record.doc["hosts"].items()):
        print(f"  {word:<9} {states.plain(name)}")
    return 0 if record.doc["state"] == "finished" else 1


def prepare(record, options):
    """The record as this run is to find it."""
    there = record.read() if not options.new else False
    if there and record.doc["state"] != "finished" and not options.resume:
        raise Usage(f"{record.line()}. Next: --resume, or --new to forget it")
    if options.resume and not there:
        raise Usage(f"{options.dir}: there is no roll-out to go on with. Next: begin one, without --resume")
    if options.resume and record.doc["state"] == "finished":
        raise Usage(f"{record.line()}: there is nothing to go on with. Next: begin one, without --resume")
    if not options.resume:
        for part in PARTS:
            shutil.rmtree(Path(options.dir, part), ignore_errors=True)
        record.begin()
    record.doc["state"] = "running"
    for part in PARTS:
        Path(options.dir, part).mkdir(mode=0o700, exist_ok=True)
    record.write()


def run(options):
    """Becomes ansible-playbook, whose exit code it then is; 2: refused."""
    record = Record(options.dir)
    if options.show:
        return show(record)
    Path(options.dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    take_lock(options.dir)
    prepare(record, options)
    print(record.line(), flush=True)
    # Ansible refuses a locale that is not UTF-8.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "KMODKEEP_ROLLOUT": os.path.abspath(options.dir)}
    try:
        os.execvpe("ansible-playbook", ["ansible-playbook", PLAYBOOK, *options.arguments], environment)
    except FileNotFoundError:
        raise OSError(2, "ansible-playbook is not installed. Next: install ansible-core") from None


# ---- the verb mark, which the playbook calls


def add_mark_options(parser):
    parser.add_argument("--dir", metavar="DIR", required=True)
    parser.add_argument("word", choices=[*ENDS, *HOSTS])
    parser.add_argument("--hosts", metavar="FILE", help="of these hosts, one a line; -: standard input")


def forget(directory, names):
    """What a run before this one saw of them, or it would be taken for what comes of the update."""
    for part in PARTS[1:]:
        for name in names:
            Path(directory, part, f"{name}.json").unlink(missing_ok=True)


def mark(options):
    record = Record(options.dir)
    if not record.read():
        raise Usage(f"{options.dir}: there is no roll-out")
    if options.word in ENDS:
        record.doc["state"] = options.word
    # "gone-back" is both: of the hosts, if there are some.
    if options.hosts:
        names = sys.stdin.read().split() if options.hosts == "-" else states.read_names(options.hosts)
        record.doc["hosts"].update(dict.fromkeys(names, options.word))
        if options.word == "updating":
            forget(options.dir, names)
    elif options.word not in ENDS:
        raise Usage(f"'{options.word}' is said of hosts: --hosts FILE")
    record.write()
    return 0
