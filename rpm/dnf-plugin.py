# SPDX-License-Identifier: GPL-2.0-or-later
"""dnf 4: no kernel goes that kmodkeep has pinned, and none comes before its prebuilt drivers.

installonly_limit removes the oldest kernels, and the pinned one may be the oldest.
dnf spares the one that runs; this spares the pinned one also where another runs. A
pin ends by its age, or by: kmodkeep pin release. dnf5 gets a setting instead.

A package kmod-DRIVER of "kmodkeep fleet package" provides kmodkeep-hold(KERNEL) = VERSION:
it has modules for that package of the kernel, and conflicts with later ones. What is later
is left out here, so that all other updates go on: dnf gives up for a conflict. Which kernel
waits for which driver is said, and kept for "kmodkeep status" and as a metric.
"""

import contextlib
import json
import logging
import os
import re
import subprocess
import time

import dnf
import dnf.exceptions

STATE = "var/lib/kmodkeep/state.json"
WAITS = "var/lib/kmodkeep/kernel-waits"
GUARD = "etc/kmodkeep/guard.conf"
HOLD = re.compile(r"kmodkeep-hold\(([A-Za-z0-9._+-]+)\) = ([A-Za-z0-9._+~^:-]+)")
METRIC = "kmodkeep_kernel_wait_since_seconds"
PATIENCE = 300  # seconds that a script of a package may take

logger = logging.getLogger("dnf.plugin")


class Kmodkeep(dnf.Plugin):
    """Lifts dnf's limit while there is a pin; leaves out kernels that have to wait."""

    name = "kmodkeep"
    waits = None

    def config(self):
        """Called once dnf has read its settings."""
        kernel = pinned(self.below(STATE))
        if kernel:
            self.base.conf.installonly_limit = 0

    def sack(self):
        """Called once dnf knows all packages."""
        self.waits = leave_out(self.base)

    def resolved(self):
        """Called once dnf knows what it will do."""
        if self.waits is None:
            return
        since = known(self.below(WAITS))
        lines = [(since.get(package) or int(time.time()), package, *rest) for package, *rest in self.waits]
        for when, package, kernel, stays, newest, packager in lines:
            day = time.strftime("%F %H:%M UTC", time.gmtime(when))
            logger.warning("kmodkeep: %s stays at %s: %s waits for %s, since %s. It comes from %s. Next: wait; "
                           "or go without the driver: dnf remove --noautoremove %s, then dnf upgrade",
                           kernel, stays, newest, package, day, packager, package)  # fmt: skip
        if os.geteuid() == 0:
            try:
                keep(self.below(WAITS), "".join(" ".join(map(str, line)) + "\n" for line in lines))
                write_metrics(self.below(GUARD), self.base.conf.installroot, lines)
            except OSError as error:
                logger.warning("kmodkeep: which kernel waits was not kept: %s", error)

    def pre_transaction(self):
        """Called before anything changes: would the kernel load these modules?  A %pre that refuses
        its package half-way would let the kernel move without its driver."""
        # What this machine trusts is not what an image will.
        if os.path.realpath(self.base.conf.installroot) != "/":
            return
        for package in self.base.transaction.install_set:
            if package.name.startswith("kmod-"):
                refuse(package)

    def below(self, path):
        """PATH of the system that dnf changes."""
        return os.path.join(self.base.conf.installroot, path)


def pinned(state):
    """The kernel that the file STATE says is pinned, or None."""
    try:
        with open(state, encoding="utf-8") as file:
            return json.load(file)["pin"]["kernel"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no guard here, or no pin


def holds(package):
    """[(kernel, version)] that a package kmod-DRIVER has modules for."""
    return [found.groups() for found in map(HOLD.fullmatch, map(str, package.provides)) if found]


def leave_out(base):
    """Excludes what has to wait; [(package, kernel, version it stays at, newest version, packager)]."""
    sack = base.sack
    metas = list(sack.query().installed().filter(provides__glob="kmodkeep-hold(*)"))
    # driver -> kernel -> the latest version that it can have modules for
    reach, limits = {}, {}
    for meta in metas:
        for one in [meta, *sack.query().available().filter(name=meta.name, arch=meta.arch)]:
            for kernel, version in holds(one) if one.evr_cmp(meta) >= 0 else ():
                mine = reach.setdefault(meta, {})
                if kernel not in mine or sack.evr_cmp(version, mine[kernel]) > 0:
                    mine[kernel] = version
    for mine in reach.values():
        for kernel, version in mine.items():
            if kernel not in limits or sack.evr_cmp(version, limits[kernel]) < 0:
                limits[kernel] = version
    waits = []
    for kernel, limit in limits.items():
        later = [one for one in sack.query().available().filter(name=kernel) if sack.evr_cmp(one.evr, limit) > 0]
        # With it all that is of this kernel: its modules and what drivers are built with.
        parts = [one for one in sack.query().available().filter(name__glob=["kernel", "kernel-*"])
                 if any(one.sourcerpm == its.sourcerpm and one.evr == its.evr for its in later)]  # fmt: skip
        # Drivers that are ahead of the others wait too.
        ahead = [one for one in sack.query().available().filter(provides__glob=f"kmodkeep-hold({kernel})*")
                 if any(its == kernel and sack.evr_cmp(version, limit) > 0 for its, version in holds(one))]  # fmt: skip
        out = [*later, *parts, *ahead]
        if out:
            sack.add_excludes(sack.query().filter(pkg=out))
        newest = limit
        for one in later:
            if sack.evr_cmp(one.evr, newest) > 0:
                newest = one.evr
        for meta, mine in reach.items():
            if newest != limit and mine.get(kernel) == limit:
                waits.append((meta.name, kernel, limit, newest, meta.packager or "nobody who is named"))
    return waits


def refuse(package):
    """dnf's error where the %pre of PACKAGE, one of "kmodkeep fleet package", refuses it."""
    asked = run(["rpm", "-qp", "--nosignature", "--qf", "%{PREIN}", package.localPkg()])
    if asked and (asked.returncode or "kmodkeep verify" not in asked.stdout):
        return
    done = asked and run(["sh", "-s"], asked.stdout)
    if not done:
        logger.warning("kmodkeep: whether this host trusts the signer of %s was not told", package.name)
        return
    # It refuses with 1; other ends are none of its own.
    if done.returncode == 1:
        raise dnf.exceptions.Error(f"{done.stderr.strip()}\nkmodkeep: nothing was changed. Next: what is named above; "
                                   f"or without it: --exclude={package.name}")  # fmt: skip


def run(command, text=None):
    """What COMMAND gave, or None if it is not there or did not end in time."""
    try:
        return subprocess.run(command, input=text, capture_output=True, check=False, text=True, errors="replace", timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None


def known(path):
    """{package: since when its kernel waits} of the last time."""
    found = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split(" ", 2)
                if len(words) == 3 and words[0].isdigit():
                    found[words[1]] = int(words[0])
    return found


def keep(path, text):
    """TEXT into PATH, in one step; nothing is made where there is nothing to say."""
    if not text and not os.path.exists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Below folders of root alone. Whoever reads status and metrics is not root.
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)


def write_metrics(conf, root, lines):
    """As kernel-hold does it where apt is."""
    try:
        with open(conf, encoding="utf-8") as file:
            found = re.findall(r"^\s*prometheus\s*=\s*(\S+)\s*$", file.read(), re.M)
    except (FileNotFoundError, UnicodeDecodeError):
        return
    if not found or not os.path.isdir(os.path.join(root, os.path.dirname(found[-1]).lstrip("/"))):
        return
    text = f"# HELP {METRIC} When the kernel began to wait for this driver.\n# TYPE {METRIC} gauge\n" + "".join(
        f'{METRIC}{{package="{package}",kernel="{kernel}",stays="{stays}",waits="{newest}"}} {since}\n'
        for since, package, kernel, stays, newest, _ in lines
    )
    keep(os.path.join(root, found[-1].removesuffix(".prom").lstrip("/") + "-waits.prom"), text)
