# SPDX-License-Identifier: GPL-2.0-or-later
"""State files of hosts, as "kmodkeep state" prints them, and kmodkeep fleet to ask about them."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
PROGRAM = TOP / "fleet/fleet"
OLD, NEW = "6.1.0-30-amd64", "6.1.0-31-amd64"
NOW = 1_800_000_000


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def digest(name):
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def finding(driver="sample", verdict="ok", kernel=NEW, message=None, next_step=None, next_boot=True):
    serves = "yes" if verdict == "ok" else "unknown" if verdict == "unknown" else "no"
    return {"driver": driver, "module": driver, "kernel": kernel, "next_boot": next_boot, "verdict": verdict,
            "serves": serves, "version": "1.0", "message": message, "next_step": next_step}  # fmt: skip


def state(name, now=None, **changes):
    """The state of a host that is well."""
    doc = {
        "schema": 1, "time": stamp(time.time() if now is None else now), "host": name, "machine": digest(name),
        "boot_id": digest(name + " boot 1"), "kmodkeep": "0.1.0", "place": "host", "secure_boot": "on",
        "running_kernel": OLD, "next_kernel": NEW, "reboot_pending": True, "safe": "yes",
        "line": f"next boot safe (kernel {NEW})", "next_step": None, "pin": None,
        "key": {"name": "key of " + name, "enrolment": "enrolled", "fingerprint": digest("key"),
                "expires": 4_000_000_000, "revoked": False, "next_step": None},
        "rotation": "none",
        "smoke": [{"driver": "sample", "result": "passed", "boot_id": digest(name + " boot 1"), "kernel": OLD,
                   "time": None, "verdict": "ok", "message": "loaded", "next_step": None}],
        "findings": [finding(kernel=OLD, next_boot=False), finding()], "unfinished_packages": [],
    }  # fmt: skip
    doc.update(changes)
    return doc


def losing(name, verdict="missing", driver="sample", message="dkms has not built it",
           next_step="dkms autoinstall", **changes):  # fmt: skip
    """One that would lose a driver."""
    return state(name, safe="no", line=f"next boot would lose {driver}", next_step=next_step,
                 findings=[finding(driver, verdict, message=message, next_step=next_step)], **changes)  # fmt: skip


def rebooted(name, number=2, smoke="passed", **changes):
    """The same host in another boot, with its smoke test done there."""
    boot = digest(f"{name} boot {number}")
    tests = [{"driver": "sample", "result": smoke, "boot_id": boot, "message": "it said so"}] if smoke else []
    return state(name, **{"boot_id": boot, "running_kernel": NEW, "reboot_pending": False, "smoke": tests, **changes})


def kept(name, number, kind="shutdown", cause="", end=0):
    """A boot that the recorder of the host has kept."""
    return {"boot_id": digest(f"{name} boot {number}"), "state": "ended",
            "end": {"kind": kind, "cause": cause, "wall_ns": end * 10**9}}  # fmt: skip


def put(directory, *docs, **named):
    """Write DOCS into DIRECTORY, each under the name that it has."""
    directory.mkdir(exist_ok=True)
    for doc in docs:
        (directory / f"{doc.get('inventory') or doc['host']}.json").write_text(json.dumps(doc))
    for name, doc in named.items():
        (directory / f"{name}.json").write_text(doc if isinstance(doc, str) else json.dumps(doc))
    return directory


def fleet(*words, **kwargs):
    """kmodkeep fleet WORDS."""
    command = [PROGRAM, "kmodkeep", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)
