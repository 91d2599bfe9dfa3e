# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts as distributions lay them out: what boots next, and with the pin set.

A file of hosts/ starts with a line of JSON: the kernels, the newest first; "boots",
which must boot next; "pin", what the default is set to for the older one, or null
if it cannot be; "images", where kernels lie other than /boot/vmlinuz-RELEASE;
"archives", the initramfs files (without it: those that the menus name); "unified" images with their sections; "lost", kernels
whose modules are gone. "==> PATH" starts each of its files.
"""

import json
import re
import shutil

import pytest

from tests.unit.kmodkeep.host import HERE
from tests.unit.kmodkeep.system import LOADER, System, cpio, grubenv, module_bytes, utf16
from tests.unit.kmodkeep.test_next_boot import bzimage, unified

HOSTS = sorted((HERE / "hosts").glob("*.txt"))


@pytest.fixture(params=HOSTS, ids=lambda path: path.stem)
def host(request, tree):
    head, *rest = request.param.read_text().split("\n==> ")
    return Host(tree, json.loads(head), dict(part.split("\n", 1) for part in rest))


def named_archives(texts, kernels):
    """The files of menus' "initrd" lines for these kernels, in /boot."""
    for line in re.findall(r"^\s*initrd\w*\s+(\S.*)$", "\n".join(texts), re.M):
        for path in line.split():
            if "$" not in path and any(kernel in path for kernel in kernels):
                yield path.lstrip("/") if path.startswith("/boot/") else f"boot{path}"


class Host(System):
    """Kernels and files of a fixture; the driver "sample" on each kernel."""

    def __init__(self, tree, meta, files):
        self.tree, self.path, self.meta = tree, tree.path, meta
        for release in meta["kernels"]:
            self.kernel(release)
            if release in meta.get("lost", ()):
                shutil.rmtree(tree.path / f"lib/modules/{release}")
                tree.put(f"lib/modules/{release}/left-over")
            else:
                self.install(release, data=module_bytes(release))
            if "images" in meta:
                (tree.path / f"boot/vmlinuz-{release}").unlink()
        if "images" in meta:
            (tree.path / "usr/lib").mkdir(parents=True, exist_ok=True)
            (tree.path / "usr/lib/modules").symlink_to("../../lib/modules")
        for name in meta.get("archives") or named_archives(files.values(), meta["kernels"]):
            tree.put(name, cpio({}))
        for name, release in meta.get("images", {}).items():
            tree.put(name, bzimage(release))
        for name, sections in [*meta.get("unified", {}).items(), *meta.get("addons", {}).items()]:
            more = {} if "addon" in name else {"initrd": cpio({}), "linux": bzimage(sections["uname"])}
            tree.put(name, unified(**sections, **more))
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
        if "saved" not in self.meta:
            self.tree.variable("LoaderEntryDefault", utf16(value), LOADER)
            return
        path = self.path / self.meta["saved"] / "grubenv"
        kept = dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.M))
        path.write_text(grubenv(**{**kept, "saved_entry": value}))


def test_what_boots_next(host):
    found = host.next_boot()
    assert found["kernel"] == host.meta["boots"], found
    if "saved" in host.meta:
        assert found["default_can_be_set"] == (host.meta["pin"] is not None)
    if "cmdline" in host.meta:
        assert found["cmdline"] == host.meta["cmdline"]
    if "initramfs" in host.meta:
        assert found["initramfs"] == str(host.path / host.meta["initramfs"])
    safe = host.meta["boots"] not in host.meta.get("lost", ())
    result = host.tree.run("guard")
    assert result.code == (0 if safe else 1), result.text


def test_what_boots_with_the_pin(host):
    newest, older = host.meta["kernels"]
    if "saved" not in host.meta and not host.meta["pin"]:
        return
    if host.meta["boots"] != newest or not host.meta["pin"]:
        host.save("0")
        expected = older if host.meta["boots"] == older and not host.meta["pin"] else newest
        assert host.next_boot()["kernel"] == expected
        return
    name = "grub-set-default" if "saved" in host.meta else "bootctl"
    tool = host.tree.put(f"usr/sbin/{name}", f"#!/bin/sh\nprintf %s \"$2\" >'{host.path}/set'\n")
    tool.chmod(0o755)
    assert host.tree.run("guard").code == 0
    host.remove(newest)
    assert host.tree.run("guard").code in (0, 1)
    assert (host.path / "set").read_text() == host.meta["pin"]
    host.save(host.meta["pin"])
    assert host.next_boot()["kernel"] == older
