# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be in the way of adopt and repair: they say it in a line, and nothing is half-done."""

import fcntl
import json
import os
import pty
import subprocess

import pytest

from tests.unit.kmodkeep.host import PROGRAM
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes
from tests.unit.kmodkeep.test_adopt import DROP_IN, POLICY, adopt, all_load, enrolling, with_dkms
from tests.unit.kmodkeep.test_repair import BUILD, Host, headers_script


@pytest.fixture
def system(tree):
    return with_dkms(tree)


@pytest.fixture
def host(tree, tmp_path):
    return Host(tree, tmp_path)


def next_boot(host):
    """The verdicts on what boots next, by module."""
    findings = json.loads(host.tree.run("doctor", "--json", "--next-boot").out)["findings"]
    return {finding["module"]: finding["verdict"] for finding in findings}


def kernels_own(host, name, kernels=(OLD, NEW)):
    for kernel in kernels:
        host.tree.put(f"lib/modules/{kernel}/kernel/drivers/{name}.ko",
                      module_bytes(kernel, name=name, intree=True))
        host.depmod(kernel)


# --- drivers that fight for a device

@pytest.mark.parametrize("name, own", [("wl", "b43"), ("nvidia", "nouveau")])
def test_drivers_that_fight(tree, pair, name, own):
    """The kernel's own one stays, whichever the host prefers; the blacklist decides, and is said."""
    made = System(tree)
    (made.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    for kernel in (OLD, NEW):
        made.remove(kernel)
        made.install(kernel, name=name, sign=pair)
    kernels_own(made, own)
    tree.secure_boot()
    tree.own_key(pair)
    tree.enrol(pair.cert)
    tree.put("etc/modprobe.d/vendor.conf", f"blacklist {own}\n")
    before = {path: path.read_bytes() for path in made.path.rglob(f"{own}.ko")}
    assert len(before) == 2
    assert adopt(made, "--all", "--yes").code == 0
    assert tree.run("guard").code == 0 and next_boot(made) == {name: "ok"}
    assert {path: path.read_bytes() for path in made.path.rglob(f"{own}.ko")} == before
    # The other one is wanted now: that this one will not be loaded is said, and not repaired.
    made.loaded(name, "ABC")
    tree.put(f"sys/module/{name}/taint", "O\n")
    tree.put("etc/modprobe.d/vendor.conf", f"install {name} /bin/false\n")
    assert next_boot(made) == {name: "blocked"}
    found = json.loads(tree.run("next", "--json").out)
    assert found["safe"] == "no" and found["repair"] == []
    result = tree.run("repair", "--yes")
    assert result.code == 1 and "take that line out of /etc/modprobe.d" in " ".join(result.out.split())


# --- a vendor's installer

def test_what_a_vendors_installer_put_there(tree, pair):
    """It is signed for the kernel that has it; what the next one lacks only the vendor can make."""
    made = System(tree)
    (made.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    for kernel in (OLD, NEW):
        made.remove(kernel)
        # As the kernel's build leaves it: what is not in it was put there by somebody else.
        kernels_own(made, "own", [kernel])
        tree.put(f"lib/modules/{kernel}/modules.order", "kernel/drivers/own.ko\nkernel/drivers/x.ko\n")
    tree.put(f"lib/modules/{OLD}/kernel/drivers/video/nvidia.ko", module_bytes(OLD, name="nvidia"))
    made.depmod(OLD)
    tree.secure_boot()
    tree.own_key(pair)
    tree.enrol(pair.cert)
    result = adopt(made, "--all", "--yes")
    assert "1 module file was signed" in result.out, result.text
    findings = json.loads(tree.run("doctor", "--json", "--kernel", OLD).out)["findings"]
    assert [(f["module"], f["verdict"]) for f in findings] == [("nvidia", "ok")]
    found = json.loads(tree.run("next", "--json").out)
    assert found["safe"] == "no" and found["serves"]["kernel"] == OLD
    assert [f["verdict"] for f in found["lost"]] == ["missing"] and found["repair"] == []
    assert any("nvidia" in text for text in found["by_hand"]), found
    assert tree.run("repair", "--yes").code == 1


# --- what cannot be written to

def with_read_only(host, place, *words):
    """Run kmodkeep where PLACE of the host is mounted read-only: exit code and all it printed."""
    script = ('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"')
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh",
                           host.path / place, PROGRAM, *words, "--root", host.path],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_adopt_where_usr_is_read_only(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    before = {path: path.read_bytes() for path in system.path.glob("lib/modules/*/updates/dkms/*.ko")}
    code, said = with_read_only(system, "lib", "adopt", "--all", "--yes")
    assert code == 1, said
    for path in before:
        assert f"{path}: it could not be signed: Read-only file system" in said, said
        assert path.read_bytes() == before[path]
    assert "Next: kmodkeep adopt again" in said
    assert adopt(system, "--all", "--yes").code == 0
    assert all_load(system, pair.cert)


def test_repair_where_usr_is_read_only(host):
    host.remove(NEW)
    host.dkms(before="set -e")
    code, said = with_read_only(host, "lib", "repair", "--yes")
    assert code == 1 and f"{BUILD} failed: " in said and "Read-only file system" in said, said
    assert host.repair("--yes").code == 0


@pytest.mark.parametrize("verb", ["adopt", "repair"])
def test_full_boot(system, pair, verb):
    """The initramfs is as before, and the host is not called safe."""
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.initramfs(NEW, {"updates/dkms/sample.ko": module_bytes(NEW)})
    system.initramfs(OLD, {})
    system.tree.put("usr/sbin/update-initramfs", "#!/bin/sh\necho 'cat: write error: No space left on device'"
                    "\necho 'update-initramfs: failed for x with 1.'; exit 1\n").chmod(0o755)  # fmt: skip
    before = (system.path / f"boot/initrd.img-{NEW}").read_bytes()
    result = adopt(system, "--all", "--yes")
    if verb == "repair":
        result = system.tree.run("repair", "--yes")
        assert "repair.log" in result.err
        assert "No space left on device" in (system.path / "var/lib/kmodkeep/repair.log").read_text()
    assert result.code == 1 and f"update-initramfs -u -k {NEW} failed: " in result.err, result.text
    assert (system.path / f"boot/initrd.img-{NEW}").read_bytes() == before
    assert system.tree.run("guard").code != 0
    # There is room again.
    system.initramfs(NEW, {})
    result = system.tree.run(verb, *["--all"] * (verb == "adopt"), "--yes")
    assert result.code == 0, result.text


# --- what the package manager minds

HELD = "E: Held packages were changed and -y was used without --allow-change-held-packages."
OFFLINE = "E: Failed to fetch http://archive.example/x.deb  Temporary failure resolving 'archive.example'"


@pytest.mark.parametrize("words", [HELD, OFFLINE], ids=["held packages", "no network"])
def test_headers_that_cannot_be_had(host, words):
    """The step is not forced; the one after it, which needs it, does not run."""
    host.remove(NEW)
    (host.path / f"lib/modules/{NEW}/build/Makefile").unlink()
    (host.path / f"lib/modules/{NEW}/build").rmdir()
    host.program("apt-get", f'echo "{words}"; exit 100')
    host.dkms()
    result = host.repair("--yes")
    assert result.code == 1 and f"failed: {words[:200]}" in result.err, result.text
    assert len(host.ran) == 1 and "--allow" not in host.ran[0] and "--force" not in host.ran[0]
    assert "repair.log, mend that, then: kmodkeep repair" in result.err
    host.program("apt-get", headers_script())
    assert host.repair("--yes").code == 0


@pytest.mark.parametrize("lock", ["var/lib/dpkg/lock", "usr/lib/sysimage/rpm/.rpm.lock", "var/lib/rpm/.rpm.lock"])
def test_either_package_manager_at_work(host, lock):
    host.remove(NEW)
    host.dkms()
    with open(host.tree.put(lock), "r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        result = host.repair("--yes")
    assert result.code == 1 and host.ran == [] and "another package manager" in result.err
    assert host.repair("--yes").code == 0


# --- keys

def test_firmware_that_takes_no_key(system):
    """All but the enrolment is done; the next run asks for that alone."""
    variables = system.path / "sys/firmware/efi/efivars"
    subprocess.run(["mount", "--bind", variables, variables], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", variables], check=True)
        result = enrolling(system, "--all")
    finally:
        subprocess.run(["umount", variables], check=True)
    assert result.code == 1 and "is mounted read-only" in result.err, result.text
    assert all_load(system, system.tree.keys / "signing.der")
    assert json.loads(system.tree.run("key", "status", "--json").out)["enrolment"] != "pending"
    again = enrolling(system, "--all")
    assert again.code == 0 and "enrolment asked for" in again.out
    assert "were signed" not in again.out and "signing key" not in again.out


def test_key_that_was_refused_at_the_next_boot(system, pair):
    """The request is gone, and the key is not there: nobody asks again but who is told to."""
    system.tree.own_key(pair)
    enrolling(system, "--all")
    system.tree.forget_request()
    system.tree.put("proc/sys/kernel/random/boot_id", "another\n")
    assert next_boot(system) == {"sample": "untrusted-key"}
    result = system.tree.run("guard")
    assert result.code == 1 and "Next: enrol the key that signed it: kmodkeep key enroll --again" in result.out
    said = " ".join(system.tree.run("doctor").out.split())
    assert "it was asked for, and not confirmed at the boot menu" in said and "key enroll --again" in said
    result = enrolling(system, "--all")
    assert result.code == 1 and "kmodkeep key enroll --again" in result.out, result.text
    again = system.tree.run("key", "enroll", "--again", "--password-stdin", input="bcdefghi\n")
    assert again.code == 0, again.text
    assert next_boot(system) == {"sample": "pending-enrolment"}


# --- a person

def test_person_says_no_to_adopt(system):
    adopt(system, "--all", "--dry-run")
    before = system.digest()
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [str(PROGRAM), "adopt", "--all", "--root", str(system.path)])
    os.write(fd, b"n\n")
    text = b""
    try:
        while chunk := os.read(fd, 4096):
            text += chunk
    except OSError:
        pass  # the terminal is closed
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert b"do that?" in text and b"kmodkeep: nothing was done" in text
    assert system.digest() == before
    assert not (system.path / DROP_IN).exists() and not (system.path / POLICY).exists()
