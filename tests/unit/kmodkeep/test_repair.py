# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep next and repair: the plan, and what becomes of it, on a host in a folder."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time

import pytest

from tests.unit.kmodkeep.host import PROGRAM, TOP
from tests.unit.kmodkeep.system import LOADER, NEW, OLD, System, grub_cfg, module_bytes, utf16

BUILD = f"dkms install sample/1.2 -k {NEW}"
MENU = f"Advanced options for Debian GNU/Linux > Debian GNU/Linux, with Linux {OLD}"


class Host(System):
    """A host whose programs are pieces of shell, which write down that they were run."""

    def __init__(self, tree, directory):
        super().__init__(tree)
        self.made = directory
        self.asked = directory / "asked"
        for kernel in (OLD, NEW):
            tree.put(f"lib/modules/{kernel}/build/Makefile")
        tree.put("var/lib/dkms/sample/1.2/source/dkms.conf")
        for name in ("gcc", "make", "apt-get", "grub-reboot"):
            self.program(name, "exit 1")
        self.built(NEW)

    def built(self, release, name="sample"):
        """What the dkms of this host makes."""
        path = self.made / f"{name}-{release}.ko"
        path.write_bytes(module_bytes(release, name=name))

    def program(self, name, script):
        self.tree.put(f"usr/sbin/{name}", f"#!/bin/sh\necho \"{name} $*\" >>'{self.asked}'\n"
                      f"cd '{self.path}'\n{script}\n").chmod(0o755)  # fmt: skip

    def dkms(self, before="", after=""):
        self.program("dkms", f"""{before}
mkdir -p lib/modules/{NEW}/updates/dkms
cp '{self.made}/sample-{NEW}.ko' lib/modules/{NEW}/updates/dkms/sample.ko
depmod -b . {NEW}
{after}""")

    @property
    def ran(self):
        return self.asked.read_text().splitlines() if self.asked.exists() else []

    def repair(self, *words, **kwargs):
        return self.tree.run("repair", *words, **kwargs)

    def next(self):
        result = self.tree.run("next", "--json")
        found = json.loads(result.out)
        assert result.code == {"yes": 0, "no": 1, "unknown": 3}[found["safe"]]
        return found

    def steps(self):
        return [step["command"] for step in self.next()["repair"]]


@pytest.fixture
def host(tree, tmp_path):
    return Host(tree, tmp_path)


def test_nothing_to_repair(host):
    for words in ([], ["--yes"], ["--dry-run"]):
        result = host.repair(*words)
        assert result.code == 0 and "there is nothing to repair" in result.out
    result = host.tree.run("next")
    assert result.code == 0 and result.out.startswith("SAFE") and "Repair" not in result.out


def test_next_names_loss_way_out_and_repair(host):
    host.remove(NEW)
    found = host.next()
    assert found["schema"] == 1 and found["safe"] == "no" and found["kernel"] == NEW
    assert [(f["driver"], f["verdict"]) for f in found["lost"]] == [("sample", "missing")]
    entry = f"gnulinux-advanced-42>gnulinux-{OLD}-advanced-42"
    assert found["serves"] == {"kernel": OLD, "running": True, "menu": MENU,
                               "boot_once": f"grub-reboot '{entry}'"}
    assert [(s["command"], s["cause"]) for s in found["repair"]] == [(BUILD, "not-built")]
    page = " ".join(host.tree.run("next").out.split())
    assert page.startswith("NOT SAFE next boot would lose sample")
    for text in (f"Serves now {OLD} (running)", MENU, f"grub-reboot '{entry}'; then reboot", BUILD,
                 "kmodkeep repair"):
        assert text in page


def test_next_fits_a_screen(host):
    host.remove(NEW)
    lines = host.tree.run("next").out.splitlines()
    assert len(lines) <= 24 and all(len(line) <= 100 for line in lines)


def test_next_fits_a_screen_where_much_is_lost(host):
    names = [f"driver{n:02}" for n in range(12)]
    for name in names:
        modules = [f"{name}_{part}" for part in "abc"]
        host.driver(name, f"modules = {' '.join(modules)}\ndkms = {name}\n")
        for module in modules:
            host.install(OLD, name=module)
    page = host.tree.run("next").out
    print(page)
    assert len(page.splitlines()) <= 48
    assert re.search(r"driver00 \(driver00_a and 2\s+more\): missing", page), page
    assert re.search(r"and 7\s+more\s+drivers:\s+kmodkeep\s+doctor\s+--next-boot", page), page
    # All of them for whoever reads it with a program.
    assert len({f["driver"] for f in host.next()["lost"]}) == 12


def test_next_without_a_kernel_that_serves(host):
    host.remove(NEW)
    host.remove(OLD)
    host.loaded("sample", "ABC")
    host.tree.put("sys/module/sample/taint", "O\n")
    found = host.next()
    assert found["safe"] == "no" and found["serves"] is None
    assert "no kernel that is installed here" in host.tree.run("next").out


def test_next_that_cannot_tell_is_not_safe(host):
    (host.path / "boot/grub/grub.cfg").unlink()
    found = host.next()
    assert found["safe"] == "unknown" and found["kernel"] is None and found["repair"] == []


def test_a_drop_in_with_an_error_lets_no_kernel_serve(host):
    host.driver("broken", "modules\n")
    assert host.next()["serves"] is None


def test_no_command_where_the_menu_would_not_mind(host):
    host.remove(NEW)
    menu = host.path / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("next_entry", "other_entry"))
    assert host.next()["serves"]["boot_once"] is None


def test_systemd_boot(host):
    (host.path / "boot/grub/grub.cfg").unlink()
    host.program("bootctl", "exit 1")
    host.tree.put("boot/loader/loader.conf", "timeout 3\n")
    host.tree.variable("LoaderInfo", utf16("systemd-boot 254"), LOADER)
    for kernel in (OLD, NEW):
        host.tree.put(f"boot/loader/entries/deb-{kernel}.conf",
                      f"title Debian\nversion {kernel}\nlinux /vmlinuz-{kernel}\n")
    host.remove(NEW)
    assert host.next()["serves"] == {
        "kernel": OLD, "running": True, "menu": f"Debian ({OLD})",
        "boot_once": f"bootctl set-oneshot 'deb-{OLD}.conf'"}  # fmt: skip


def test_step_is_shown_run_and_judged(host):
    host.remove(NEW)
    host.dkms()
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert f"step 1: {BUILD}\n          why: sample on {NEW}: missing: kernel {NEW} has no such module" in result.out
    assert f"now: sample on {NEW}: ok" in result.out
    assert result.out.endswith(f"kmodkeep: next boot safe (kernel {NEW})\n")
    assert host.ran == [BUILD]
    # What others look at knows of it.
    assert json.loads((host.path / "var/lib/kmodkeep/state.json").read_text())["safe"] == "yes"


def test_advice_and_step_are_the_same_words(host):
    host.remove(NEW)
    found = json.loads(host.tree.run("doctor", "--json", "--next-boot").out)["findings"][0]
    assert found["cause"] == "not-built" and found["command"] == BUILD
    assert found["command"] in found["next_step"]


def test_nothing_is_done_without_a_terminal_or_yes(host):
    host.remove(NEW)
    host.dkms()
    result = host.repair(stdin=subprocess.DEVNULL)
    assert result.code == 1 and BUILD in result.out
    assert "nothing was done: there is no terminal to ask on" in result.out
    assert host.ran == []


def test_dry_run_changes_nothing(host):
    host.remove(NEW)
    host.dkms()
    host.repair("--dry-run")  # the cache of what an initramfs has
    before = host.digest()
    assert host.repair("--dry-run").code == 1
    assert host.digest() == before and host.ran == []


def test_another_host_is_only_looked_at(host):
    host.remove(NEW)
    host.dkms()
    (host.path / "etc/kmodkeep-test-root").unlink()
    for words in ([], ["--yes"]):
        result = host.repair(*words)
        assert result.code == 2 and "is not the running system" in result.err
    assert host.repair("--dry-run").code == 1
    assert host.ran == []


def test_the_first_that_did_not_help_is_the_last(host):
    host.remove(NEW)
    host.tree.put("var/lib/dkms/other/1.0/source/dkms.conf")
    host.driver("zother", "modules = zother\ndkms = other\n")
    host.install(OLD, "zother")
    host.program("dkms", "exit 0")
    result = host.repair("--yes")
    assert result.code == 1 and "did not help" in result.err
    assert host.ran == [BUILD]


def test_a_step_that_fails_is_the_last(host):
    host.remove(NEW)
    host.program("dkms", "echo something; echo 'the disk is full'; exit 7")
    result = host.repair("--yes")
    assert result.code == 1
    assert f"{BUILD} failed: the disk is full. Next: read /var/lib/kmodkeep/repair.log" in result.err
    log = host.path / "var/lib/kmodkeep/repair.log"
    assert log.read_text() == "something\nthe disk is full\n" and log.stat().st_mode & 0o777 == 0o600


def test_missing_program_is_named(host):
    host.remove(NEW)
    result = host.repair("--yes")
    assert result.code == 1 and "dkms is not installed here" in result.err


def headers_script(more=""):
    return f"mkdir -p lib/modules/{NEW}/build; touch lib/modules/{NEW}/build/Makefile; {more}"


def test_headers_come_before_the_build(host):
    host.remove(NEW)
    (host.path / f"lib/modules/{NEW}/build/Makefile").unlink()
    (host.path / f"lib/modules/{NEW}/build").rmdir()
    (host.path / "usr/sbin/gcc").unlink()
    headers = f"apt-get -o APT::Cmd::Pattern-Only=true --no-remove -y install linux-headers-{NEW}"
    compiler = "apt-get -o APT::Cmd::Pattern-Only=true --no-remove -y install gcc make"
    host.program("apt-get", f'case $* in *headers*) {headers_script()} ;; *) touch usr/sbin/gcc ;; esac')
    host.dkms()
    assert host.steps()[0] == headers
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert host.ran == [headers, compiler, BUILD]


def test_dnf_where_there_is_no_apt(host):
    host.remove(NEW)
    (host.path / f"lib/modules/{NEW}/build/Makefile").unlink()
    (host.path / f"lib/modules/{NEW}/build").rmdir()
    (host.path / "usr/sbin/apt-get").unlink()
    host.program("dnf", headers_script())
    host.dkms()
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert host.ran == [f"dnf -y install kernel-devel-{NEW}", BUILD]


def test_module_that_is_not_in_the_index(host):
    host.module_file(NEW).rename(host.path / "aside")
    host.depmod(NEW)
    (host.path / "aside").rename(host.module_file(NEW))
    host.program("depmod", f"/sbin/depmod -b . {NEW}")
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert host.ran == [f"depmod {NEW}"]


def test_damaged_module_is_built_again(host):
    host.module_file(NEW).write_bytes(b"")
    arch = os.uname().machine
    host.tree.put(f"var/lib/dkms/sample/1.2/{NEW}/{arch}/module/sample.ko", "x")
    (host.path / f"var/lib/dkms/sample/kernel-{NEW}-{arch}").symlink_to(f"1.2/{NEW}/{arch}")
    host.dkms(before='[ "$1" = install ] || exit 0')
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert host.ran == [f"dkms build --force sample/1.2 -k {NEW}",
                        f"dkms install --force sample/1.2 -k {NEW}"]


def test_a_failed_first_half_of_a_step_ends_it(host):
    host.module_file(NEW).write_bytes(b"")
    arch = os.uname().machine
    host.tree.put(f"var/lib/dkms/sample/1.2/{NEW}/{arch}/module/sample.ko", "x")
    (host.path / f"var/lib/dkms/sample/kernel-{NEW}-{arch}").symlink_to(f"1.2/{NEW}/{arch}")
    host.program("dkms", "exit 1")
    assert host.repair("--yes").code == 1
    assert len(host.ran) == 1


def test_unsigned_module_is_signed(host, pair):
    host.tree.secure_boot()
    host.tree.own_key(pair)
    host.tree.enrol(pair.cert)
    host.install(OLD, sign=pair)
    file = host.module_file(NEW)
    assert host.steps() == [f"kmodkeep sign {file}"]
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert "signed by" in (host.path / "var/lib/kmodkeep/repair.log").read_text()


def test_enrolment_is_left_to_a_person(host, pair):
    host.tree.secure_boot()
    host.tree.own_key(pair)
    host.tree.enrol()
    host.install(NEW, sign=pair)
    found = host.next()
    assert found["repair"] == [] and any("kmodkeep key enroll" in text for text in found["by_hand"])
    result = host.repair("--yes")
    assert result.code == 1 and "kmodkeep key enroll" in result.out


def test_initramfs_is_made_after_the_build(host):
    host.initramfs(OLD, {})
    shutil.copy(host.path / f"boot/initrd.img-{OLD}", host.path / "good")
    host.initramfs(NEW, {"updates/dkms/sample.ko": module_bytes(NEW, srcversion="OLD")})
    host.remove(NEW)
    host.dkms()
    host.program("update-initramfs", f"cp good boot/initrd.img-{NEW}")
    assert host.steps() == [BUILD]
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert host.ran == [BUILD, f"update-initramfs -u -k {NEW}"]


def test_mkinitcpio_would_reach_kernels_that_serve(host):
    host.program("mkinitcpio", "exit 0")
    host.initramfs(NEW, {"updates/dkms/sample.ko": module_bytes(NEW, srcversion="OLD")})
    host.initramfs(OLD, {})
    found = host.next()
    assert found["safe"] == "no" and found["repair"] == []
    assert any("mkinitcpio -P" in text for text in found["by_hand"])


def test_dpkg_finishes(host):
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.program("dpkg", "cp var/lib/dpkg/good var/lib/dpkg/status")
    good = (host.path / "var/lib/dpkg/status").read_text().replace("half-configured", "installed")
    host.tree.put("var/lib/dpkg/good", good)
    result = host.repair("--yes")
    assert result.code == 0, result.text
    assert host.ran == ["dpkg --configure -a"]
    assert f"why: package linux-image-{NEW} is half-configured" in result.out


@pytest.mark.parametrize("written, said", [
    (r"E: more\nErrors were encountered while processing:\n linux-a\n linux-b\n",
     "Errors were encountered while processing: linux-a linux-b"),
    (r" \t blank\tfirst\r\n   \n\t", "blank?first"),
    (r"error\n   \n  of  two  \n", "error of  two  "),
    (r"Errors:\n one\nthe disk is full\n", "the disk is full"),
])  # fmt: skip
def test_all_packages_that_dpkg_could_not_configure_are_named(host, written, said):
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.program("dpkg", f"printf '{written}'; exit 1")
    result = host.repair("--yes")
    assert result.code == 1
    assert f"dpkg --configure -a failed: {said}. Next: read" in result.err


def test_more_packages_than_a_line_holds_are_cut(host):
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.program("dpkg", "echo Errors:; for n in $(seq 100 199); do echo \" package-$n\"; done; exit 1")
    names = " ".join(f"package-{n}" for n in range(100, 200))
    assert f"failed: {f'Errors: {names}'[:255]}. Next" in host.repair("--yes").err


def test_interrupted_dpkg_comes_first(host):
    host.remove(NEW)
    host.tree.put("var/lib/dpkg/updates/0001", "x")
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    assert host.steps() == ["dpkg --configure -a", BUILD]
    (host.path / "var/lib/dpkg/updates/0001").unlink()
    assert host.steps() == [BUILD, "dpkg --configure -a"]


def test_what_dkms_has_half_added_comes_before_dpkg(host):
    """The package's script would have dkms remove it, which fails."""
    (host.path / "var/lib/dkms/acme/2/build").mkdir(parents=True)
    host.tree.put("usr/src/acme-2/dkms.conf", "")
    assert host.steps() == [], "dkms may be at work"
    host.packages(acme_dkms="half-configured")
    assert host.steps() == ["dkms add acme/2", "dpkg --configure -a"]
    (host.path / "var/lib/dkms/acme/2/source").symlink_to("/usr/src/acme-2")
    assert host.steps() == ["dpkg --configure -a"]


def test_another_package_manager_is_not_waited_for_for_ever(host):
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.program("dpkg", "exit 0")
    with open(host.tree.put("var/lib/dpkg/lock-frontend"), "r+") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        result = host.repair("--yes")
    assert result.code == 1 and host.ran == []
    assert f"process {os.getpid()}, another package manager, was still at work" in result.err


def test_a_kernel_that_serves_is_left_alone(host):
    """Only what boots next is repaired: the other kernel's loss is not touched."""
    host.remove(OLD)
    host.running(NEW)
    assert host.next()["safe"] == "yes" and host.steps() == []


def test_kernel_that_a_pin_keeps_from_booting_is_repaired(host):
    host.remove(NEW)
    host.dkms()
    host.tree.put("boot/grub/grub.cfg", grub_cfg([OLD]))
    host.tree.put("var/lib/kmodkeep/state.json", json.dumps({
        "schema": 1, "pin": {"kernel": OLD, "entry": "x", "instead_of": NEW, "why": "x", "since": 1,
                             "revocations": ""}}))  # fmt: skip
    found = host.next()
    assert found["safe"] == "yes" and [s["command"] for s in found["repair"]] == [BUILD]


@pytest.mark.parametrize("name", ["-x", "a b", "a;reboot", "$(reboot)"])
def test_a_name_that_is_no_word_makes_no_command(host, name):
    host.remove(NEW)
    shutil.rmtree(host.path / "var/lib/dkms/sample")
    host.driver("sample", f"modules = sample\ndkms = {name}\n")
    host.tree.put(f"var/lib/dkms/{name}/1.2/source/dkms.conf")
    host.dkms()
    result = host.repair("--yes")
    assert result.code != 0 and host.ran == []


def test_failed_build_is_not_repeated(host):
    host.remove(NEW)
    host.dkms()
    host.tree.put("var/lib/dkms/sample/1.2/build/make.log",
                  f"DKMS make.log for sample-1.2 for kernel {NEW} (x86_64)\nx.c:1: error: no\n")
    found = host.next()
    assert found["repair"] == [] and any(f"boot kernel {OLD}" in text for text in found["by_hand"])
    assert host.repair("--yes").code == 1 and host.ran == []


def test_newer_version_is_tried_where_one_failed(host):
    host.remove(NEW)
    host.dkms()
    host.tree.put("var/lib/dkms/sample/1.2/build/make.log",
                  f"DKMS make.log for sample-1.2 for kernel {NEW} (x86_64)\nx.c:1: error: no\n")
    host.tree.put("var/lib/dkms/sample/1.3/source/dkms.conf")
    assert host.steps() == [BUILD.replace("1.2", "1.3")]
    assert host.repair("--yes").code == 0


def two_versions(host, kernel):
    """dkms has 1.3 installed for KERNEL, and 1.2 too, which does not build for it."""
    arch = os.uname().machine
    host.tree.put("var/lib/dkms/sample/1.3/source/dkms.conf")
    host.tree.put(f"var/lib/dkms/sample/1.3/{kernel}/{arch}/module/sample.ko", "x")
    (host.path / f"var/lib/dkms/sample/kernel-{kernel}-{arch}").symlink_to(f"1.3/{kernel}/{arch}")
    return host.tree.put("var/lib/dkms/sample/1.2/build/make.log",
                         f"DKMS make.log for sample-1.2 for kernel {kernel} (x86_64)\nx.c:1: error: no\n")


def test_version_beside_the_installed_one_that_does_not_build(host):
    """The kernel's hook fails by it; to have it removed is left to a person."""
    log = two_versions(host, NEW)
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.program("dpkg", "exit 1")
    said = f"sample on {NEW}: dkms has version 1.2 registered beside 1.3, and could not build it"
    step = "Next: dkms remove sample/1.2 --all"
    by_hand = [text for text in host.next()["by_hand"] if text.startswith(said)]
    assert len(by_hand) == 1 and by_hand[0].endswith(step)
    # Newer ones of dkms do not try it.
    assert host.steps() == ["dpkg --configure -a"]
    result = host.repair("--yes")
    assert result.code == 1 and host.ran == ["dpkg --configure -a"]
    page = " ".join(result.out.split())
    assert said in page and step in page, result.text
    doctor = host.tree.run("doctor", "--next-boot").out
    assert f"warning: {said}" in doctor and f"{step}\n" in doctor, doctor
    found, = json.loads(host.tree.run("doctor", "--next-boot", "--json").out)["findings"]
    assert found["verdict"] == "ok" and found["dkms_beside"] == "1.2"
    # What failed was another kernel's build, or there is but one.
    log.write_text(log.read_text().replace(NEW, OLD))
    assert host.next()["by_hand"] == []
    assert "registered beside" not in host.tree.run("doctor", "--next-boot").out


def test_version_beside_stays_until_the_kernels_that_have_it_have_the_other_one(host):
    arch = os.uname().machine
    two_versions(host, NEW)
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.tree.put(f"var/lib/dkms/sample/1.2/{OLD}/{arch}/module/sample.ko", "x")
    (host.path / f"var/lib/dkms/sample/kernel-{OLD}-{arch}").symlink_to(f"1.2/{OLD}/{arch}")
    text, = host.next()["by_hand"]
    assert text.endswith(f"Next: dkms install sample/1.3 -k {OLD}, which has that version, then: "
                         "dkms remove sample/1.2 --all")


def test_finished_packages_leave_the_version_beside_to_doctor(host):
    two_versions(host, NEW)
    assert host.next()["by_hand"] == []
    assert "registered beside" in host.tree.run("doctor", "--next-boot").out
    assert "there is nothing to repair" in host.repair("--yes").out


@pytest.mark.parametrize("line", ["/bin/sh: 1: gcc: not found", "  CC [M]  sample.o"], ids=["compiler", "ended"])
def test_build_is_repeated_that_lacked_a_compiler_or_was_ended(host, line):
    """The log of a build that was killed has no error in it."""
    host.remove(NEW)
    host.dkms()
    host.tree.put("var/lib/dkms/sample/1.2/build/make.log", f"DKMS make.log for sample-1.2 for kernel {NEW} (x86_64)\n{line}\n")
    assert host.steps() == [BUILD]
    assert host.repair("--yes").code == 0


def test_killed_anywhere_the_next_run_completes(host):
    """The run is ended while a step is at work; the step goes on, and is waited for."""
    host.remove(NEW)
    begun, go = host.path / "begun", host.path / "go"
    os.mkfifo(go)
    # Only the first run waits; its output goes nowhere when kmodkeep is gone.
    host.dkms(before="[ -e begun ] || { touch begun; read -r x <go; }")
    running = subprocess.Popen([PROGRAM, "repair", "--yes", "--root", host.path],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    second = subprocess.Popen([PROGRAM, "repair", "--yes", "--root", host.path],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    go.write_text("x\n")
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, out + err
    assert host.next()["safe"] == "yes"
    assert host.ran[0] == BUILD and set(host.ran) == {BUILD}


def on_a_terminal(host, answers):
    """What repair prints to a person who types ANSWERS, and its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [str(PROGRAM), "repair", "--root", str(host.path)])
    os.write(fd, answers.encode())
    text = b""
    try:
        while chunk := os.read(fd, 4096):
            text += chunk
    except OSError:
        pass  # the terminal is closed
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode().replace("\r\n", "\n")


def test_person_says_yes(host):
    host.remove(NEW)
    host.dkms()
    code, text = on_a_terminal(host, "y\n")
    assert code == 0 and "run it? [y/N]" in text and host.ran == [BUILD], text


def test_person_says_no_in_the_middle(host):
    host.remove(NEW)
    host.packages(**{f"linux_image_{NEW}": "half-configured"})
    host.program("dpkg", "exit 0")
    host.dkms()
    code, text = on_a_terminal(host, "y\nn\n")
    assert code == 1 and host.ran == [BUILD], text
    assert "not run, and nothing more is done" in text


def test_each_cause_has_a_word_in_the_documentation():
    source = (TOP / "guard/verdict/advice.c").read_text()
    words = re.findall(r'\[CAUSE_\w+\] = {\s*"([a-z-]+)"', source)
    assert len(words) == source.count("\t[CAUSE_") - 1 >= 15  # not CAUSE_NONE
    page = (TOP / "docs/kmodkeep-json.md").read_text()
    for word in words:
        assert f"`{word}`" in page, word
