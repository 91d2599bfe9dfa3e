# SPDX-License-Identifier: GPL-2.0-or-later
"""The controller of a lab that rolls out by Ansible: its inventory, settings, and the collection of this tree."""

import json
import os
import subprocess

from tests.fleet.lab import PACKAGE
from tests.unit.fleet.hosts import PROGRAM, TOP


class Ansible:
    """Its files lie below path; the hosts are in the order of the lab, so the first is the canary."""

    def __init__(self, lab):
        self.lab, self.path = lab, lab.path / "ansible"
        self.directory = self.path / "rollout"
        collection = self.path / "collections/ansible_collections/kmodkeep/fleet"
        collection.parent.mkdir(parents=True)
        collection.symlink_to(TOP / "fleet/ansible")
        (self.path / "ansible.cfg").write_text(
            f"[defaults]\ncollections_path = {self.path}/collections\nretry_files_enabled = false\n"
            f"local_tmp = {self.path}/tmp\nforks = {min(50, len(lab.hosts))}\nhost_key_checking = false\n"
            f"[ssh_connection]\npipelining = true\ncontrol_path_dir = {self.path}/cp\n")  # fmt: skip
        (self.path / "reboot.yml").write_text("- name: Reboot it\n  ansible.builtin.command: sim-reboot\n  changed_when: true\n")
        lines = [f"{host.name} ansible_host={host.address}" for host in lab.hosts]
        (self.path / "hosts").write_text("\n".join([*lines, "[all:vars]", "ansible_user=root", "ansible_python_interpreter=/usr/bin/python3",
                                                    f"ansible_ssh_private_key_file={lab.path}/key",
                                                    "ansible_ssh_common_args='-o UserKnownHostsFile=/dev/null -o ConnectTimeout=20'", ""]))  # fmt: skip
        self.environment = {**os.environ, "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"), "LC_ALL": "C.UTF-8",
                            "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip

    def command(self, *words, **variables):
        """What runs the roll-out, in that environment."""
        settings = {"rollout_packages": [PACKAGE], "rollout_recorder": "", "rollout_settle": 0, "rollout_batches": ["1", "25%", "100%"],
                    "rollout_reboot_tasks": f"{self.path}/reboot.yml", "rollout_fleet": [str(PROGRAM), "kmodkeep"], **variables}  # fmt: skip
        return self.lab.on_controller(PROGRAM, "kmodkeep", "rollout", "--dir", self.directory, *words, "--",
                                      "-i", self.path / "hosts", "-e", json.dumps(settings))  # fmt: skip

    def rollout(self, *words, **variables):
        return subprocess.run(self.command(*words, **variables), capture_output=True, text=True, timeout=4 * 3600,
                              stdin=subprocess.DEVNULL, env=self.environment)  # fmt: skip

    def record(self):
        return json.loads((self.directory / "rollout.json").read_text())


def version(host):
    """Of the package that is rolled out."""
    return host.run("dpkg-query", "-W", "-f", "${Version}", PACKAGE).stdout
