# SPDX-License-Identifier: GPL-2.0-or-later
"""Install, upgrade and remove our packages in a chroot: each kernel keeps a driver.

RPM mechanics on Debian payload.  dnf returns 0 though a script failed, so the state
decides.
"""

from tests.rpm.chroot import KEYS, OURS
from tests.rpm.trees import BROKEN, FIRST, FIXED, SECOND, VERSION


def test_install(host):
    host.has(FIRST)
    assert VERSION in host.run("flightrec --version").stdout  # it finds its library
    assert "smoke test" not in host.said, "a chroot has no kernel to try a driver out on"


def test_release_bump_and_downgrade(host):
    host.use("dkms", "flightrec", "release2")
    host.dnf(f"upgrade {OURS}")
    host.has(SECOND)
    host.nothing_put_aside()
    host.dnf("downgrade " + " ".join(f"{name}-{FIRST}" for name in OURS.split()))
    assert host.package() == [FIRST], host.said
    host.has(FIRST)
    assert host.run("ls /usr/src | grep flightrec").stdout.split() == [f"flightrec-{FIRST}"]
    host.nothing_put_aside()


def test_reinstall(host):
    assert "Reinstalled:" in host.dnf(f"reinstall {OURS}")
    host.has(FIRST)
    host.nothing_put_aside()


def test_version_that_does_not_build(host):
    host.use("dkms", "broken")
    host.dnf(f"upgrade {OURS}")
    assert "FAILED" in host.said and f"{FIRST} stays installed and loadable" in host.said
    assert "Next: report the log" in host.said, host.said
    assert host.package() == [BROKEN], host.said
    host.has(FIRST)
    host.other_drivers_build()
    host.use("dkms", "fixed")
    host.dnf(f"upgrade {OURS}")
    host.has(FIXED)
    host.nothing_put_aside()


def test_remove(host):
    host.dnf(f"remove {OURS}")
    left = host.run("find /usr/src/flightrec* /var/lib/dkms/flightrec /usr/lib/flightrec"
                    " /usr/lib/modules/*/extra /etc/kmodkeep /usr/lib/kmodkeep"
                    " /var/lib/kmodkeep 2>/dev/null", check=False).stdout.split()
    keys = [f"{KEYS}/{name}" for name in ("machine-id", "signing.der", "signing.key")]
    assert sorted(left) == sorted(["/var/lib/kmodkeep", KEYS, *keys]), host.said
