# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep preflight with dnf, in a chroot: may the kernel among the updates be installed?

RPM mechanics on Debian payload.
"""

import pytest

from tests.rpm.chroot import OURS


@pytest.fixture(name="before")
def fixture_before(host):
    """A system for which a newer kernel is among the updates, which dnf has looked at."""
    host.use("flightrec", "dkms", "updates")
    host.dnf("makecache")
    return host


def preflight(host, *words):
    """Its exit code and output; it leaves nothing behind, least of all a kernel."""
    kernels, status = host.kernels(), host.run("dkms status").stdout
    done = host.run(["kmodkeep", "preflight", *words], check=False)
    assert (host.kernels(), host.run("dkms status").stdout) == (kernels, status)
    assert not list((host.path / "var/tmp").glob("kmodkeep-preflight*"))
    return done.returncode, done.stdout


def test_safe(before):
    code, text = preflight(before, "--candidate")
    assert code == 0 and "safe: all guarded drivers load on: " in text, text
    assert ": flightrec: ok: " in text and ": flightrec-events: ok: " in text
    (old,) = before.kernels()
    assert old not in text


def test_build_that_fails(host):
    host.use("dkms", "unready")
    host.dnf(f"upgrade {OURS}")
    host.use("updates")
    host.dnf("makecache")
    code, text = preflight(host)
    assert code == 1 and ": flightrec: missing: version " in text, text
    assert "not safe: " in text and "excludepkgs=kernel*" in text


def test_no_kernel_among_the_updates(host):
    host.use("flightrec", "dkms")
    host.dnf("makecache")
    assert preflight(host) == (0, "kmodkeep: dnf would install no kernel\n")


def test_key_that_nobody_accepted(host):
    """Asking about an update must not make the host trust anybody."""
    host.use("updates")
    code, text = preflight(host)
    assert code == 3 and "kmodkeep: preflight: dnf repoquery: " in text, text


def test_headers_that_cannot_be_had(before):
    code, text = preflight(before, "--kernel", "9.9-1.noarch")
    assert code == 3 and "its headers cannot be fetched. Next: look at: dnf install" in text
