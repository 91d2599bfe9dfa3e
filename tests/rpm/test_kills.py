# SPDX-License-Identifier: GPL-2.0-or-later
"""An upgrade is killed: a module stays, dkms goes on working, and the next run repairs all.

RPM mechanics on Debian payload.  Each scriptlet of the transaction is one point to
die at, and so is each step that dkms takes in the one that switches.
"""

import os

import pytest

from tests.rpm.chroot import OURS
from tests.rpm.trees import FIRST, SECOND

# What only this scriptlet has in it.
SCRIPTLETS = {
    "pre of flightrec-dkms": "keep_source flightrec",
    "post of flightrec-dkms": "systemd-sysusers",
    "preun of flightrec-dkms": "kmodkeep package remove",
    "posttrans of flightrec-dkms": "kmodkeep package configure",
    "post of flightrec": "preset flightrec-collect",
    "preun of flightrec": "disable flightrec-collect",
    "postun of flightrec": "/run/motd.d/flightrec ",
    "post of kmodkeep": "kmodkeep key create",
    "preun of kmodkeep": "how-to-remove",
    "postun of kmodkeep": "-mindepth",
    "posttrans of kmodkeep": "restorecon",
    "file trigger of what came": "# Something came.",
    "file trigger of what went": "# Something went.",
}

# What else there is comes down to one of these, or to the start of the script.
STEPS = [("install", "before"), ("install", "after"), ("remove", "after")]
if os.environ.get("FULL"):
    STEPS = [(step, when) for step in ("build", "install", "remove") for when in ("before", "after")]

# rpm's shell. A scriptlet is a file there, whose name is its first argument.
SHELL = """\
case ${{1-}} in
/var/tmp/rpm-tmp.*) if grep -q -e '{marker}' "$1"; then cut; fi ;;
esac
exec "$real" "$@"
"""


def test_every_scriptlet_is_known(host):
    """... and has its own mark, lest a kill hits another one."""
    scripts = host.run(f"rpm -q --scripts --filetriggers {OURS}").stdout
    parts = scripts.split("scriptlet (using /bin/sh)")[1:]
    assert len(parts) == len(SCRIPTLETS), scripts
    for name, marker in SCRIPTLETS.items():
        assert sum(marker in part for part in parts) == 1, name


@pytest.mark.parametrize("name", SCRIPTLETS)
def test_killed_at_a_scriptlet(host, name):
    host.use("dkms", "release2")
    host.replace("/usr/bin/dash", SHELL.format(marker=SCRIPTLETS[name]))
    host.dnf_killed(f"upgrade {OURS}")
    host.put_back("/usr/bin/dash")
    resume(host)


@pytest.mark.parametrize("step, when", STEPS)
def test_killed_at_a_step_of_dkms(host, step, when):
    host.use("dkms", "release2")
    work = {"before": "", "after": '"$real" "$@";'}[when]
    host.replace("/usr/sbin/dkms", f'if [ "$1" = {step} ]; then {work} cut $PPID; fi\n'
                                   'exec "$real" "$@"')
    host.dnf_killed(f"upgrade {OURS}")
    host.put_back("/usr/sbin/dkms")
    resume(host)


def test_killed_and_resumed_while_the_old_script_goes_on(host):
    """The new run waits for what the killed one left behind."""
    host.use("dkms", "release2")
    host.replace("/usr/sbin/dkms", 'if [ "$1" = build ] && [ -e /kill/victim ]; then\n'
                                   'kill -9 "$(cat /kill/victim)"; rm /kill/victim; sleep 3\n'
                                   'fi\nexec "$real" "$@"')
    host.dnf_killed(f"upgrade {OURS}")
    host.dnf(f"reinstall {OURS}")
    assert host.run(["pgrep", "-f", "kmodkeep package"], check=False).stdout == "", "still there"
    host.put_back("/usr/sbin/dkms")
    resume(host)


def resume(host):
    """What must be so after the kill, and after dnf was run again."""
    kernel, = host.kernels()
    assert host.module("version", kernel) in (FIRST, SECOND), host.said
    host.other_drivers_build()
    host.dnf(f"upgrade {OURS}")
    host.dnf(f"reinstall {OURS}")
    assert host.package() == [SECOND], host.said
    host.has(SECOND)
    host.nothing_put_aside()
