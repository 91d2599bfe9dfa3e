# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted disks that a TPM unlocks: who is warned before a key is enrolled, and who not."""

import base64
import json

import pytest

# What cryptsetup prints, seen from outside.
CRYPTSETUP = """#!/bin/sh
[ "$1 $2 $3" = "luksDump --dump-json-metadata /dev/vda3" ] || exit 1
cat '{tree}/metadata'
"""


def systemd(**members):
    return {"type": "systemd-tpm2", "keyslots": ["1"], "tpm2-blob": "", "tpm2-pcrs": [],
            "tpm2-pcr-bank": "sha256", "tpm2-policy-hash": "", **members}  # fmt: skip


def header(clevis):
    text = json.dumps({"alg": "dir", "clevis": clevis, "enc": "A256GCM"})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def tpm2(pcrs):
    return {"pin": "tpm2", "tpm2": {"hash": "sha256", "pcr_bank": "sha256", "pcr_ids": pcrs}}


def clevis(pins):
    return {"type": "clevis", "keyslots": ["1"],
            "jwe": {"ciphertext": "AA", "protected": header(pins), "tag": "AA"}}  # fmt: skip


def shared(*pins):
    """Any of several: each one a JWE of its own."""
    jwe = [f"{header(pin)}..AA.BB.CC" for pin in pins]
    return {"pin": "sss", "sss": {"jwe": jwe, "p": "AA", "t": 1}}


BOUND = {
    "systemd": systemd(**{"tpm2-pcrs": [7, 14]}),
    "systemd, signed policy": systemd(tpm2_pubkey_pcrs=[11, 14]),
    "systemd, pcrlock": systemd(tpm2_pcrlock=True),
    "clevis": clevis(tpm2("7,14")),
    "clevis, of two": clevis(shared({"pin": "tang", "tang": {"url": "x"}}, tpm2("14"))),
}
FREE = {
    "no token": None,
    "systemd, other registers": systemd(**{"tpm2-pcrs": [0, 4, 7]}),
    "systemd, no register": systemd(),
    "clevis, other registers": clevis(tpm2("1,4")),
    "clevis, no register": clevis({"pin": "tpm2", "tpm2": {"hash": "sha256"}}),
    "clevis, network": clevis({"pin": "tang", "tang": {"url": "http://x"}}),
    "a key on a stick": {"type": "systemd-fido2", "keyslots": ["1"], "tpm2-pcrs": [14]},
    "odd types": systemd(**{"tpm2-pcrs": {"14": 14}}),
    "numbers beyond": systemd(**{"tpm2-pcrs": [-14, 400, "x"]}),
    "no JWE": {"type": "clevis", "jwe": "14"},
}


@pytest.fixture
def host(tree, pair):
    """Secure Boot is on, there is a key to enrol, a TPM, and an encrypted disk that is open."""
    tree.secure_boot()
    tree.own_key(pair)
    tree.add_mokutil()
    tree.esp()
    tree.put("sys/class/tpm/tpm0/tpm_version_major", "2\n")
    tree.put("sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS2-0123456789abcdef-root\n")
    tree.put("sys/class/block/dm-0/dm/name", "cryptroot\n")
    tree.put("sys/class/block/dm-0/slaves/vda3/dev", "254:3\n")
    tree.put("sys/class/block/dm-1/dm/uuid", "LVM-abc\n")
    tree.put("usr/sbin/cryptsetup", CRYPTSETUP.format(tree=tree.path)).chmod(0o755)
    metadata(tree, BOUND["systemd"])
    return tree


def metadata(tree, token):
    tokens = {} if token is None else {"0": token}
    tree.put("metadata", json.dumps({"keyslots": {}, "tokens": tokens, "segments": {}}))


def enroll(tree):
    return tree.run("key", "enroll", "--password-stdin", input="a password\n").out


@pytest.mark.parametrize("token", BOUND.values(), ids=list(BOUND))
def test_bound_disk_is_warned_of(host, token):
    metadata(host, token)
    warning = f"the TPM unlocks cryptroot ({token['type']}) by PCR 14, which changes when a key is"
    out = enroll(host)
    assert f"kmodkeep: warning: {warning}" in out
    # Before the request is made, not as an afterthought.
    assert out.index("warning: ") < out.index("The key ")
    page = host.run("status").out
    assert warning in " ".join(page.split()) and page.count("Encryption") == 1
    assert all(len(line) <= 80 for line in page.splitlines())
    assert warning in " ".join(host.run("key", "status").out.split())
    for words in (["key", "status", "--json"], ["doctor", "--json"]):
        assert warning in json.loads(host.run(*words).out)["tpm_warning"]


def nothing_said(host):
    said = enroll(host) + host.run("status").out + host.run("key", "status").out
    assert "enrolment asked for" in said
    for words in (["key", "status", "--json"], ["doctor", "--json"]):
        assert json.loads(host.run(*words).out)["tpm_warning"] is None
    return "TPM" not in said and "Encryption" not in said and "warning" not in said


@pytest.mark.parametrize("token", FREE.values(), ids=list(FREE))
def test_disk_that_does_not_mind_is_not_mentioned(host, token):
    metadata(host, token)
    assert nothing_said(host)


def test_without_a_tpm(host):
    (host.path / "sys/class/tpm/tpm0/tpm_version_major").unlink()
    (host.path / "sys/class/tpm/tpm0").rmdir()
    assert nothing_said(host)


def test_disk_of_the_older_kind(host):
    host.put("sys/class/block/dm-0/dm/uuid", "CRYPT-LUKS1-0123456789abcdef-root\n")
    assert nothing_said(host)


@pytest.mark.parametrize("text,said", [
    ("exit 1", "it takes root, and cryptsetup 2.4 or later"),
    ("echo '{'", "its metadata is damaged"),
    ("echo '[1, 2]'", None),
    (None, "cryptsetup is not installed"),
])  # fmt: skip
def test_what_cannot_be_read_is_said(host, text, said):
    tool = host.path / "usr/sbin/cryptsetup"
    if text:
        tool.write_text(f"#!/bin/sh\n{text}\n")
    else:
        tool.unlink()
    if said is None:
        assert nothing_said(host)
    else:
        assert f"warning: how /dev/vda3 is unlocked cannot be read: {said}" in enroll(host)
