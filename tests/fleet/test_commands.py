# SPDX-License-Identifier: GPL-2.0-or-later
"""The ten commands of docs/fleet.md, in order, on hosts in namespaces (see lab.py).

They are taken from the page. The packages of the controller are unpacked in place of the
first; what the page leaves to the reader is filled in: the addresses, the key, the names of
packages and of a driver that these hosts have, and that nothing is waited for.
"""

import os
import shutil
import subprocess

import pytest

from tests.fleet import base
from tests.fleet.lab import CONTROLLER, PACKAGE, PORT, Lab
from tests.lib.apt import download
from tests.packaging.variants import all_packages, packages
from tests.unit.fleet.hosts import TOP

PAGE = (TOP / "docs/fleet.md").read_text().split("## Ten commands")[1].split("\n## ")[0]
BLOCKS = ["".join(line[4:] + "\n" for line in block.split("\n")) for block in PAGE.split("\n\n") if block.startswith("    ")]
SETTINGS, COMMANDS = BLOCKS[0], BLOCKS[1].strip().split("\n")
# What differs here from the page: FROM must be there.
FILLED_IN = {
    "https://packages.example/": f"http://{CONTROLLER}:{PORT}/",
    "nvidia: {dkms: nvidia-current, policy: pin-last-good}": "sample: {modules: [sample], policy: pin-last-good}",
    "[linux-image-amd64, linux-headers-amd64]": f"[{PACKAGE}]",
}
# No kernel runs there that a driver could be built for, and no systemd.
ALSO = 'flightrec_packages: [flightrec]\nflightrec_metrics: ""\nrollout_settle: 0\n'


def settings(key):
    text = SETTINGS
    for there, here in FILLED_IN.items():
        assert there in text, there
        text = text.replace(there, here)
    shown = "  -----BEGIN PGP PUBLIC KEY BLOCK-----\n  ...\n"
    assert shown in text
    return text.replace(shown, "".join(f"  {line}\n" for line in key.strip().split("\n"))) + ALSO



class Controller:
    """A home, in which the commands are run; kmodkeep-fleet is what its package has."""

    def __init__(self, lab):
        self.lab, self.path = lab, lab.path / "controller"
        home = self.path / "home"
        home.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", all_packages(base.SUITE)["kmodkeep-fleet"], self.path], check=True)
        (self.path / "bin").mkdir()
        (self.path / "bin/kmodkeep").write_text(f'#!/bin/sh\n[ "$1" = fleet ] || exit 2\nshift\n'
                                                f'exec {self.path}/usr/lib/kmodkeep/fleet kmodkeep "$@"\n')  # fmt: skip
        (self.path / "bin/kmodkeep").chmod(0o755)
        lines = [f"{host.name} ansible_host={host.address}" for host in lab.hosts]
        (home / "hosts").write_text("\n".join([*lines, "[all:vars]", "ansible_user=root", "ansible_python_interpreter=/usr/bin/python3",
                                               f"ansible_ssh_private_key_file={lab.path}/key",
                                               "ansible_ssh_common_args='-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no'", ""]))  # fmt: skip
        (home / "fleet.yml").write_text(settings(lab.repository.key))
        self.home = home

    def run(self, command):
        environment = {**os.environ, "HOME": str(self.home), "PATH": f"{self.path}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
                       "ANSIBLE_COLLECTIONS_PATH": f"{self.path}/usr/share/ansible/collections", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
        done = subprocess.run(self.lab.on_controller("sh", "-c", command), cwd=self.home, env=environment, capture_output=True,
                              text=True, timeout=1800, stdin=subprocess.DEVNULL)  # fmt: skip
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture
def lab():
    with Lab(2) as lab:
        for host in lab.hosts:
            # The role names the repository.
            (host.root / "etc/apt/sources.list").write_text("")
        debs = packages(base.SUITE)
        lab.repository.publish(lab.old, lab.new, *[debs[name] for name in ("flightrec", "libflightrec0", "kmodkeep")],
                               *download(base.SUITE, ["liblzo2-2", "libsnappy1v5"]).iterdir())  # fmt: skip
        yield lab


def test_the_ten_commands(lab):
    assert len(COMMANDS) == 10 and COMMANDS[0] == "apt install kmodkeep-fleet ansible-core"
    assert shutil.which("ansible-playbook"), "ansible-core is missing. Next: tests/install-deps"
    controller = Controller(lab)
    said = [controller.run(command) for command in COMMANDS[1:]]
    for host in lab.hosts:
        assert said[0].count(f"{host.name} | SUCCESS") == 1
        assert (host.root / "usr/share/keyrings/kmodkeep.asc").exists() and (host.root / "usr/bin/flightrec").exists()
        assert "policy = pin-last-good" in (host.root / "etc/kmodkeep/drivers.d/sample.conf").read_text()
        assert host.run("dpkg-query", "-W", "-f", "${Version}", PACKAGE).stdout == "2"
        assert f"done      {host.name}" in said[6]
    assert "2 hosts" in said[7] and "<html" in (controller.home / "page.html").read_text()
    assert (controller.home / "last").exists()
