# SPDX-License-Identifier: GPL-2.0-or-later
"""What kernel-hold asks about a package that is not here yet: its signature, behind a module that is here."""

import pytest

from tests.unit.kmodkeep.host import Pair
from tests.unit.kmodkeep.system import NEW, System, module_bytes


@pytest.mark.parametrize("signer, verdict", [("ours", "tampered"), ("stranger", "untrusted-key")])
def test_whom_it_trusts_is_told_without_the_package(tree, tmp_path, signer, verdict):
    """The content never fits; only of a signer who is not known that is not what is said."""
    system = System(tree)
    pairs = {}
    for name in ("ours", "stranger"):
        (tmp_path / name).mkdir()
        pairs[name] = Pair(tmp_path / name, name)
    here = system.install(NEW, sign=pairs["ours"])
    before = module_bytes(NEW, name="later")
    later = system.install(NEW, name="later", data=before, sign=pairs[signer])
    signature = later.read_bytes()[len(before) :]
    assert signature.endswith(b"~Module signature appended~\n")
    probe = tmp_path / "probe.ko"
    probe.write_bytes(here.read_bytes() + signature)
    said = tree.run("verify", "--kernel", NEW, "--cert", pairs["ours"].cert, probe).text
    assert f"{probe}: {verdict}: " in said, said
