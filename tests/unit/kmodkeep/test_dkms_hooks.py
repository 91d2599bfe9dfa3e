# SPDX-License-Identifier: GPL-2.0-or-later
"""The scripts that dkms runs, on a tree as dkms makes it.

Run as root they ask about the machine they run on, which has no key and no EFI
in a container; what dkms itself makes of them is tested in the suites' roots.
"""

import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.host import KERNEL, PROGRAM, TOP

HOOKS = PROGRAM.parents[1] / "lib/kmodkeep"


@pytest.fixture
def dkms(tmp_path, plain_module):
    """/var/lib/dkms/NAME/VERSION with builds for two kernels."""
    tree = tmp_path / "dkms/sample/1.0"
    for kernel in (KERNEL, "6.12.9-amd64"):
        (tree / kernel / "x86_64/module").mkdir(parents=True)
        shutil.copy(plain_module, tree / kernel / "x86_64/module/sample.ko")
    (tree / "build").mkdir()
    (tree / "source").mkdir()
    return tree


def run(script, *words):
    done = subprocess.run([script, *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_pre_install_judges_the_kernel_it_is_told(dkms):
    code, text = run(HOOKS / "dkms-pre-install", dkms, KERNEL, "x86_64")
    assert code == 0 and f"{dkms}/{KERNEL}/x86_64/module/sample.ko: ok" in text
    code, text = run(HOOKS / "dkms-pre-install", dkms, "6.12.9-amd64", "x86_64")
    assert code == 1 and "wrong-kernel" in text
    # Without being told it looks at all of them.
    code, text = run(HOOKS / "dkms-pre-install", dkms)
    assert code == 1 and text.count("sample.ko: ") == 2


def test_pre_install_refuses_damage(dkms):
    module = dkms / KERNEL / "x86_64/module/sample.ko"
    module.write_bytes(module.read_bytes()[:200])
    code, text = run(HOOKS / "dkms-pre-install", dkms, KERNEL, "x86_64")
    assert code == 1 and ": tampered: " in text


@pytest.fixture
def hooks(tree, tmp_path):
    """The hooks, asking about the host in the folder."""
    front = tmp_path / "prefix/sbin/kmodkeep"
    front.parent.mkdir(parents=True)
    front.write_text(f'#!/bin/sh\nexec {PROGRAM} "$@" --root {tree.path}\n')
    front.chmod(0o755)
    return shutil.copytree(HOOKS, tmp_path / "prefix/lib/kmodkeep")


def pre_install(hooks, dkms):
    return run(hooks / "dkms-pre-install", dkms, KERNEL, "x86_64")


def test_pre_install_wants_the_hosts_signature(hooks, tree, dkms, pair, other_pair):
    module = dkms / KERNEL / "x86_64/module/sample.ko"
    tree.secure_boot()
    # Without a key of the host there is nothing to sign with.
    assert pre_install(hooks, dkms)[0] == 0
    tree.run("sign", "--key", other_pair.key, "--cert", other_pair.cert, module)
    assert pre_install(hooks, dkms)[0] == 0
    tree.own_key(pair)
    code, text = pre_install(hooks, dkms)
    assert code == 1 and ": untrusted-key: " in text
    # Its own, which is not enrolled yet, is as good as it gets.
    assert tree.run("sign", module).code == 0
    assert pre_install(hooks, dkms)[0] == 0
    tree.request(pair.cert.read_bytes())
    code, text = pre_install(hooks, dkms)
    assert code == 0 and ": pending-enrolment: " in text


def test_pre_install_names_what_is_wrong_with_the_key(hooks, tree, dkms, pair):
    tree.secure_boot()
    tree.own_key(pair, machine="f" * 32)
    code, text = pre_install(hooks, dkms)
    assert code == 1 and "made on another machine" in text and "Next: move" in text


def test_post_build_goes_on_where_nothing_is_demanded(hooks, tree, dkms, pair):
    tree.own_key(pair, machine="f" * 32)
    code, text = run(hooks / "dkms-post-build", dkms, KERNEL, "x86_64")
    assert code == 0 and len(text.splitlines()) == 1
    assert "warning: " in text and "made on another machine" in text
    assert pre_install(hooks, dkms)[0] == 0
    tree.secure_boot()
    assert run(hooks / "dkms-post-build", dkms, KERNEL, "x86_64")[0] == 1


@pytest.mark.parametrize("hook", ["dkms-pre-install", "dkms-post-build"])
def test_nothing_built_is_said(dkms, hook):
    code, text = run(HOOKS / hook, dkms, "9.9-amd64", "x86_64")
    assert code == 1 and "no module was built" in text


@pytest.mark.parametrize(
    "name,place", [("dkms-post-build", "build"), ("dkms-pre-install", "source")]
)
def test_scripts_in_the_source(dkms, tmp_path, name, place):
    """Started as dkms does: by their path below the tree, from another directory."""
    text = (TOP / "src" / name).read_text()
    script = dkms / place / name
    fake = tmp_path / "hook"
    assert f"/usr/lib/kmodkeep/{name}" in text
    script.write_text(text.replace(f"/usr/lib/kmodkeep/{name}", str(fake)))
    script.chmod(0o755)
    code, text = run(script, KERNEL, "x86_64")
    assert code == 0 and len(text.splitlines()) == 1
    assert text.startswith("kmodkeep is not installed: ")
    # With kmodkeep there, the hook gets the tree and dkms's words.
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    assert run(script, KERNEL, "x86_64") == (0, f"{dkms}\n{KERNEL}\nx86_64\n")
