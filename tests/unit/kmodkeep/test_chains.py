# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates that a signature brings along: the table of tests/secureboot, without a kernel."""

import json
import random

from tests.secureboot import cells
from tests.unit.kmodkeep.host import KERNEL, siglist

SEED = random.SystemRandom().randrange(2, 1 << 32)


def test_chains(tree, plain_module, tmp_path):
    print(f"SEED={SEED}")
    keys = {name: cells.make_key(tmp_path, name)
            for name in ("good", "ca", "pending", "strange-ca")}
    tree.secure_boot()
    tree.variable("MokListRT", siglist(keys["good"].der, keys["ca"].der))
    tree.request(keys["pending"].der)
    wanted = {}
    for cell in cells.chains(plain_module.read_bytes(), keys, [1, 2, SEED]):
        (tmp_path / f"{cell.name}.ko").write_bytes(cell.data)
        wanted[str(tmp_path / f"{cell.name}.ko")] = cell.words
    document = json.loads(tree.run("verify", "--json", *wanted).out)
    wrong = [(r["file"], r["verdict"], r["message"]) for r in document["results"]
             if r["verdict"] not in wanted[r["file"]]]
    assert not wrong and len(document["results"]) == len(wanted)
    said = {r["file"].rpartition("/")[2]: r["signer"] for r in document["results"]}
    assert said["chain-two.ko"] == "table deep"


def test_chain_where_nothing_demands_a_signature(tree, plain_module, tmp_path):
    """A stranger's is waived, one that was changed is not."""
    keys = {name: cells.make_key(tmp_path, name) for name in ("good", "ca", "pending", "strange-ca")}
    tree.secure_boot(on=False)
    by_name = {c.name: c.data for c in cells.chains(plain_module.read_bytes(), keys, [])}
    for name, word in (("chain-of-strangers", "ok"), ("chain-tampered", "tampered")):
        (tmp_path / "m.ko").write_bytes(by_name[name])
        (result,) = json.loads(tree.run("verify", "--json", tmp_path / "m.ko").out)["results"]
        assert result["verdict"] == word, result


def test_ecdsa_with_its_certificate_along(tree, plain_module, tmp_path):
    """Also where only the certificate of an RSA key is signed so: what the kernel knows decides."""
    ec = cells.make_key(tmp_path, "ecdsa")
    leaf = cells.issue("leaf", ec)
    tree.secure_boot()
    tree.variable("MokListRT", siglist(ec.der))
    module = plain_module.read_bytes()
    (tmp_path / "own.ko").write_bytes(cells.appended(module, cells.cms(module, [ec], along=[])))
    (tmp_path / "issued.ko").write_bytes(cells.appended(module, cells.cms(module, [leaf], along=[])))
    keyring = "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\n"
    for line, word in (("CONFIG_CRYPTO_ECDSA=y", "ok"), ("CONFIG_CRYPTO_ECDSA=m", "unknown"),
                       ("# CONFIG_CRYPTO_ECDSA is not set", "unsupported-signature")):  # fmt: skip
        tree.put(f"boot/config-{KERNEL}", keyring + line + "\n")
        found = json.loads(tree.run("verify", "--json", tmp_path / "own.ko", tmp_path / "issued.ko").out)
        assert [r["verdict"] for r in found["results"]] == [word, word], (line, found)
