# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmodkeep predicts of each driver on each kernel, and what modprobe does there.

The guest boots the suite's kernel with Secure Boot on and dkms's key enrolled. kmodkeep is
installed, as it is, and asked about all kernels; what it says is written down. Then modprobe is
run for every module of every driver: here, and after a reboot into the next kernel. Before the
reboot kmodkeep adopts them; at the end it is purged, and they are loaded once more.
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

PATIENCE = 1800  # seconds; an idle machine needs a tenth
ADOPTING = ("adopt --all --dry-run", "adopt --all --yes", "adopt --all", "next", "repair --dry-run")
PAGES = ("guard", "status", "doctor", "doctor --all", "pin", "key status")

# For each module: what modprobe says, and whether what is loaded is of another tree than the
# kernel's. A driver that finds no device was taken by the kernel nevertheless: its own code said
# so (ENODEV). One is there already where another one needs it.
LOAD = r"""
for module in $modules; do
    code=0
    # It takes no other way than to dump the memory somewhere.
    [ "$module" = lime ] && options="path=/dev/null format=raw" || options=
    # shellcheck disable=SC2086 # several
    said=$(timeout 600 modprobe "$module" $options 2>&1) || code=$?
    taint=-
    name=$(echo "$module" | tr - _)
    for there in "$name" $(modprobe -R "$module" 2>/dev/null); do
        [ ! -e "/sys/module/$there/taint" ] || taint=$(cat "/sys/module/$there/taint")
    done
    printf '%s\t%s\t%s\t%s\n' "$module" "$code" "${taint:--}" "$(echo "$said" | tr '\n\t' '  ')"
done
"""

# Twice, as one may be in use by another. Prints which are there still.
UNLOAD = r"""
for module in $modules $modules; do
    modprobe -r "$module" 2>/dev/null || :
done
grep -l O /sys/module/*/taint || :
"""

FILES = "find /lib/modules /var/lib/dkms -name '*.ko*' -exec sha256sum {} + | sort"


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
        return no_device or (self.status == 0 and "O" in self.taint)


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
        self.adopted = {}  # the same asked after adopt
        self.loads = {}
        self.left = {}  # the same tried when kmodkeep has gone

    def run(self):
        """Go the whole way; returns itself."""
        with self._guest() as guest:
            guest.wait_booted()
            assert guest.check("uname -r", PATIENCE).strip() == self.kernels[0]
            guest.check("mount -o ro LABEL=packages /mnt", PATIENCE)
            self.pages["dpkg"] = guest.check("dpkg -i /mnt/kmodkeep_*.deb", PATIENCE)
            guest.check("update-grub", PATIENCE)
            self._read_pages(guest, PAGES)
            self.document = ask(guest)
            self.predicted = by_kernel_and_module(self.document)
            self._load(guest)
            self._adopt(guest)
            guest.reboot()
            guest.wait_booted()
            assert guest.check("uname -r", PATIENCE).strip() == self.kernels[1]
            self.after_boot = by_kernel_and_module(ask(guest))
            self._load(guest)
            self._write_proof()
            self._leave(guest)
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

    def _adopt(self, guest):
        """All are taken into care, as they are."""
        self.files = guest.check(FILES, PATIENCE)
        self._read_pages(guest, ADOPTING)
        self.files_adopted = guest.check(FILES, PATIENCE)
        self.adopted = by_kernel_and_module(ask(guest, "adopted"))

    def _leave(self, guest):
        """kmodkeep goes; what is loaded is unloaded, and loaded again."""
        self.pages["purge"] = guest.check("DEBIAN_FRONTEND=noninteractive dpkg --purge kmodkeep",
                                          PATIENCE)
        modules = {module for _, module in self.loads}
        self.stuck = guest.run(f"modules='{' '.join(sorted(modules))}'\n{UNLOAD}",
                               PATIENCE).output
        self.left = load(guest, modules, "loads-afterwards")

    def _write_proof(self):
        """What tests/proof/table.py makes a page of."""
        seen = {kernel: {} for kernel in self.kernels}
        for (kernel, module), what in self.loads.items():
            finding = self.predicted.get((kernel, module))
            seen[kernel][module] = finding["verdict"] if finding else "not named", what.served
        (self.workdir / "proof.json").write_text(json.dumps({
            "kernels": self.kernels, "drivers": self.system.drivers, "modules": seen,
            "wrong": len(list(differences(self.predicted, self.loads)))}, indent=1))

    def _read_pages(self, guest, commands):
        for command in commands:
            result = guest.run(f"kmodkeep {command}", PATIENCE)
            self.pages[command] = f"{result.output}exit code {result.status}\n"
            name = re.sub("[^a-z]+", "-", command)
            (self.workdir / f"page-{name}").write_text(self.pages[command])


def ask(guest, log="predicted"):
    """What doctor says of all kernels; it stays in the guest's logs."""
    text = guest.run("kmodkeep doctor --all --json", PATIENCE).output
    release = guest.check("uname -r", PATIENCE).strip()
    (guest.workdir / f"{log}-on-{release}.json").write_text(text)
    return json.loads(text[text.index("{"):])


def load(guest, modules, log="loads"):
    """Run modprobe for each of MODULES: {(kernel, module): Load}."""
    release = guest.check("uname -r", PATIENCE).strip()
    output = guest.check(f"modules='{' '.join(sorted(modules))}'\n{LOAD}", PATIENCE)
    (guest.workdir / f"{log}-on-{release}").write_text(output)
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
