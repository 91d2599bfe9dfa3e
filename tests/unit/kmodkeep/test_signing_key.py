# SPDX-License-Identifier: GPL-2.0-only
"""The key that signed a module is the one that kmodkeep speaks of."""

import shutil

import pytest

from tests.unit.kmodkeep.host import Pair
from tests.unit.kmodkeep.test_key_verbs import enroll, ready  # noqa: F401 (a fixture)


def test_the_key_that_dkms_signs_with_is_the_one_to_enrol(ready, plain_module, tmp_path):
    """Another one is enrolled, and the module bears dkms's: no dead end."""
    dkms = Pair(tmp_path, "dkms's key")
    dkms.copy_to(ready.path / "srv/keys/mok.key", ready.path / "srv/keys/mok.der")
    ready.put("etc/dkms/framework.conf", "mok_signing_key=/x\nmok_certificate=/x\nopts=(1 2)\n")
    ready.put("etc/dkms/framework.conf.d/key.conf",
              "mok_signing_key='/srv/keys/mok.key'\nmok_certificate=\"/srv/keys/mok.der\"\n")
    ready.enrol(ready.keys / "signing.der")
    assert enroll(ready).out.startswith("kmodkeep: the key 'kmodkeep host.example")
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    assert ready.run("sign", "--key", dkms.key, "--cert", dkms.cert, module).code == 0
    result = ready.run("verify", module)
    certificate = ready.path / "srv/keys/mok.der"
    assert result.code == 1 and "untrusted-key: signed by 'dkms's key'" in result.out
    assert f"kmodkeep key enroll --cert {certificate}; or sign it with this host's" in result.out
    result = enroll(ready, "--cert", certificate)
    assert result.code == 0 and "The key 'dkms's key' will be trusted" in result.out, result.text
    assert ": pending-enrolment: " in ready.run("verify", module).out
    ready.enrol(certificate)
    assert ": ok: " in ready.run("verify", module).out


def test_enrol_what_is_no_certificate(ready):
    result = enroll(ready, "--cert", ready.put("x.der", "junk"))
    assert result.code == 1 and "x.der is not a certificate. Next: name the file" in result.err
    result = enroll(ready, "--cert", ready.path / "none.der")
    assert result.code == 1 and "none.der: No such file or directory. Next: " in result.err
    assert not (ready.path / "password").exists()


@pytest.mark.parametrize("verb,option", [("create", "--root"), ("enroll", "--root"), ("enroll", "--cert")])
def test_option_without_its_value(tree, verb, option):
    result = tree.run("key", verb, option, root=False)
    assert result.code == 2
    assert result.err.startswith(f"kmodkeep: key {verb}: {option} needs ")
    assert len(result.err.splitlines()) == 1
