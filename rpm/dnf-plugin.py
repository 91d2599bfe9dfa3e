# SPDX-License-Identifier: GPL-2.0-or-later
"""dnf 4: no kernel goes that kmodkeep has pinned, and none comes before its prebuilt drivers.

installonly_limit removes the oldest kernels, and the pinned one may be the oldest.
dnf spares the one that runs; this spares the pinned one also where another runs. A
pin ends by its age, or by: kmodkeep pin release. dnf5 gets a setting instead.

What is later than the kernels that prebuilt drivers have modules for is left out here, so
that all other updates go on: dnf gives up for a conflict. See kmodkeep_dnf.
"""

import json
import logging
import os

import dnf
import dnf.exceptions
import kmodkeep_dnf

STATE = "var/lib/kmodkeep/state.json"

logger = logging.getLogger("dnf.plugin")


class Kmodkeep(dnf.Plugin):
    """Lifts dnf's limit while there is a pin; leaves out kernels that have to wait."""

    name = "kmodkeep"
    waits = None

    def config(self):
        """Called once dnf has read its settings."""
        kernel = pinned(os.path.join(self.base.conf.installroot, STATE))
        if kernel:
            self.base.conf.installonly_limit = 0

    def sack(self):
        """Called once dnf knows all packages."""
        self.waits = leave_out(self.base)

    def resolved(self):
        """Called once dnf knows what it will do."""
        if self.waits is not None:
            kmodkeep_dnf.tell(self.base.conf.installroot, self.waits, "dnf remove --noautoremove", logger.warning)

    def pre_transaction(self):
        """Called before anything changes: would the kernel load these modules?  A %pre that refuses
        its package half-way would let the kernel move without its driver."""
        # What this machine trusts is not what an image will.
        if os.path.realpath(self.base.conf.installroot) != "/":
            return
        for package in self.base.transaction.install_set:
            if package.name.startswith("kmod-"):
                error = kmodkeep_dnf.refusal(package.name, package.localPkg(), logger.warning)
                if error:
                    raise dnf.exceptions.Error(error)


def pinned(state):
    """The kernel that the file STATE says is pinned, or None."""
    try:
        with open(state, encoding="utf-8") as file:
            return json.load(file)["pin"]["kernel"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no guard here, or no pin


def holds(package):
    """[(kernel, version)] that a package kmod-DRIVER has modules for."""
    return [found.groups() for found in map(kmodkeep_dnf.HOLD.fullmatch, map(str, package.provides)) if found]


def leave_out(base):
    """Excludes what has to wait; what kmodkeep_dnf.tell() takes."""
    sack = base.sack
    reach = {}
    for meta in sack.query().installed().filter(provides__glob="kmodkeep-hold(*)"):
        mine = reach.setdefault((meta.name, meta.packager), {})
        for one in [meta, *sack.query().available().filter(name=meta.name, arch=meta.arch)]:
            for kernel, version in holds(one) if one.evr_cmp(meta) >= 0 else ():
                if kernel not in mine or sack.evr_cmp(version, mine[kernel]) > 0:
                    mine[kernel] = version
    waits = []
    for kernel, limit in kmodkeep_dnf.up_to(reach, sack.evr_cmp).items():
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
        waits += kmodkeep_dnf.waiting(reach, kernel, limit, newest)
    return waits
