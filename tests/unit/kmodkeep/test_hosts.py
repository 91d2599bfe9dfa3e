# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts as distributions lay them out: what boots next, and with the pin set.

A file of hosts/ starts with a line of JSON: the kernels, the newest first; "boots",
which must boot next; "pin", what the default is set to for the older one, or null
if it cannot be. "==> PATH" starts each of its files.
"""

import json
import re

import pytest

from tests.unit.kmodkeep.host import HERE
from tests.unit.kmodkeep.system import System, grubenv, module_bytes

HOSTS = sorted((HERE / "hosts").glob("*.txt"))


@pytest.fixture(params=HOSTS, ids=lambda path: path.stem)
def host(request, tree):
    head, *rest = request.param.read_text().split("\n==> ")
    return Host(tree, json.loads(head), dict(part.split("\n", 1) for part in rest))


class Host(System):
    """Kernels and files of a fixture; the driver "sample" on each kernel."""

    def __init__(self, tree, meta, files):
        self.tree, self.path, self.meta = tree, tree.path, meta
        for release in meta["kernels"]:
            self.kernel(release)
            self.install(release, data=module_bytes(release))
        for name, text in files.items():
            tree.put(name, text + ("" if text.endswith("\n") else "\n"))
        if (tree.path / "sys/firmware/efi").exists():
            tree.secure_boot(False)
        self.running(meta["kernels"][-1])
        self.driver("sample", "modules = sample\npolicy = pin-last-good\n")

    def next_boot(self):
        return json.loads(self.tree.run("doctor", "--json").out)["next_boot"]

    def save(self, value):
        """What the loader's tool does; other variables stay."""
        path = self.path / self.meta["saved"] / "grubenv"
        kept = dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.M))
        path.write_text(grubenv(**{**kept, "saved_entry": value}))


def test_what_boots_next(host):
    found = host.next_boot()
    assert found["kernel"] == host.meta["boots"], found
    assert found["default_can_be_set"] == (host.meta["pin"] is not None)
    if "cmdline" in host.meta:
        assert found["cmdline"] == host.meta["cmdline"]


def test_what_boots_with_the_pin(host):
    newest, older = host.meta["kernels"]
    if host.meta["boots"] != newest or not host.meta["pin"]:
        host.save("0")
        expected = older if host.meta["boots"] == older and not host.meta["pin"] else newest
        assert host.next_boot()["kernel"] == expected
        return
    tool = host.tree.put("usr/sbin/grub-set-default", f"#!/bin/sh\nprintf %s \"$2\" >'{host.path}/set'\n")
    tool.chmod(0o755)
    assert host.tree.run("guard").code == 0
    host.remove(newest)
    assert host.tree.run("guard").code in (0, 1)
    assert (host.path / "set").read_text() == host.meta["pin"]
    host.save(host.meta["pin"])
    assert host.next_boot()["kernel"] == older
