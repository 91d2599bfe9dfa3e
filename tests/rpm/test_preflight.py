# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep preflight with dnf, in a chroot: may the kernel among the updates be installed?

RPM mechanics on Debian payload.
"""

import json
import os
import time

import pytest

from fleet.kmodkeep_fleet.cache import digest_tree
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


def radar(host, verdict="builds", **changes):
    """A radar's file of the driver that is here and the kernel that is among the updates."""
    (source,) = (host.path / "usr/src").glob("flightrec-*")
    kernel = host.run("dnf -q repoquery --upgrades --latest-limit=1 --qf '%{version}-%{release}.%{arch}' kernel-core").stdout.split()[-1]
    word = f"fedora:{kernel}"
    cell = {"verdict": verdict, "error": "a.c:1: error: no", "modules": ["flightrec", "flightrec_events"], "built": 1, "seconds": 1.0,
            "kernel_package_version": kernel.rpartition(".")[0], "machine": os.uname().machine, **changes}  # fmt: skip
    document = {"schema": 1, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "kernels": [word],
                "drivers": [{"driver": "flightrec", "version": "1", "source": digest_tree(source), "kernels": {word: cell}}]}  # fmt: skip
    (host.path / "radar.json").write_text(json.dumps(document), "ascii")
    return kernel


def test_a_radar_answers_without_a_build(before):
    before.replace("/usr/sbin/dkms", "exit 9")  # builds nothing, and is not asked to
    for verdict, changes, code, said in (
        ("builds", {}, 0, "each driver builds for: {kernel}. The radar did not sign or load them."),
        ("does-not-build", {}, 1, "not safe: this update would lose a driver"),
        ("builds", {"kernel_package_version": "1-1"}, 3, "could not tell by this radar. Next: kmodkeep preflight"),
    ):
        kernel = radar(before, verdict, **changes)
        asked = before.run("kmodkeep preflight --radar /radar.json", check=False)
        assert asked.returncode == code and said.format(kernel=kernel) in asked.stdout, asked.stdout
        assert f"{kernel}: flightrec: " in asked.stdout
