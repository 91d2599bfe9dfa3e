# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep repair is killed at every step that the real dkms takes.

In a chroot that kmodkeep is asked about from inside, as in tests/packaging/test_vendor.py. The
driver is the archive's own; dkms is the suite's own, but for a line that ends it, and all that
started it, before its Nth command that changes something. The next run completes what was
begun, and the other kernel is never worse off.

FULL=1 kills it at each step, and else at ten of them.
"""

import os
import re
import signal

import pytest

from tests.lib import apt
from tests.packaging.target import Target
from tests.packaging.test_vendor import become_host, doctor, enrol, keep
from tests.packaging.variants import packages
from tests.unit.kmodkeep.system import grub_cfg, without_initrds

FULL = bool(os.environ.get("FULL"))
DRIVER = "acpi-call"

# What dkms sources first. The count is in a file, since subshells count as well.
KILL = r"""
[ ! -e /kill/at ] || {
    set -T
    count_down() {
        local count pid=$BASHPID pids= name parent key value
        case ${1%% *} in mkdir | cp | mv | rm | ln | touch | eval | depmod | install | find | do_depmod) ;;
        *) return 0 ;; esac
        read -r count </kill/at
        echo "$((count - 1))" >/kill/at
        [ "$count" = 1 ] || return 0
        echo "$1" >>/kill/killed
        # The eldest first: this very process would not come to the others.
        while [ "$name" != kmodkeep ] && [ "$pid" -gt 1 ]; do
            pids="$pid $pids"
            while read -r key value _; do
                case $key in Name:) name=$value ;; PPid:) parent=$value ;; esac
            done </proc/"$pid"/status
            pid=$parent
        done
        kill -9 $pids
    }
    trap 'count_down "$BASH_COMMAND"' DEBUG
}
"""
NEVER = 1_000_000


@pytest.fixture(scope="module")
def target():
    """Two kernels, of which the newer boots next; the driver is on both, and trusted."""
    driver = next(apt.download("bookworm", [f"{DRIVER}-dkms"]).glob("*.deb"))
    with Target("bookworm") as clone:
        clone.old, *_, clone.new = clone.kernels
        clone.install([packages("bookworm")["kmodkeep"], driver])
        clone.apt("install", "grub2-common")
        clone.source = re.search(rf"{DRIVER}/[^,:]+", clone.run(["dkms", "status"]).stdout)[0]
        for kernel in (clone.old, clone.new):
            clone.run(["dkms", "install", clone.source, "-k", kernel])
            clone.write(f"/boot/vmlinuz-{kernel}", "a kernel")
            (clone.path / f"boot/initrd.img-{kernel}").unlink(missing_ok=True)
        clone.write("/boot/grub/grub.cfg", without_initrds(grub_cfg([clone.new, clone.old])))
        clone.run(["grub-editenv", "/boot/grub/grubenv", "create"])
        become_host(clone)
        enrol(clone)
        clone.act_on("/host")
        clone.write("/kill/dkms", KILL)
        clone.run(["sed", "-i", "1a . /kill/dkms", "/usr/sbin/dkms"])
        yield clone


def killed_at(target, number):
    """Run repair, and end it at that step of dkms; the steps that were taken until then."""
    killed = target.path / "kill/killed"
    killed.unlink(missing_ok=True)
    target.write("/kill/at", f"{number}\n")
    code, text = keep(target, "repair", "--yes")
    left = (target.path / "kill/at").read_text()
    (target.path / "kill/at").unlink()
    assert killed.exists() == (number != NEVER), f"step {number} did not come"
    assert code == (0 if number == NEVER else -signal.SIGKILL), text
    return number - int(left or 0)


def serves(target, kernel):
    return doctor(target)[kernel, DRIVER] == "ok"


def unbuild(target):
    target.run(["dkms", "unbuild", target.source, "-k", target.new])


def test_killed_at_a_step_the_next_run_completes(target):
    assert serves(target, target.new) and serves(target, target.old)
    unbuild(target)
    assert not serves(target, target.new)
    steps = killed_at(target, NEVER)
    assert steps > 5 and serves(target, target.new)
    for number in range(1, steps + 1, 1 if FULL else -(-steps // 10)):
        unbuild(target)
        killed_at(target, number)
        assert serves(target, target.old), number
        code, text = keep(target, "repair", "--yes")
        assert code == 0, f"{number} of {steps}: {text}"
        assert serves(target, target.new), number
        assert target.states(f"{DRIVER}-dkms") == {f"{DRIVER}-dkms": "ii"}
