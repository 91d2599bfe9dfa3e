# SPDX-License-Identifier: GPL-2.0-only
"""Install, upgrade and remove our packages in a chroot: each kernel keeps a driver.

RPM mechanics on Debian payload.  dnf returns 0 though a script failed, so the state
decides.
"""

from tests.rpm.chroot import KEYS, OURS


def test_install(host):
    host.has("0.1.0-1")
    assert "smoke test" not in host.said, "a chroot has no kernel to try a driver out on"


def test_release_bump_and_downgrade(host):
    host.use("dkms", "flightrec", "release2")
    host.dnf(f"upgrade {OURS}")
    host.has("0.1.0-2")
    host.nothing_put_aside()
    host.dnf("downgrade flightrec-0.1.0-1 flightrec-dkms-0.1.0-1 kmodkeep-0.1.0-1")
    assert host.package() == ["0.1.0-1"], host.said
    host.has("0.1.0-1")
    assert host.run("ls /usr/src | grep flightrec").stdout.split() == ["flightrec-0.1.0-1"]
    host.nothing_put_aside()


def test_reinstall(host):
    assert "Reinstalled:" in host.dnf(f"reinstall {OURS}")
    host.has("0.1.0-1")
    host.nothing_put_aside()


def test_version_that_does_not_build(host):
    host.use("dkms", "broken")
    host.dnf(f"upgrade {OURS}")
    assert "FAILED" in host.said and "0.1.0-1 stays installed and loadable" in host.said
    assert "Next: report the log" in host.said, host.said
    assert host.package() == ["0.2.0-1"], host.said
    host.has("0.1.0-1")
    host.other_drivers_build()
    host.use("dkms", "fixed")
    host.dnf(f"upgrade {OURS}")
    host.has("0.3.0-1")
    host.nothing_put_aside()


def test_remove(host):
    host.dnf(f"remove {OURS}")
    left = host.run("find /usr/src/flightrec* /var/lib/dkms/flightrec /usr/lib/flightrec"
                    " /usr/lib/modules/*/extra /etc/kmodkeep /usr/lib/kmodkeep"
                    " /var/lib/kmodkeep 2>/dev/null", check=False).stdout.split()
    keys = [f"{KEYS}/{name}" for name in ("machine-id", "signing.der", "signing.key")]
    assert sorted(left) == sorted(["/var/lib/kmodkeep", KEYS, *keys]), host.said
