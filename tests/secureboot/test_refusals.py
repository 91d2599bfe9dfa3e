# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel under Secure Boot refuses, kmodkeep predicts and the smoke test names.

K=6.1,7.3 chooses the kernels, FULL=1 takes all; the default has one of each
behaviour: 5.10 has its own error codes, 6.1 trusts the .machine keyring always, and
7.3 only if shim says so.
"""

import os

import pytest

from tests.lib.kernels import KERNELS
from tests.secureboot.chain import Chain

DEFAULT = ["5.10", "6.1", "7.3"]
SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    list(KERNELS) if os.environ.get("FULL") else DEFAULT)

REFUSED = ["unsigned", "untrusted-key", "tampered"]

EKEYREJECTED = "Key was rejected by service"
EPERM = "Operation not permitted"

# 5.10 does not tell a missing signature from one by an unknown key.
ERRORS = {("5.10", "unsigned"): EPERM, ("5.10", "untrusted-key"): EPERM}
LOCKDOWN = "Lockdown: modprobe: unsigned module loading is restricted"
LOGS = {
    ("5.10", "unsigned"): LOCKDOWN,
    ("5.10", "untrusted-key"): LOCKDOWN,
    "unsigned": "Loading of unsigned module is rejected",
    "untrusted-key": "Loading of module with unavailable key is rejected",
    "tampered": "",  # the kernel says nothing
}


@pytest.fixture(scope="module", params=SELECTED)
def chain(request, tmp_path_factory):
    """The record of one host's way, made once for each kernel."""
    return Chain(request.param, tmp_path_factory.mktemp(f"linux-{request.param}-")).run()


@pytest.mark.parametrize("variant", REFUSED)
def test_kernel_refuses(chain, variant):
    seen = chain.after[variant]
    assert seen.status == 1
    assert ERRORS.get((chain.name, variant), EKEYREJECTED) in seen.said
    assert LOGS.get((chain.name, variant), LOGS[variant]) in seen.log


@pytest.mark.parametrize("variant", REFUSED)
def test_verify_predicts_it(chain, variant):
    assert chain.after[variant].predicted == variant


@pytest.mark.parametrize("variant", REFUSED)
def test_smoke_test_names_it(chain, variant):
    seen = chain.after[variant]
    assert seen.smoke["result"] == "failed"
    assert seen.smoke["verdict"] == variant
    assert variant in seen.smoke_line


def test_well_signed_module_loads(chain):
    seen = chain.after["signed"]
    assert (seen.predicted, seen.status) == ("ok", 0), seen
    assert (seen.smoke["result"], seen.smoke["verdict"]) == ("passed", "ok"), seen


def test_well_signed_module_is_refused_before_the_enrolment(chain):
    for seen, verdict in ((chain.before, "untrusted-key"), (chain.pending, "pending-enrolment")):
        assert seen.status == 1
        assert ERRORS.get((chain.name, "untrusted-key"), EKEYREJECTED) in seen.said
        assert (seen.predicted, seen.smoke["verdict"]) == (verdict, verdict)


def test_key_status_follows_the_enrolment(chain):
    for state, answer in chain.enrolment.items():
        assert f"Enrolment:    {state}\n" in answer


def test_mokmanager_was_seen(chain):
    assert len(chain.pictures) == 6
    assert all(picture.stat().st_size > 1000 for picture in chain.pictures)


def test_kernel_has_no_complaints(chain):
    assert not chain.complaints
