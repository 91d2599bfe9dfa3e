# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host can have wrong with it: kmodkeep says what it could not see, and goes on."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.kmodkeep.host import GLOBAL, PROGRAM, SHIM, TOP, Tree
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes

NOBODY = 65534


@pytest.fixture
def system(tree):
    return System(tree)


def next_boot(system):
    """The verdict on the kernel that boots next, and what a person is told of it."""
    result = system.tree.run("doctor", "--json", "--next-boot")
    (finding,) = json.loads(result.out)["findings"]
    assert (result.code == 0) == (finding["verdict"] in ("ok", "not-applicable")), result.text
    return finding["verdict"], f"{finding['message']}. Next: {finding['next_step']}"


@pytest.mark.parametrize("content", [b"", b"junk", b"\xb0\x07\xf4\x57" + b"\xff" * 400, bytes(4096)],
                         ids=["empty", "junk", "offsets beyond", "zeros"])  # fmt: skip
def test_broken_index_of_modules(system, content):
    index = system.path / f"lib/modules/{NEW}"
    for path in index.glob("modules.*.bin"):
        path.write_bytes(content)
    (index / "modules.dep").write_bytes(content)
    verdict, said = next_boot(system)
    assert verdict in ("missing", "unknown", "kernel-incomplete"), (verdict, said)
    assert "Next: " in said
    # The other kernel's is whole.
    assert f"{OLD}: sample: ok" in system.tree.run("doctor", "--all").out


def test_variables_full_of_junk(system, pair):
    system.install(NEW, sign=pair)
    system.tree.secure_boot()
    system.tree.enrol(pair.cert)
    assert next_boot(system)[0] == "ok"
    whole = (system.path / f"sys/firmware/efi/efivars/MokListRT-{SHIM}").read_bytes()
    for junk in (b"", b"\7\0\0", b"\7\0\0\0", whole[:60], b"\7\0\0\0" + os.urandom(5000)):
        system.tree.variable("MokListRT", junk)
        assert next_boot(system)[0] in ("untrusted-key", "unknown")
    system.tree.variable("MokListRT", whole)
    system.tree.variable("SecureBoot", b"\6\0\0\0", GLOBAL)
    assert next_boot(system)[0] in ("ok", "unknown")
    (system.path / f"sys/firmware/efi/efivars/SecureBoot-{GLOBAL}").unlink()
    for name in ("dbx", "db", "MokNew", "MokListXRT", "LoaderInfo", "Boot0001"):
        for guid in (SHIM, GLOBAL):
            system.tree.variable(name, os.urandom(333), guid)
    assert next_boot(system)[0] in ("ok", "unknown", "untrusted-key", "revoked")
    for junk in (os.urandom(333), os.urandom(334)):
        system.tree.variable("BootOrder", junk, GLOBAL)
        assert system.tree.run("guard").code == 3


def test_kernel_without_its_configuration(system):
    (system.path / f"boot/config-{NEW}").unlink()
    assert next_boot(system)[0] == "ok"  # nothing here demands signatures
    system.tree.secure_boot()
    assert next_boot(system)[0] == "unsigned"


@pytest.fixture
def open_system():
    """A host in a folder that any user may enter."""
    with tempfile.TemporaryDirectory(prefix="host-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        system = System(Tree(Path(directory) / "host"))
        shutil.copy(PROGRAM, directory)
        system.program = Path(directory) / PROGRAM.name
        yield system


def as_nobody(system, *words):
    done = subprocess.run([system.program, *words, "--root", system.path], capture_output=True,
                          text=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")  # fmt: skip
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_any_user_may_ask(open_system):
    code, text = as_nobody(open_system, "doctor")
    assert code == 0 and f"{NEW}: sample: ok" in text
    code, text = as_nobody(open_system, "status")
    assert code == 0 and text.startswith("SAFE")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
@pytest.mark.parametrize("what", [f"boot/initrd.img-{NEW}", "boot", "boot/grub", "etc/modprobe.d/own.conf",
                                  "etc/modprobe.d", f"lib/modules/{NEW}/extra", f"lib/modules/{NEW}/extra/sub",
                                  f"lib/modules/{NEW}/updates/dkms/sample.ko"])  # fmt: skip
def test_what_a_user_may_not_see_is_no_guess(open_system, what):
    open_system.initramfs(OLD, {})
    open_system.initramfs(NEW, {})
    open_system.tree.put("etc/modprobe.d/own.conf", "options sample x=1\n")
    open_system.tree.put(f"lib/modules/{NEW}/extra/sub/README", "x\n")
    assert as_nobody(open_system, "doctor", "--next-boot")[0] == 0
    (open_system.path / what).chmod(0)
    code, text = as_nobody(open_system, "doctor", "--next-boot")
    assert code == 3, text
    assert re.search(r"unknown|cannot tell|Permission denied", text), text
    assert "extra" in what or not re.search(rf"{NEW}: sample: ok", text), text
    assert as_nobody(open_system, "status")[0] != 0


def test_links_out_of_the_tree(system, tmp_path):
    """A link of a host in a folder means a file of that host, not of the one that looks."""
    outside = tmp_path / "outside.ko"
    outside.write_bytes(module_bytes(NEW))
    system.tree.put("opt/sample.ko", module_bytes(NEW))
    path = system.module_file(NEW)
    up = "/".join([".."] * 40)
    for target, good in (("/opt/sample.ko", True), (f"{up}/opt/sample.ko", True), (outside, False),
                         (f"{up}{outside}", False), ("sample.ko", False), ("/opt", False)):  # fmt: skip
        path.unlink()
        path.symlink_to(target)
        verdict, said = next_boot(system)
        assert (verdict == "ok") == good, (target, verdict, said)


def test_state_that_is_a_link(system, tmp_path):
    """Nothing is written to where it leads."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    state = system.path / "var/lib/kmodkeep"
    state.mkdir(parents=True, exist_ok=True)
    for name in ("state.json", "guard.lock"):
        (state / name).symlink_to(outside)
    system.tree.run("guard")
    assert outside.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_trees_owned_by_others(system):
    """Who owns a file of a host says nothing of what its kernel does with it."""
    before = next_boot(system)
    for path in [system.path, *system.path.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    assert next_boot(system) == before
    assert system.tree.run("guard").code == 0
    system.module_file(NEW).chmod(0)
    assert next_boot(system) == before


def test_two_hundred_drivers(system):
    """One of them is not there for the next kernel, and it is that one that is named."""
    for kernel in (OLD, NEW):
        data = module_bytes(kernel, name="many000")
        for number in range(200):
            name = f"many{number:03}"
            if (kernel, number) != (NEW, 137):
                system.tree.put(f"lib/modules/{kernel}/updates/dkms/{name}.ko",
                                data.replace(b"many000", name.encode()))  # fmt: skip
        system.depmod(kernel)
    document = json.loads(system.tree.run("doctor", "--next-boot", "--json").out)
    bad = [f["module"] for f in document["findings"] if f["verdict"] != "ok"]
    assert len(document["findings"]) == 201 and bad == ["many137"]
    result = system.tree.run("guard")
    assert result.code == 1 and "next boot would lose many137 " in result.out


def test_disk_full_under_the_state(system):
    """Nothing is half-written, the old state stays, and the answer is given all the same."""
    assert system.tree.run("guard").code == 0
    directory = system.path / "var/lib/kmodkeep"
    state = (directory / "state.json").read_bytes()
    system.remove(NEW)
    script = f"""
        set -e
        cp -a {directory} {system.path}/saved
        mount -t tmpfs -o size=64k full {directory}
        cp -a {system.path}/saved/. {directory}
        if dd if=/dev/zero of={directory}/filler bs=4k 2>/dev/null; then exit 99; fi
        code=0
        {PROGRAM} guard --root {system.path} || code=$?
        cp {directory}/state.json {system.path}/after
        ls -A {directory}
        exit $code
    """
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "state.json: No space left on device" in done.stderr
    assert "next boot would lose sample" in done.stdout
    assert (system.path / "after").read_bytes() == state
    assert set(done.stdout.split("\n")[1:]) - {""} == {"filler", "guard.lock", "state.json"}


def test_answer_that_cannot_be_written(system):
    """It is said, also where the exit code alone would pass for an answer."""
    for words, code in ((["--next-boot"], 3), (["--module", "nothing"], 1)):
        for form in ([], ["--json"]):
            command = [PROGRAM, "doctor", "--root", system.path, *words, *form]
            with open("/dev/full", "w") as full:
                done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == code, done.stderr
            assert done.stderr == ("kmodkeep: the answer could not be written: "
                                   "No space left on device\n")  # fmt: skip


def test_names_that_are_no_text_do_not_spoil_json(system):
    data = module_bytes(NEW, version="1.2@@@@").replace(b"@@@@", b"\xff\xc2\x9b\n")
    system.install(NEW, data=data)
    command = [PROGRAM, "doctor", "--json", "--next-boot", "--root", system.path]
    out = subprocess.run(command, capture_output=True).stdout
    assert json.loads(out.decode("utf-8"))["findings"][0]["version"] == "1.2????"


def test_every_key_of_the_document_is_described(system):
    system.packages(**{f"linux_image_{NEW}": "half-configured"})
    described = (TOP / "docs/kmodkeep-json.md").read_text()
    keys = set()

    def walk(part):
        if isinstance(part, dict):
            keys.update(part)
            part = list(part.values())
        for inner in part if isinstance(part, list) else []:
            walk(inner)

    for words in (["doctor", "--all", "--json"], ["key", "status", "--json"]):
        walk(json.loads(system.tree.run(*words).out))
    system.tree.run("guard")
    walk(json.loads((system.path / "var/lib/kmodkeep/state.json").read_text()))
    assert not [key for key in keys if f"`{key}`" not in described]
