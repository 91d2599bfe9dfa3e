# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes what a host has said into the directory of the roll-out, on the controller.

Nothing is run for it, here or on the host: of a thousand hosts, copy and file would take
an hour of processor.

    kmodkeep.fleet.keep:
      into: before | after | now | back     what rollout_state, rollout_boots and rollout_report hold
      failed: TEXT                          instead of these: its update failed, and why; before that, what
                                            rollout_state says of the next boot, if it is not safe
      versions: [NAME=VERSION, ...]         instead of these: the packages to go back to; those
                                            of the first time stay
"""

import json
import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

REPORT_MAX = 16000
BOOTS_MAX = 20


def said(task_vars, name):
    """The output of the task that registered NAME; "" if it was skipped or not answered."""
    return str((task_vars.get(name) or {}).get("stdout") or "")


def document(task_vars, name):
    """The state of host NAME, with what its recorder says; None: it said nothing."""
    text = said(task_vars, "rollout_state")
    if not text:
        return None
    try:
        doc = json.loads(text)
        boots = [json.loads(line) for line in said(task_vars, "rollout_boots").splitlines()[-BOOTS_MAX:]]
        doc.update(inventory=name, recorder={"boots": boots, "report": said(task_vars, "rollout_report")[:REPORT_MAX]})
    except (ValueError, AttributeError, RecursionError):
        return {"schema": 1, "inventory": name, "error": "what kmodkeep state printed is no JSON"}
    return doc


def unsafe(task_vars, name):
    """What the host says of its next boot, if that is not safe, and a semicolon."""
    doc = document(task_vars, name) or {}
    return f"{doc.get('line')}; " if doc.get("safe") in ("no", "unknown") else ""


class ActionModule(ActionBase):
    """See above."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        name, arguments = task_vars["inventory_hostname"], self._task.args
        if "/" in name or name.startswith("."):
            raise AnsibleActionFail(f"'{name}' is no name for a file: rename it in the inventory")
        path = os.path.join(os.environ["KMODKEEP_ROLLOUT"], arguments["into"], name)
        if "versions" in arguments:
            path, doc = f"{path}.versions", arguments["versions"]
        elif "failed" in arguments:
            path, doc = f"{path}.json", {"schema": 1, "inventory": name, "failed": unsafe(task_vars, name) + str(arguments["failed"])}
        else:
            path, doc = f"{path}.json", document(task_vars, name)
        kept = doc is not None and not self._task.check_mode and not ("versions" in arguments and os.path.exists(path))
        if kept:
            self.write(path, json.dumps(doc))
        return {**result, "changed": kept}

    @staticmethod
    def write(path, text):
        """In one step: a controller that is ended leaves no half of a state."""
        new = f"{path}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
