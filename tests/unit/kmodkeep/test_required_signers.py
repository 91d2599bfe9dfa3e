# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that wants two signers: what a kernel would load with one is a finding everywhere."""

import json

import pytest

from tests.unit.kmodkeep.host import siglist
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes

POLICY = "require_signers = 2\nsigner = /etc/kmodkeep/signers/0.der\nsigner = /etc/kmodkeep/signers/1.der\n"


@pytest.fixture
def system(tree, pair, other_pair):
    """Both signers are enrolled, and both have signed the driver."""
    system = System(tree)
    system.pairs = [pair, other_pair]
    tree.secure_boot()
    tree.variable("MokListRT", siglist(*(p.cert.read_bytes() for p in system.pairs)))
    for n, one in enumerate(system.pairs):
        tree.put(f"etc/kmodkeep/signers/{n}.der", one.cert.read_bytes())
    tree.put("etc/kmodkeep/signing.conf", POLICY)
    tree.put("etc/os-release", "ID=debian\n")
    for kernel in (OLD, NEW):
        by(system, kernel, 0, 1)
    return system


def by(system, kernel, *signers, name="sample", **kwargs):
    path = system.install(kernel, name, sign=system.pairs[signers[0]], **kwargs)
    for signer in signers[1:]:
        pair = system.pairs[signer]
        assert system.tree.run("sign", "--add", "--key", pair.key, "--cert", pair.cert, path).code == 0
    return path


def finding(system, module="sample"):
    code, document = doctor(system)
    [found] = [f for f in document["findings"] if f["module"] == module]
    assert code == {"ok": 0, "unknown": 3}.get(found["verdict"], 1), document
    return found


def doctor(system):
    result = system.tree.run("doctor", "--next-boot", "--json")
    return result.code, json.loads(result.out)


def test_two_signers_are_ok_and_one_is_not(system):
    assert finding(system)["verdict"] == "ok" and system.tree.run("guard").code == 0
    for signer, missing in ((0, "'other'"), (1, "'one'")):
        by(system, NEW, signer)
        found = finding(system)
        assert found["verdict"] == "untrusted-key", found
        assert f"signed by 1 of the 2 signers that are required, not by {missing}" in found["message"]
        assert "kmodkeep manifest join" in found["next_step"]
        result = system.tree.run("guard")
        assert result.code == 1 and "next boot would lose sample" in result.out, result.text
        assert system.tree.run("status").code == 1
    # A kernel takes it, and without the policy so does this host.
    (system.path / "etc/kmodkeep/signing.conf").unlink()
    assert finding(system)["verdict"] == "ok" and system.tree.run("guard").code == 0


def test_policy_holds_where_no_signature_is_demanded(system):
    """As verify has it: Secure Boot may be off today and on tomorrow."""
    system.tree.secure_boot(False)
    by(system, NEW, 0)
    assert finding(system)["verdict"] == "untrusted-key"
    system.install(NEW)
    assert "signed by 0 of the 2 signers" in finding(system)["message"]


@pytest.mark.parametrize("conf", ["require_signers = two\n", "require_signers = 2\n", POLICY + "signer = x\n",
                                  POLICY.replace("1.der", "none.der")], ids=["word", "nobody", "path", "missing"])  # fmt: skip
def test_policy_that_cannot_be_read_is_no_permission(system, conf):
    system.tree.put("etc/kmodkeep/signing.conf", conf)
    found = finding(system)
    assert found["verdict"] == "unknown" and "who must have signed it is not known: " in found["message"]
    assert "/etc/kmodkeep/signing.conf" in found["message"] and found["next_step"].startswith("correct it")
    result = system.tree.run("guard")
    assert result.code == 3 and "cannot tell" in result.out


def test_copy_in_the_initramfs(system):
    """It is the one that early boot loads."""
    inside = "updates/dkms/sample.ko"
    system.initramfs(NEW, {inside: system.module_file(NEW).read_bytes()})
    assert finding(system)["verdict"] == "ok"
    once = by(system, NEW, 0).read_bytes()
    by(system, NEW, 0, 1)
    system.initramfs(NEW, {inside: once})
    found = finding(system)
    assert found["verdict"] == "stale-initramfs", found
    assert "its copy in the initramfs is not what this host accepts: untrusted-key: signed by 1 of" in found["message"]


def test_what_it_needs(system):
    """But for the kernel's own modules, which its maker alone has signed."""
    data = module_bytes(NEW, depends="helper")
    by(system, NEW, 0, 1, data=data)
    by(system, NEW, 0, 1, name="helper")
    assert finding(system)["verdict"] == "ok"
    by(system, NEW, 1, name="helper")
    found = finding(system)
    assert found["verdict"] == "untrusted-key" and found["message"].startswith("it needs helper: signed by 1 of")
    system.remove(NEW, "helper")
    own = system.tree.put(f"lib/modules/{NEW}/kernel/helper.ko", module_bytes(NEW, name="helper", intree=True))
    system.sign(own, system.pairs[0])
    system.depmod(NEW)
    assert finding(system)["verdict"] == "ok"
