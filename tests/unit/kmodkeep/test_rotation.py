# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep key rotate, revoke and retire, on a host in a folder.

The question asked after each step: would every module still load, whichever of the
two keys the firmware has by then?
"""

import json
import os
import shutil
import signal
import subprocess

import pytest

from tests.unit.kmodkeep.host import MACHINE, PROGRAM, Pair, unpacked
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes

PASSWORD = "plumbdogfish"
STATE = "var/lib/kmodkeep"


class Host:
    """Two kernels, each with a module on the disk and one in dkms's tree, of the old key."""

    def __init__(self, tree, pair):
        self.tree, self.system = tree, System(tree)
        self.old = pair
        tree.own_key(pair)
        tree.secure_boot()
        tree.esp()
        tree.add_mokutil()
        tree.enrol(pair.cert)
        self.files = []
        for kernel in (OLD, NEW):
            self.files.append(self.system.install(kernel, sign=pair))
            built = tree.put(f"var/lib/dkms/sample/1.0/{kernel}/x86_64/module/sample.ko", module_bytes(kernel))
            self.system.sign(built, pair)
            self.files.append(built)
        self.compress(1, ["xz", "--check=crc32"], ".xz")

    def compress(self, number, tool, suffix):
        path = self.files[number]
        subprocess.run([*tool, path], check=True)
        self.files[number] = path.with_name(path.name + suffix)

    @property
    def next_cert(self):
        return self.tree.path / STATE / "keys.next/signing.der"

    def rotate(self, step, *words, **kwargs):
        return self.tree.run("key", "rotate", step, *words, **kwargs)

    def status(self):
        result = self.rotate("status", "--json")
        return json.loads(result.out)

    def loads_by(self, certificate, paths):
        """For each of PATHS: would a kernel that trusts CERTIFICATE alone load it?"""
        lines = self.tree.run("verify", "--cert", certificate, *paths).out.splitlines()
        assert len(lines) == len(paths)
        return [f"{path}: ok: " in line for path, line in zip(paths, lines)]

    def signers(self, path, *certificates):
        return [self.loads_by(certificate, [path])[0] for certificate in certificates]

    def all_signed(self, *certificates):
        """For each file, by which of CERTIFICATES it would be loaded."""
        columns = [self.loads_by(certificate, self.files) for certificate in certificates]
        return [list(row) for row in zip(*columns)]

    def contents(self):
        return [path.read_bytes() for path in self.files]


@pytest.fixture
def host(tree, pair):
    return Host(tree, pair)


def test_rotation_from_one_key_to_the_next(host):
    result = host.rotate("begin", "--password-stdin", input=f"{PASSWORD}\n")
    assert result.code == 0 and "4 module files were changed; 0 could not be" in result.out
    assert "Enroll MOK" in result.out and PASSWORD not in result.text
    assert host.all_signed(host.old.cert, host.next_cert) == [[True, True]] * 4
    status = host.status()
    assert status["phase"] == "both" and status["new"]["enrolment"] == "pending"
    assert "choose \"Enroll MOK\"" in status["next_step"]
    assert [k["modules"]["both"] for k in status["kernels"]] == [2, 2]
    # Nothing is taken away before the new key is seen enrolled.
    both = host.contents()
    result = host.rotate("finish")
    assert result.code == 1 and "the new key is not enrolled" in result.err
    assert host.contents() == both

    host.tree.enrol(host.old.cert, host.next_cert)
    host.tree.forget_request()
    assert host.status()["next_step"] == "kmodkeep key rotate finish"
    new = host.tree.path / "new.der"
    shutil.copy(host.next_cert, new)
    result = host.rotate("finish")
    assert result.code == 0, result.text
    assert f"Next: kmodkeep key revoke --cert {host.tree.path}/{STATE}/keys.old/signing.der" in result.out
    assert host.all_signed(host.old.cert, new) == [[False, True]] * 4
    assert (host.tree.keys / "signing.der").read_bytes() == new.read_bytes()
    assert not host.next_cert.exists()
    assert host.rotate("finish").code == 0  # once more

    old = host.tree.path / STATE / "keys.old/signing.der"
    assert host.tree.run("key", "retire").code == 1  # it may have to come back
    result = host.tree.run("key", "revoke", "--cert", old, "--password-stdin", input=f"{PASSWORD}\n")
    assert result.code == 0, result.text
    assert "Delete MOK" in result.out and "0 signed by it alone" in result.out
    assert "choose \"Delete MOK\"" in host.status()["next_step"]
    host.tree.forget_request("MokDel")
    host.tree.enrol(new)
    result = host.rotate("finish")
    assert result.code == 0 and "signs alone" in result.out and "kmodkeep key retire" in result.out
    assert host.status()["phase"] == "none"
    result = host.tree.run("key", "retire")
    assert result.code == 0 and "was destroyed" in result.out
    assert not (host.tree.path / STATE / "keys.old").exists()
    [kept] = (host.tree.path / STATE).glob("retired-*.der")
    assert kept.read_bytes() == host.old.cert.read_bytes()
    assert host.tree.run("key", "status").code == 0


def test_back_from_both_leaves_the_very_same_files(host):
    before = [unpacked(path) for path in host.files]
    host.rotate("begin")
    result = host.rotate("abort")
    assert result.code == 0 and "back to the old key" in result.out
    assert [unpacked(path) for path in host.files] == before
    assert host.status()["phase"] == "none"
    [aside] = (host.tree.path / STATE).glob("keys.aborted-*")
    assert (host.tree.keys / "signing.der").read_bytes() == host.old.cert.read_bytes()
    assert host.tree.run("key", "retire").code == 0 and not aside.exists()


def test_back_after_the_switch(host):
    host.rotate("begin")
    host.tree.enrol(host.old.cert, host.next_cert)
    assert host.rotate("finish").code == 0
    before = host.all_signed(host.old.cert)
    assert before == [[False]] * 4
    result = host.rotate("abort")
    assert result.code == 0, result.text
    assert host.all_signed(host.old.cert) == [[True]] * 4
    assert (host.tree.keys / "signing.der").read_bytes() == host.old.cert.read_bytes()


def test_no_way_back_once_the_old_key_is_gone(host):
    host.rotate("begin")
    host.tree.enrol(host.old.cert, host.next_cert)
    new = host.tree.path / "new.der"
    shutil.copy(host.next_cert, new)
    host.rotate("finish")
    host.tree.enrol(new)
    before = host.contents()
    result = host.rotate("abort")
    assert result.code == 1 and "would not load; nothing changed" in result.err
    assert host.contents() == before


def test_sign_and_the_hooks_use_both_keys_meanwhile(host, plain_module, tmp_path):
    host.rotate("begin")
    for words in ((), ("--if-needed",)):
        module = tmp_path / "m.ko"
        shutil.copy(plain_module, module)
        result = host.tree.run("sign", *words, module)
        assert result.code == 0 and f"signed by '{'one'}' and 'kmodkeep host.example" in result.out
        assert [host.tree.run("verify", "--cert", c, module).code for c in (host.old.cert, host.next_cert)] == [0, 0]
    before = module.read_bytes()
    result = host.tree.run("sign", "--if-needed", module)
    assert "already signed" in result.out and module.read_bytes() == before


def test_a_build_by_something_without_hooks_is_caught_up(host):
    host.rotate("begin")
    host.tree.enrol(host.old.cert, host.next_cert)
    host.files[0] = host.system.install(OLD, sign=host.old)
    assert host.status()["next_step"] == "kmodkeep key rotate continue"
    assert host.rotate("continue").code == 0
    assert host.all_signed(host.next_cert) == [[True]] * 4


def test_initramfs_with_the_old_key_alone_stops_the_end(host):
    name = "updates/dkms/sample.ko"
    host.system.initramfs(OLD, {name: host.files[0].read_bytes()})
    host.rotate("begin")
    host.tree.enrol(host.old.cert, host.next_cert)
    status = host.status()
    [kernel] = [k for k in status["kernels"] if k["kernel"] == OLD]
    assert kernel["initramfs"]["old"] == 1
    assert status["next_step"].startswith(f"update-initramfs -u -k {OLD}")
    before = host.contents()
    result = host.rotate("finish")
    assert result.code == 1 and "an initramfs has a module" in result.err
    assert host.contents() == before
    host.system.initramfs(OLD, {name: host.files[0].read_bytes()})
    assert host.rotate("finish").code == 0


@pytest.mark.parametrize("fault", ["lost", "cloned"])
def test_an_old_key_that_cannot_sign(host, fault):
    """What it has signed keeps that signature; the new key is added."""
    if fault == "lost":
        (host.tree.keys / "signing.key").unlink()
    else:
        host.tree.put(f"{STATE}/keys/machine-id", "f" * 32 + "\n")
    result = host.rotate("begin")
    assert result.code == 0 and "modules keep the signature" in result.out
    assert host.all_signed(host.old.cert, host.next_cert) == [[True, True]] * 4
    host.tree.enrol(host.old.cert, host.next_cert)
    assert host.rotate("finish").code == 0
    assert host.tree.run("key", "status").code == 0


def test_signers_of_others_are_left(host, other_pair):
    """A third signer stays; what only strangers signed is not touched."""
    host.tree.run("sign", "--add", "--key", other_pair.key, "--cert", other_pair.cert, host.files[0])
    host.system.sign(host.files[2], other_pair)
    stranger = host.files[2].read_bytes()
    host.rotate("begin")
    assert host.files[2].read_bytes() == stranger
    assert host.signers(host.files[0], host.old.cert, host.next_cert, other_pair.cert) == [True] * 3


def test_a_changed_module_is_named_and_left(host):
    content = bytearray(host.files[0].read_bytes())
    content[70] ^= 1
    host.files[0].write_bytes(content)
    result = host.rotate("begin")
    assert result.code == 1 and f"{host.files[0]}: it does not fit its signature" in result.err
    assert host.files[0].read_bytes() == content
    assert host.status()["kernels"][0]["modules"]["damaged"] + host.status()["kernels"][1]["modules"]["damaged"] == 1


def test_from_an_adopted_key(tree, pair):
    """dkms goes on signing with its key, so the end waits until it is told of the new one."""
    host = Host(tree, pair)
    shutil.rmtree(tree.keys)
    dkms = tree.path / "var/lib/dkms"
    pair.copy_to(dkms / "mok.key", dkms / "mok.pub")
    assert host.rotate("begin").code == 0
    tree.enrol(pair.cert, host.next_cert)
    result = host.rotate("finish")
    assert result.code == 0 and "mok_certificate=/var/lib/kmodkeep/keys/signing.der" in result.out
    assert host.all_signed(tree.keys / "signing.der") == [[True]] * 4
    tree.put("etc/dkms/framework.conf",
             "mok_signing_key=/var/lib/kmodkeep/keys/signing.key\n"
             "mok_certificate=/var/lib/kmodkeep/keys/signing.der\n")  # fmt: skip
    assert f"key revoke --cert {dkms}/mok.pub" in host.rotate("finish").out


def test_without_a_key_or_a_rotation(tree):
    System(tree)
    result = tree.run("key", "rotate", "begin")
    assert result.code == 1 and "Next: kmodkeep key create" in result.err
    for step in ("continue", "finish", "abort"):
        assert "no rotation is under way" in tree.run("key", "rotate", step).err
    assert tree.run("key", "rotate", "status").code == 0
    assert tree.run("key", "rotate").code == 2
    assert tree.run("key", "rotate", "on").code == 2
    assert tree.run("key", "rotate", "begin", "--frob").code == 2
    assert "nothing to retire" in tree.run("key", "retire").out


def test_dry_runs_change_nothing(host):
    before = host.system.digest()
    assert "would make a new key" in host.rotate("begin", "--dry-run").out
    lock = host.tree.path / "run/kmodkeep/key.lock"
    lock.unlink()
    assert host.system.digest() == before
    host.rotate("begin")
    host.tree.enrol(host.old.cert, host.next_cert)
    before = host.system.digest()
    for step in ("continue", "finish", "abort"):
        result = host.rotate(step, "--dry-run")
        assert result.code == 0 and "would " in result.out
    assert host.system.digest() == before


def test_a_damaged_record(host):
    host.tree.put(f"{STATE}/rotation.json", "{")
    for step in ("begin", "status", "finish", "abort"):
        result = host.rotate(step)
        assert result.code == 3 and "rotation.json is damaged. Next: " in result.err
    result = host.tree.run("sign", host.files[0])
    assert result.code == 1 and "rotation.json" in result.err


def killed_at(host, syscall, number, *words):
    cpu = str(min(os.sched_getaffinity(0)))  # one thread, so that the calls are counted in order
    done = subprocess.run(
        ["taskset", "-c", cpu, "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}",
         "-e", f"inject={syscall}:signal=KILL:when={number}",
         PROGRAM, *words, "--root", host.tree.path], capture_output=True, text=True, timeout=300,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, stdin=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    return done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", ["begin", "continue", "finish", "abort"])
def test_killed_at_each_rename(host, step):
    """Every module loads at every moment, and the same step again brings it to its end."""
    built = host.files[0].read_bytes()
    if step != "begin":
        host.rotate("begin")
        if step == "continue":  # something without hooks built it meanwhile
            host.files[0].write_bytes(built)
        host.tree.enrol(host.old.cert, host.next_cert)
    saved = host.tree.path.parent / "saved"
    shutil.copytree(host.tree.path, saved, symlinks=True)
    new_before = None if step == "begin" else host.next_cert.read_bytes()
    for number in range(1, 30):
        shutil.rmtree(host.tree.path)
        shutil.copytree(saved, host.tree.path, symlinks=True)
        killed = killed_at(host, "rename", number, "key", "rotate", step)
        # The firmware trusts the old key, and after the enrolment both.
        trusted = [host.old.cert]
        if new_before:
            new = host.tree.path.parent / "new.der"
            new.write_bytes(new_before)
            trusted.append(new)
        assert all(any(row) for row in host.all_signed(*trusted)), number
        result = host.rotate(step)
        done_already = step == "abort" and "no rotation is under way" in result.err
        assert result.code == 0 or done_already, f"{number}: {result.text}"
        status = host.status()
        assert status["phase"] == {"begin": "both", "continue": "both", "finish": "new", "abort": "none"}[step]
        left = {p.name.split("-")[0] for p in (host.tree.path / STATE).iterdir() if p.is_dir()}
        assert left == {"begin": {"keys", "keys.next"}, "continue": {"keys", "keys.next"}, "finish": {"keys", "keys.old"},
                        "abort": {"keys", "keys.aborted"}}[step]  # fmt: skip
        # What a kill left of a file to be is no module to modprobe.
        assert not [p for p in host.tree.path.rglob("*.ko*") if p not in host.files and
                    p.suffix in (".ko", ".xz")]  # fmt: skip
        if not killed:
            break
    assert not killed and number > (1 if step == "continue" else 5)


@pytest.mark.parametrize("syscall", ["rename", "unlink", "rmdir"])
def test_retire_killed_at_each_step(host, syscall):
    """The certificate stays, and the same verb again brings it to its end."""
    host.rotate("begin")
    new, old = host.next_cert.read_bytes(), host.old.cert.read_bytes()
    host.tree.enrol(host.old.cert, host.next_cert)
    host.rotate("finish")
    host.tree.enrol(host.tree.keys / "signing.der")
    host.rotate("finish")
    state = host.tree.path / STATE
    saved = host.tree.path.parent / "saved"
    shutil.copytree(state, saved)
    for number in range(1, 20):
        shutil.rmtree(state)
        shutil.copytree(saved, state)
        killed = killed_at(host, syscall, number, "key", "retire")
        result = host.tree.run("key", "retire")
        assert result.code == 0, f"{number}: {result.text}"
        assert not (state / "keys.old").exists()
        assert [path.read_bytes() for path in state.glob("retired-*.der")] == [old]
        assert (state / "keys/signing.der").read_bytes() == new and host.status()["phase"] == "none"
        if not killed:
            break
    assert not killed and number > 1


def test_revoke_says_what_each_kernel_makes_of_it(host):
    result = host.tree.run("key", "revoke", "--cert", host.old.cert, "--dry-run")
    assert result.code == 0 and f"  {OLD}: modules signed by it alone are rejected" in result.out
    result = host.tree.run("key", "revoke", "--cert", host.old.cert, "--password-stdin", input=f"{PASSWORD}\n")
    assert result.code == 1 and "2 module files would no longer load; nothing was asked for" in result.err
    assert not (host.tree.path / "password").exists()
    result = host.tree.run("key", "revoke", "--mokx", "--cert", host.old.cert, "--dry-run")
    assert f"  {OLD}: nothing is rejected: this kernel does not look" in result.out
    result = host.tree.run("key", "revoke", "--mokx", "--cert", host.old.cert, "--password-stdin",
                           input=f"{PASSWORD}\n")  # fmt: skip
    assert result.code == 0 and "Enroll MOKX" in result.out, result.text
    assert "mokx_pending=yes" in host.tree.run("key", "status", "--shell").out
    result = host.tree.run("key", "revoke", "--force", "--cert", host.old.cert, "--password-stdin",
                           input=f"{PASSWORD}\n")  # fmt: skip
    assert result.code == 0 and "Delete MOK" in result.out
    assert host.tree.run("key", "revoke").code == 2
    third = Pair(host.tree.path.parent, "third")
    assert "nothing to delete" in host.tree.run("key", "revoke", "--cert", third.cert).out


def test_retire_keeps_what_is_trusted(host):
    host.rotate("begin")
    host.rotate("abort")
    [aside] = (host.tree.path / STATE).glob("keys.aborted-*")
    host.tree.enrol(host.old.cert, aside / "signing.der")
    result = host.tree.run("key", "retire")
    assert result.code == 1 and "is still trusted here" in result.err
    assert (aside / "signing.key").exists()
    assert MACHINE  # the host's own pair is never looked at
    assert (host.tree.keys / "signing.key").exists()
