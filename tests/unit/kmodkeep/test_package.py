# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep package: no step of it leaves a kernel with less of a driver than before.

On a host in a folder with a dkms that does what it is told to; see test_faults.c
for each call that can fail, and the tests of the packages for the real dkms.
"""

import fcntl
import json
import os
import re
import subprocess
import time

import pytest

from tests.unit.kmodkeep.dkms import ARCH, NAME, Dkms
from tests.unit.kmodkeep.host import PROGRAM, TOP
from tests.unit.kmodkeep.system import NEW, OLD, System


@pytest.fixture
def dkms(tree, tmp_path):
    made = Dkms(tree, tmp_path / "fake")
    made.source("1.0")
    return made


@pytest.fixture
def installed(dkms):
    dkms.run("configure")
    dkms.check("1.0")
    return dkms


@pytest.fixture
def upgrading(installed):
    """Version 2.0 is unpacked over 1.0."""
    installed.keep_source("1.0")
    installed.source("2.0")
    return installed


def test_first_installation(dkms):
    said = dkms.run("configure").splitlines()
    assert said == [f"sample 1.0: kernel {kernel}: installed" for kernel in (OLD, NEW)]
    dkms.check("1.0")


def test_upgrade(upgrading):
    said = upgrading.run("configure", "2.0")
    for kernel in (OLD, NEW):
        assert f"sample 2.0: kernel {kernel}: installed in place of 1.0\n" in said
    upgrading.check("2.0")


def test_upgrade_that_builds_for_one_kernel_only(upgrading):
    upgrading.at("build-before", f'if [ "$k" = {NEW} ]; then echo why; exit 10; fi')
    said = upgrading.run("configure", "2.0")
    log = upgrading.path / f"var/lib/kmodkeep/dkms/sample/log/2.0-{NEW}.log"
    assert (
        f"sample 2.0: kernel {NEW}: FAILED, the build failed (dkms exit code 10); 1.0 stays "
        f"installed and loadable. Log: {log}. Next: report the log" in said
    )
    assert log.read_text() == "why\n"
    assert [upgrading.installed(k) for k in (OLD, NEW)] == ["2.0", "1.0"]
    assert [upgrading.registered(k) for k in (OLD, NEW)] == ["2.0", "1.0"]
    upgrading.no_more("build-before")
    upgrading.run("configure", "2.0")
    upgrading.check("2.0")


def test_version_that_builds_nowhere_is_not_registered(upgrading):
    upgrading.at("build-before", "exit 10")
    upgrading.run("configure", "2.0")
    assert [upgrading.registered(k) for k in (OLD, NEW)] == ["1.0", "1.0"]
    assert not (upgrading.entry / "2.0").exists()
    upgrading.no_more("build-before")
    upgrading.run("configure", "2.0")
    upgrading.check("2.0")


def test_downgrade_keeps_what_is_in_use_and_does_not_build_it_again(dkms):
    dkms.source("2.0")
    dkms.run("configure", "2.0")
    dkms.keep_source("2.0")
    dkms.at("build-before", f'if [ "$k" = {NEW} ]; then exit 10; fi')
    dkms.run("configure", "1.0")
    assert [dkms.installed(k) for k in (OLD, NEW)] == ["1.0", "2.0"]
    conf = dkms.entry / "2.0/kept-source/dkms.conf"
    assert conf.read_text().endswith('AUTOINSTALL=""\n')
    dkms.run("configure", "1.0")
    assert conf.read_text().count("AUTOINSTALL") == 1


def test_excluded_and_without_headers(installed):
    installed.at("build-before", "exit 77")
    (installed.path / f"lib/modules/{NEW}/build").rename(installed.path / "away")
    said = installed.run("configure")
    assert f"kernel {OLD}: not built, this version is not made for it" in said
    assert f"kernel {NEW}: not built, its headers are missing; 1.0 stays installed and loadable" in said
    assert f"Next: apt install linux-headers-{NEW}" in said
    assert installed.installed(NEW) == "1.0"


def test_module_of_another_kernel(installed):
    (installed.fake / f"1.0-{NEW}.ko").write_bytes((installed.fake / f"1.0-{OLD}.ko").read_bytes())
    module = installed.path / f"lib/modules/{NEW}/updates/dkms/sample.ko"
    kept = module.read_bytes()
    said = installed.run("configure")
    assert f"kernel {NEW}: FAILED, sample.ko was built for {OLD}; 1.0 stays installed" in said
    assert f"Next: apt install --reinstall linux-headers-{NEW}" in said
    assert module.read_bytes() == kept


def test_pre_install_is_asked_before_anything_changes(upgrading):
    upgrading.source("2.0", 'words=(an array)\nPRE_INSTALL="hook $kernelver $arch"\n')
    hook = upgrading.tree.put(
        "usr/src/sample-2.0/hook",
        f'#!/bin/sh\n[ "$1" = {OLD} ] && [ "$2" = {ARCH} ] || {{ echo refused; exit 1; }}\n',
    )
    hook.chmod(0o755)
    said = upgrading.run("configure", "2.0")
    assert f"kernel {NEW}: FAILED, what was built would not load: refused; 1.0 stays" in said
    assert [upgrading.installed(k) for k in (OLD, NEW)] == ["2.0", "1.0"]


def test_what_loads_is_not_replaced_by_what_would_not(upgrading, pair):
    tree = upgrading.tree
    tree.secure_boot()
    tree.enrol(pair.cert)
    for kernel in (OLD, NEW):
        tree.put(f"boot/config-{kernel}", "CONFIG_MODULE_SIG_FORCE=y\nCONFIG_INTEGRITY_MACHINE_KEYRING=y\n")
    module = upgrading.path / f"lib/modules/{NEW}/updates/dkms/sample.ko"
    tree.run("sign", "--key", pair.key, "--cert", pair.cert, module)
    verdict = tree.run("verify", "--kernel", NEW, module)
    assert verdict.code == 0, verdict.text
    said = upgrading.run("configure", "2.0")
    assert f"kernel {NEW}: FAILED, what was built would not load, unlike what is there: unsigned" in said
    # What did not load before is replaced, with a word on it.
    assert f"kernel {OLD}: installed in place of 1.0, but unsigned: " in said


def test_version_of_the_administrator(installed):
    installed.source("3.0")
    entry = installed.entry / "3.0"
    entry.mkdir()
    (entry / "source").symlink_to(installed.path / "usr/src/sample-3.0")
    for kernel in (OLD, NEW):
        for verb in ("build", "install"):
            subprocess.run(
                [installed.fake / "dkms", verb, "-m", NAME, "-v", "3.0", "-k", kernel, "-a", ARCH,
                 "--dkmstree", installed.entry.parent, "--sourcetree", installed.path / "usr/src",
                 "--installtree", installed.path / "lib/modules"], check=True)  # fmt: skip
    said = installed.run("configure")
    assert said.count("left alone, it has sample 3.0, which this package did not install") == 2
    said = installed.run("remove")
    assert "version 3.0 stays: this package did not register it" in said
    assert [installed.installed(k) for k in (OLD, NEW)] == ["3.0", "3.0"]


def test_no_autoinstall(dkms):
    dkms.tree.put("etc/dkms/no-autoinstall")
    said = dkms.run("configure")
    assert "registered, not built: /etc/dkms/no-autoinstall says so" in said
    assert (dkms.entry / "1.0/source").is_symlink()


def test_restore_and_remove(installed):
    installed.keep_source("1.0")
    installed.source("1.0")
    installed.run("restore")
    installed.check("1.0")
    installed.run("remove")
    assert not installed.entry.exists()
    assert [installed.installed(k) for k in (OLD, NEW)] == [None, None]


# --- dkms fails, or is killed with what called it

BREAKS = ["add-before", "build-before", "build-after", "install-before", "install-between", "install-after",
          "remove-before", "remove-after"]  # fmt: skip


@pytest.mark.parametrize("what,where", [
    (what, where) for what in ("first", "reinstall", "upgrade") for where in BREAKS
    if what == "upgrade" or not where.startswith("remove")  # dkms is asked to for an upgrade only
])  # fmt: skip
@pytest.mark.parametrize("how", ["fails", "killed"])
def test_broken_at(dkms, what, where, how):
    had, version = {"first": (None, "1.0"), "reinstall": ("1.0", "1.0"), "upgrade": ("1.0", "2.0")}[what]
    if had:
        dkms.run("configure")
    if what == "upgrade":
        dkms.keep_source("1.0")
        dkms.source("2.0")
    (dkms.fake / "asked").write_text("")
    dkms.at(where, "echo no; exit 6" if how == "fails" else "kill -9 $PPID; exit 6")
    done = subprocess.run(
        [PROGRAM, "package", "configure", NAME, version, "--root", dkms.path],
        capture_output=True, text=True, timeout=120, env=dkms.env, check=False,
    )  # fmt: skip
    reached = where.split("-")[0] in (dkms.fake / "asked").read_text().split()
    assert done.returncode == (-9 if how == "killed" and reached else 0), done.stdout + done.stderr
    for kernel in (OLD, NEW):
        assert dkms.installed(kernel) in ({had, version} if had or how == "killed" else {None, version})
        if how == "fails" or where != "install-between":
            assert dkms.registered(kernel) == dkms.installed(kernel) or how == "killed"
        if had:
            assert dkms.installed(kernel), "a driver less"
    if how == "fails" and had and where.startswith(("build", "install")):
        assert [dkms.installed(k) for k in (OLD, NEW)] == [had, had]
        assert f"{had} stays installed and loadable" in done.stdout
    # Every link to a source leads somewhere, or dkms builds nothing for anybody.
    for link in dkms.entry.glob("*/source"):
        assert (link / "dkms.conf").exists()
    dkms.no_more(where)
    dkms.run("configure", version)
    dkms.check(version)


def test_killed_between_holding_and_installing(installed):
    """The build that was put aside goes back, or is rubbish where another is installed."""
    installed.at("install-before", "kill -9 $PPID; exit 1")
    installed.killed("configure")
    kept = installed.entry / f"1.0/{OLD}/.kept-{ARCH}"
    assert (installed.entry / f"kernel-{OLD}-{ARCH}").resolve() == kept
    installed.no_more("install-before")
    installed.at("build-before", "exit 10")
    installed.run("configure")
    assert not kept.exists()
    assert [installed.registered(k) for k in (OLD, NEW)] == ["1.0", "1.0"]


# --- the disk


def mounted(options, path):
    """A command prefix: what follows has a file system of its own at PATH, with what is there."""
    script = (
        'set -e; copy=$(mktemp -d); cp -a "$1/." "$copy"; mount -t tmpfs -o "$2" none "$1";'
        ' cp -a "$copy/." "$1"; rm -rf "$copy"; if [ -n "$3" ]; then sh -c "$3" sh "$1"; fi;'
        ' fs=$1; shift 3; code=0; "$@" || code=$?; mkdir -p "$fs.after"; cp -a "$fs/." "$fs.after"; exit $code'
    )
    return lambda fill: ["unshare", "-m", "sh", "-c", script, "sh", path, options, fill]


FILL = 'head -c 100000000 /dev/zero >"$1/fill" 2>/dev/null || :'
NO_INODES = 'n=0; while (: >"$1/fill$n") 2>/dev/null; do n=$((n+1)); done'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("options,fill,words", [
    ("size=8m", FILL, "is full"),
    ("size=8m,nr_inodes=200", NO_INODES, "has no inodes left"),
    ("size=8m", 'mount -o remount,ro "$1"', "Read-only file system"),
])  # fmt: skip
def test_disk_is_named_and_the_next_step(upgrading, options, fill, words):
    """Where dkms's tree and ours are; the module is on another one."""
    fs = upgrading.path / "var/lib"
    said = upgrading.run("configure", "2.0", prefix=mounted(options, fs)(fill))
    for kernel in (OLD, NEW):
        line = re.search(rf"kernel {kernel}: FAILED, (.*)", said)[1]
        assert words in line or "No space left on device" in line, said
        assert "1.0 stays installed and loadable" in line
        assert "then dpkg-reconfigure sample-dkms" in line
        assert "maintainers" not in line, "it is not their fault"
        assert upgrading.installed(kernel) == "1.0"
    after = fs.with_name("lib.after") / "dkms/sample"
    for kernel in (OLD, NEW):
        assert (after / f"kernel-{kernel}-{ARCH}/module/sample.ko").stat().st_size


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_mend_without_inodes(installed):
    """The package is configured all the same, and the kernel keeps what it has."""
    installed.at("install-before", "kill -9 $PPID; exit 1")
    installed.killed("configure")
    installed.no_more("install-before")
    fs = installed.path / "var/lib"
    fill = f'rm -rf "$1/kmodkeep" "$1/dkms/sample/1.0/{OLD}/{ARCH}"; ' + NO_INODES
    said = installed.run("configure", prefix=mounted("size=8m,nr_inodes=200", fs)(fill))
    assert f"kernel {OLD}: the module that an interrupted run put aside stays in " in said
    assert "No space left on device. Next: make room there" in said
    link = fs.with_name("lib.after") / f"dkms/sample/kernel-{OLD}-{ARCH}"
    assert (link / "module/sample.ko").exists() and ".kept-" in str(link.readlink())
    assert [installed.installed(k) for k in (OLD, NEW)] == ["1.0", "1.0"]


def test_disk_that_was_full_during_the_build(installed):
    """What the compiler wrote is gone again: its message tells."""
    installed.at("build-before", "echo 'as: sample.o: No space left on device'; exit 10")
    said = installed.run("configure")
    assert f"kernel {OLD}: FAILED, the build could not write: No space left on device; 1.0 stays" in said


# --- where dkms has its tree

ARRAY = "sign_hash=(one two)\nif [[ -n ${x-} ]]; then y=1; fi\n"


@pytest.mark.parametrize("files,where", [
    ({"framework.conf": ARRAY + "dkms_tree=/srv/dkms\n"}, "srv/dkms"),
    ({"framework.conf": 'dkms_tree="/srv/one"\n', "framework.conf.d/a.conf": "export dkms_tree='/srv/t w'o/ # x\n"},
     "srv/t wo"),
    ({"framework.conf.d/a.conf": "# dkms_tree=/no\n", "framework.conf.d/b": "dkms_tree=/no\n"}, "var/lib/dkms"),
    ({"framework.conf": "dkms_tree=/no\ndkms_tree=/srv/last; x=1\n"}, "srv/last"),
])  # fmt: skip
def test_tree_that_dkms_configuration_moved(tree, tmp_path, files, where):
    for name, text in files.items():
        tree.put(f"etc/dkms/{name}", text)
    assert tree.run("package", "tree").out == f"/{where}\n"
    # As bash reads them, which keep_source asks.
    script = (TOP / "system/dkms-keep-source.sh").read_text()
    inside = script.replace("/etc/dkms/", f"{tree.path}/etc/dkms/")
    asked = subprocess.run(["dash", "-euc", inside + "\ndkms_tree"], capture_output=True, text=True, check=True)
    assert asked.stdout == f"/{where}/\n" * where.endswith(" wo") or asked.stdout == f"/{where}\n"
    made = Dkms(tree, tmp_path / "fake", where)
    made.source("1.0")
    made.run("configure")
    made.check("1.0")


def test_doctor_looks_into_the_tree_that_was_moved(tree):
    system = System(tree)
    tree.put("etc/dkms/framework.conf.d/tree.conf", ARRAY + "dkms_tree=/srv/dkms\n")
    system.remove(NEW)
    tree.put(f"srv/dkms/sample/1.0/{NEW}/{ARCH}/module/sample.ko")
    tree.put("srv/dkms/sample/1.0/source/dkms.conf")
    found = json.loads(tree.run("doctor", "--json", "--kernel", NEW).out)
    assert '"dkms": "built"' in json.dumps(found), found


@pytest.mark.parametrize("text", [
    "x=1\ndkms_tree=$HOME/dkms\n",
    "if true; then\n\tdkms_tree=/srv/dkms\nfi\n",
    "x=1\ndeclare dkms_tree=$x/dkms\n",
])  # fmt: skip
def test_tree_that_only_bash_can_tell(dkms, text):
    dkms.tree.put("etc/dkms/framework.conf", text)
    said = dkms.run("configure")
    assert "nothing was done: /etc/dkms/framework.conf, line 2 sets dkms_tree by more than a plain path" in said
    assert "then dpkg-reconfigure sample-dkms" in said


# --- the lock


def test_lock_names_its_holder_and_is_roots(dkms):
    directory = dkms.path / "run/kmodkeep"
    directory.mkdir(parents=True)
    lock = directory / "package.lock"
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(
            [PROGRAM, "package", "configure", NAME, "1.0", "--root", dkms.path],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dkms.env,
        ) as waiting:  # fmt: skip
            line = waiting.stdout.readline()
            assert line.startswith(f"kmodkeep: waiting for process {os.getpid()} ("), line
            assert str(lock) in line
            assert not dkms.entry.exists()
            fcntl.flock(held, fcntl.LOCK_UN)
            assert "installed" in waiting.stdout.read()
    assert lock.stat().st_mode & 0o777 == 0o600
    dkms.check("1.0")


def test_next_run_waits_for_a_dkms_that_a_killed_one_left(installed):
    """The lock is dkms's too: two never work in one tree."""
    installed.at("install-before", 'kill -9 $PPID; sleep 3; touch "$fake/ended"')
    installed.killed("configure")
    installed.no_more("install-before")
    start = time.monotonic()
    said = installed.run("configure")
    assert (installed.fake / "ended").exists(), "did not wait"
    assert time.monotonic() - start > 1
    assert "waiting for process " in said
    installed.check("1.0")


@pytest.mark.parametrize("words", [
    (), ("configure",), ("configure", "a"), ("configure", "a/b", "1"), ("configure", "a", ".."),
    ("install", "a", "1"), ("configure", "a", "1", "x"),
])  # fmt: skip
def test_usage(tree, words):
    done = tree.run("package", *words)
    assert done.code == 2 and done.err.startswith("Usage: kmodkeep package ")
