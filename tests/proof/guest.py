# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmodkeep predicts of each driver on each kernel, and what modprobe does there.

The guest boots the suite's kernel with Secure Boot on and dkms's key enrolled. kmodkeep is
installed, as it is, and asked about all kernels; what it says is written down. Then modprobe is
run for every module of every driver: here, and after a reboot into the next kernel.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.proof.system import kmodkeep_deb, system
from tests.qemu import variables
from tests.qemu.esp import run
from tests.qemu.secureboot import FIXED, OVERLAY, SecureBootGuest

PATIENCE = 7200  # seconds; an idle machine needs a twentieth
PAGES = ("guard", "status", "doctor", "doctor --all", "pin", "key status")

# For each module: what modprobe says, and whether what is loaded is of another tree than the
# kernel's. A driver that finds no device was taken by the kernel nevertheless: its own code said
# so (ENODEV). One is there already where another one needs it.
LOAD = r"""
for module in $modules; do
    code=0
    # It wants to be told where the memory is to be written to.
    [ "$module" = lime ] && options="path=/dev/null format=raw" || options=
    # shellcheck disable=SC2086 # several
    said=$(timeout 600 modprobe "$module" $options 2>&1) || code=$?
    taint=-
    name=$(echo "$module" | tr - _)
    for there in "$name" $(modprobe -R "$module" 2>/dev/null); do
        [ ! -e "/sys/module/$there/taint" ] || taint=$(cat "/sys/module/$there/taint")
    done
    # What modprobe takes may be the kernel's own, of the same name.
    [ "$(modinfo -F intree "$module" 2>/dev/null)" != Y ] || taint=in-tree
    printf '%s\t%s\t%s\t%s\n' "$module" "$code" "${taint:--}" "$(echo "$said" | tr '\n\t' '  ')"
done
"""


@dataclass(frozen=True)
class Load:
    """What became of one module."""

    status: int
    taint: str
    said: str

    @property
    def served(self):
        """The kernel took a module that is not its own."""
        no_device = "No such device" in self.said
        return self.taint != "in-tree" and (
            no_device or (self.status == 0 and "O" in self.taint))


class Record:
    """Of the system NAME: the predictions, then the loads, {(kernel, module): ...} each."""

    def __init__(self, name, workdir, drivers=None):
        self.name = name
        self.workdir = Path(workdir)
        self.system = system(name, drivers)
        self.kernels = self.system.kernels
        self.pages = {}  # what people read, by command
        self.predicted = {}
        self.after_boot = {}  # the same asked on the kernel itself
        self.loads = {}

    def run(self):
        """Go the whole way; returns itself."""
        with self._guest() as guest:
            guest.wait_booted()
            assert guest.check("uname -r", PATIENCE).strip() == self.kernels[0]
            guest.check("mount -o ro LABEL=packages /mnt", PATIENCE)
            self.pages["dpkg"] = guest.check("dpkg -i /mnt/kmodkeep_*.deb", PATIENCE)
            guest.check("update-grub", PATIENCE)
            for page in PAGES:
                self.pages[page] = guest.run(f"kmodkeep {page}", PATIENCE).output
            self._write_pages()
            self.document = ask(guest)
            self.predicted = by_kernel_and_module(self.document)
            self._load(guest)
            guest.restart()
            assert guest.check("uname -r", PATIENCE).strip() == self.kernels[1]
            self.after_boot = by_kernel_and_module(ask(guest))
            self._load(guest)
        return self

    def _guest(self):
        self.workdir.mkdir(parents=True, exist_ok=True)
        tree = self.workdir / "packages"
        tree.mkdir()
        shutil.copy(kmodkeep_deb(self.name), tree)
        packages, disk = self.workdir / "packages.img", self.workdir / "disk.qcow2"
        run("mkfs.ext4", "-q", "-F", "-L", "packages", "-d", tree, packages, "16M")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.system.disk, disk)
        guest = SecureBootGuest([(disk, OVERLAY), (packages, FIXED)], self.workdir,
                                name=f"drivers-{self.name}")
        variables.add(self.workdir / "efivars.fd", "MokList",
                      variables.signature_list(variables.X509, [self.system.certificate]))
        return guest

    def _load(self, guest):
        modules = {m for of_driver in self.system.drivers.values() for m in of_driver}
        self.loads |= load(guest, modules | {module for _, module in self.predicted})

    def _write_pages(self):
        for command, text in self.pages.items():
            (self.workdir / f"page-{re.sub('[^a-z]+', '-', command)}").write_text(text)


def ask(guest):
    """What doctor says of all kernels; it stays in the guest's logs."""
    text = guest.run("kmodkeep doctor --all --json", PATIENCE).output
    release = guest.check("uname -r", PATIENCE).strip()
    (guest.workdir / f"predicted-on-{release}.json").write_text(text)
    return json.loads(text[text.index("{"):])


def load(guest, modules):
    """Run modprobe for each of MODULES: {(kernel, module): Load}."""
    release = guest.check("uname -r", PATIENCE).strip()
    output = guest.check(f"modules='{' '.join(sorted(modules))}'\n{LOAD}", PATIENCE)
    (guest.workdir / f"loads-on-{release}").write_text(output)
    (guest.workdir / f"dmesg-on-{release}").write_text(guest.check("dmesg", PATIENCE))
    loads = {}
    for line in output.splitlines():
        module, code, taint, said = line.split("\t")
        loads[release, module] = Load(int(code), taint, said.strip())
    return loads


def by_kernel_and_module(document):
    return {(f["kernel"], f["module"]): f for f in document["findings"]}


def differences(predicted, loads):
    """Lines: where modprobe did not do what was predicted."""
    for (kernel, module), seen in sorted(loads.items()):
        finding = predicted.get((kernel, module))
        word = finding["verdict"] if finding else "not named"
        if finding and (word == "ok") == seen.served:
            continue
        if not finding and not seen.served:
            continue
        yield (f"{kernel}: {module}: {word} ({finding and finding['message']}), but modprobe: "
               f"{seen.status}, taint {seen.taint}: {seen.said}")
