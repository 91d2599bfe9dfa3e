# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep adopt: drivers of others, taken as they are, on a host in a folder."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from tests.unit.kmodkeep.host import PROGRAM, Pair
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes

DROP_IN = "etc/dkms/framework.conf.d/kmodkeep.conf"
POLICY = "etc/kmodkeep/drivers.d/sample.conf"
ARCH = os.uname().machine
OURS = ('mok_signing_key="/var/lib/kmodkeep/keys/signing.key"\n'
        'mok_certificate="/var/lib/kmodkeep/keys/signing.der"\n')  # fmt: skip


@pytest.fixture
def system(tree):
    return with_dkms(tree)


def with_dkms(tree):
    """Secure Boot, a dkms that reads drop-ins, and a driver that it has built."""
    system = System(tree)
    tree.secure_boot()
    tree.enrol()
    tree.add_mokutil()
    tree.esp()
    tree.put("run/.keep")
    tree.put("etc/dkms/framework.conf")
    tree.put("usr/sbin/dkms", "#!/bin/bash\n# reads framework.conf.d\n").chmod(0o755)
    (system.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    tree.put("var/lib/dkms/sample/1.2/source/dkms.conf",
             'PACKAGE_NAME="sample"\nPACKAGE_VERSION="1.2"\nBUILT_MODULE_NAME[0]="sample"\n'
             'DEST_MODULE_LOCATION[0]="/updates/dkms"\n')  # fmt: skip
    for kernel in (OLD, NEW):
        tree.put(f"var/lib/dkms/sample/1.2/{kernel}/{ARCH}/module/sample.ko", module_bytes(kernel))
        (system.path / f"var/lib/dkms/sample/kernel-{kernel}-{ARCH}").symlink_to(f"1.2/{kernel}/{ARCH}")
    return system


def dkms_key(system, pair):
    """The key that dkms makes for itself, which can also boot kernels."""
    pair.copy_to(system.path / "var/lib/dkms/mok.key", system.path / "var/lib/dkms/mok.pub")


def adopt(system, *words, **kwargs):
    return system.tree.run("adopt", *words, **kwargs)


def enrolling(system, *words):
    return adopt(system, *words, "--yes", "--password-stdin", input="bcdefghi\n")


def loads(cert, file):
    """Would a kernel that trusts CERT alone load it?"""
    kernel = OLD if OLD in str(file) else NEW
    command = [PROGRAM, "verify", "--cert", cert, "--kernel", kernel, file]
    return subprocess.run(command, capture_output=True).returncode == 0


def all_load(system, cert):
    files = [*system.path.glob("lib/modules/*/updates/dkms/*.ko"),
             *system.path.glob(f"var/lib/dkms/*/*/*/{ARCH}/module/*.ko")]  # fmt: skip
    assert len(files) == 4
    return all(loads(cert, file) for file in files)


def test_dry_run_says_all_and_does_nothing(system):
    adopt(system, "--all", "--dry-run")
    before = system.digest()
    result = adopt(system, "--all", "--dry-run")
    assert result.code == 1 and system.digest() == before
    for text in ("make a signing key", "tell dkms to sign all that it builds", DROP_IN,
                 "sign 4 module files", "set the policy of sample to pin-last-good",
                 "ask for the key's enrolment"):
        assert text in result.out


def test_nothing_is_done_without_a_terminal_or_yes(system):
    adopt(system, "--all", "--dry-run")
    before = system.digest()
    result = adopt(system, "--all", stdin=subprocess.DEVNULL)
    assert result.code == 1 and "nothing was done" in result.out and system.digest() == before


def test_with_a_key_of_its_own(system):
    result = enrolling(system, "--all")
    assert result.code == 0, result.text
    assert all_load(system, system.tree.keys / "signing.der")
    assert (system.path / DROP_IN).read_text().endswith(OURS)
    assert (system.path / POLICY).read_text().endswith("dkms = sample\npolicy = pin-last-good\n")
    assert json.loads(system.tree.run("key", "status", "--json").out)["enrolment"] == "pending"
    assert "enrolment asked for" in result.out
    # Nothing is left to do, and nothing is done twice.
    before = system.digest()
    again = enrolling(system, "--all")
    assert again.code == 0 and "adopted already" in again.out and system.digest() == before


def test_enrolled_key_of_dkms_is_taken(system, other_pair):
    dkms_key(system, other_pair)
    system.tree.enrol(other_pair.cert)
    system.install(OLD, sign=other_pair)
    result = adopt(system, "--all", "--yes")
    assert result.code == 0, result.text
    assert all_load(system, other_pair.cert)
    assert "3 module files were signed" in result.out
    assert not (system.path / DROP_IN).exists() and not system.tree.keys.exists()
    # It can boot kernels: the change-over is offered.
    assert "can also boot kernels" in result.out and "kmodkeep key rotate begin" in result.out


def test_signature_that_is_there_is_kept(system, pair, other_pair):
    """Another enrolment may be under way: what bears that key keeps it."""
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.install(NEW, sign=other_pair)
    assert adopt(system, "--all", "--yes").code == 0
    for cert in (pair.cert, other_pair.cert):
        assert loads(cert, system.module_file(NEW))


def test_drop_in_of_dkms_names_the_own_key_alone_where_it_is_wanted(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    result = adopt(system, "sample", "--yes")
    assert result.code == 0 and not (system.path / DROP_IN).exists()
    assert "dkms goes on signing with another key" in result.out
    assert adopt(system, "--all", "--yes").code == 0
    assert (system.path / DROP_IN).read_text().endswith(OURS)


def test_dkms_that_reads_no_drop_ins_is_told_of(system, pair):
    system.tree.put("usr/sbin/dkms", "#!/bin/bash\n")
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    result = adopt(system, "--all", "--yes")
    assert result.code == 0 and "too old to be told" in result.out
    assert not (system.path / DROP_IN).exists()


def test_setting_that_goes_before_is_told_of(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.tree.put("etc/dkms/framework.conf.d/zz.conf", "mok_signing_key=/root/my.key\n")
    result = adopt(system, "--all", "--yes")
    assert result.code == 1 and "dkms still takes another key" in result.err


def test_packaged_drop_in_is_kept_but_for_its_policy(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.driver("sample", "# packaged\nmodules = sample\ndkms = sample\npolicy = warn\ninitramfs = no\n")
    assert adopt(system, "sample", "--yes").code == 0
    lines = (system.path / POLICY).read_text().splitlines()[1:]
    assert lines == ["modules = sample", "dkms = sample", "initramfs = no", "policy = pin-last-good"]


def test_a_policy_makes_no_loss_of_what_was_none(system, pair):
    """A module that no kernel has is a note; a drop-in would ask for it."""
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.tree.put("var/lib/dkms/never/1.0/source/dkms.conf",
                    'PACKAGE_NAME="never"\nPACKAGE_VERSION="1.0"\nBUILT_MODULE_NAME[0]="never"\n')
    result = adopt(system, "--all", "--yes")
    assert result.code == 0 and "the policy of never stays as it is" in result.out
    assert [p.name for p in (system.path / "etc/kmodkeep/drivers.d").iterdir()] == ["sample.conf"]
    status = system.tree.run("status")
    assert status.code == 0, status.text


def test_a_name_that_a_file_cannot_have(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    shutil.copytree(system.path / "var/lib/dkms/sample", system.path / "var/lib/dkms/sam.ple", symlinks=True)
    shutil.rmtree(system.path / "var/lib/dkms/sample")
    assert adopt(system, "--all", "--yes").code == 0
    assert not (system.path / "etc/kmodkeep/drivers.d").exists()


def test_what_the_administrator_wrote_is_left_alone(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    text = "modules = sample\ndkms = sample\n"
    system.tree.put(POLICY, text)
    result = adopt(system, "sample", "--yes")
    assert (system.path / POLICY).read_text() == text
    assert result.code == 0 and "write 'policy = pin-last-good' into it" in result.out
    assert adopt(system, "sample", "--undo").code == 0 and (system.path / POLICY).read_text() == text


def test_policy_that_is_wanted(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    assert adopt(system, "sample", "--policy", "warn", "--yes").code == 0
    assert not (system.path / POLICY).exists()  # it is so already
    assert adopt(system, "sample", "--policy", "never").code == 2


def test_undo_leaves_drivers_that_load(system):
    enrolling(system, "--all")
    assert adopt(system, "--all", "--undo", "--dry-run").code == 2 and (system.path / DROP_IN).exists()
    result = adopt(system, "--all", "--undo")
    assert result.code == 0
    assert not (system.path / DROP_IN).exists() and not (system.path / POLICY).exists()
    assert all_load(system, system.tree.keys / "signing.der")
    assert adopt(system, "--all", "--undo").code == 0


def test_lines_that_were_added_by_hand_are_not_lost(system):
    enrolling(system, "--all")
    path = system.path / POLICY
    path.write_text(path.read_text() + "initramfs = auto\n")
    adopt(system, "sample", "--policy", "warn", "--yes")
    assert "initramfs = auto\n" in path.read_text() and "policy = warn\n" in path.read_text()
    assert adopt(system, "sample", "--undo").code == 0 and not path.exists()
    assert "initramfs = auto\n" in path.with_suffix(".conf.undone").read_text()


def test_without_the_package_drivers_still_load(system):
    """What remains of it: signatures, the key, and what dkms was told of the key."""
    enrolling(system, "--all")
    for name in ("usr/lib/kmodkeep", "usr/sbin/kmodkeep"):
        shutil.rmtree(system.path / name, ignore_errors=True)
    text = (system.path / DROP_IN).read_text()
    for line in text.splitlines():
        if line.startswith("mok_"):
            assert (system.path / line.split('"')[1].lstrip("/")).is_file()
    assert all_load(system, system.tree.keys / "signing.der")


def test_initramfs_has_the_signed_copy(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.initramfs(NEW, {"updates/dkms/sample.ko": module_bytes(NEW)})
    system.initramfs(OLD, {})
    asked = system.path / "asked"
    system.tree.put("usr/sbin/update-initramfs", f"#!/bin/sh\necho \"$*\" >>'{asked}'\n").chmod(0o755)
    adopt(system, "--all", "--yes")
    assert asked.read_text() == f"-u -k {NEW}\n"


def test_damaged_module_is_named_and_left(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    path = system.install(NEW, sign=pair)
    data = bytearray(path.read_bytes())
    data[data.index(b"srcversion=") + 11] ^= 1
    path.write_bytes(data)
    result = adopt(system, "--all", "--yes")
    assert result.code == 1 and "damaged, or changed after it was signed" in result.err
    assert path.read_bytes() == bytes(data)


def test_the_kernels_own_module_of_that_name_is_not_touched(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    system.module_file(NEW).unlink()
    own = system.tree.put(f"lib/modules/{NEW}/kernel/drivers/sample.ko", module_bytes(NEW, intree=True))
    system.depmod(NEW)
    adopt(system, "--all", "--yes")
    assert own.read_bytes() == module_bytes(NEW, intree=True)


def test_another_system_is_only_looked_at(system):
    (system.path / "etc/kmodkeep-test-root").unlink()
    for words in (["--all", "--yes"], ["--all", "--undo"]):
        result = adopt(system, *words)
        assert result.code == 2 and "is not the running system" in result.err
    assert adopt(system, "--all", "--dry-run").code == 1


def test_usage(system):
    assert adopt(system).code == 2
    assert adopt(system, "sample", "--all").code == 2
    result = adopt(system, "nothing", "--dry-run")
    assert result.code == 2 and "no driver of this host is called 'nothing'" in result.err


def test_key_that_is_changed_is_waited_for(system, pair):
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    assert system.tree.run("key", "rotate", "begin").code is not None
    result = adopt(system, "--all", "--yes")
    assert result.code == 1 and "kmodkeep key rotate status" in result.err


def test_a_drop_in_with_an_error_stops_it(system):
    system.driver("broken", "modules\n")
    result = adopt(system, "--all", "--yes")
    assert result.code == 3 and "a driver may be left out" in result.err


def adopt_killed_at(system, syscall, number):
    """False: it never came so far."""
    command = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}",
               "-e", f"inject={syscall}:signal=KILL:when={number}",
               PROGRAM, "adopt", "--all", "--yes", "--root", system.path]  # fmt: skip
    # What looks for leaks cannot be traced.
    done = subprocess.run(command, capture_output=True, timeout=120,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    return done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("syscall", ["rename", *["fsync"] * bool(os.environ.get("FULL"))])
def test_killed_anywhere_the_next_run_completes(system, tmp_path, syscall):
    """Before each file of its own is in place, and before each is on the disk."""
    pair = Pair(tmp_path, "own")
    system.tree.own_key(pair)
    system.tree.enrol(pair.cert)
    shutil.copytree(system.path, tmp_path / "before", symlinks=True)
    for number in range(1, 40):
        killed = adopt_killed_at(system, syscall, number)
        result = adopt(system, "--all", "--yes")
        assert result.code == 0, f"{number}: {result.text}"
        assert all_load(system, pair.cert), number
        assert (system.path / DROP_IN).read_text().endswith(OURS)
        assert system.path.joinpath(POLICY).exists()
        assert not [p for p in system.path.rglob("*") if p.name.endswith((".new", ".tmp"))]
        if not killed:
            break
        shutil.rmtree(system.path)
        shutil.copytree(tmp_path / "before", system.path, symlinks=True)
    assert not killed and number > 4
