# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep guard: its line, its files, and the pin, on a host in a folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.unit.kmodkeep.host import PROGRAM, siglist
from tests.unit.kmodkeep.system import LOADER, NEW, OLD, System, advanced, bzimage, grub_cfg, grubenv, utf16

# What the boot loaders' tools do, seen from outside.
GRUB_SET_DEFAULT = f"""#!{sys.executable}
import sys
sys.path.insert(0, {os.getcwd()!r})
from tests.unit.kmodkeep.system import grubenv
directory, entry = sys.argv[1].removeprefix("--boot-directory="), sys.argv[2]
open(directory + "/grub/grubenv", "w").write(grubenv(saved_entry=entry))
"""
GRUB_EDITENV = f"""#!{sys.executable}
import sys
sys.path.insert(0, {os.getcwd()!r})
from tests.unit.kmodkeep.system import grubenv
assert sys.argv[2:] == ["unset", "saved_entry"]
open(sys.argv[1], "w").write(grubenv())
"""
BOOTCTL = """#!/bin/sh
[ "$1" = set-default ] || exit 1
printf '%s' "$2" >'{tree}/bootctl-default'
"""
PINNED = "modules = sample\npolicy = pin-last-good\n"
KEPT = "etc/apt/apt.conf.d/02kmodkeep-pin"
KEPT_BY_DNF5 = "etc/dnf/libdnf5.conf.d/80-kmodkeep-pin.conf"
MOTD = "run/motd.d/kmodkeep"


@pytest.fixture
def system(tree):
    system = System(tree)
    tree.put("etc/apt/apt.conf.d/.keep")
    tree.put("etc/dnf/libdnf5.conf.d/.keep")
    for name, text in (("grub-set-default", GRUB_SET_DEFAULT), ("grub-editenv", GRUB_EDITENV)):
        tree.put(f"usr/sbin/{name}", text).chmod(0o755)
    tree.put("run/.keep")
    return system


@pytest.fixture
def pinning(system):
    """A host with the policy, that has run its old kernel."""
    system.driver("sample", PINNED)
    assert guard(system)[0] == 0
    return system


def guard(system, *words, **environment):
    result = system.tree.run("guard", *words, env={**os.environ, **environment})
    return result.code, result.text


def state(system):
    return json.loads((system.path / "var/lib/kmodkeep/state.json").read_text())


def default(system):
    match = re.search(r"^saved_entry=(.*)$", (system.path / "boot/grub/grubenv").read_text(), re.M)
    return match[1] if match else None


def test_safe(system):
    assert guard(system) == (0, f"kmodkeep: next boot safe (kernel {NEW})\n")
    found = state(system)
    assert (found["schema"], found["safe"], found["pin"]) == (1, "yes", None)
    assert found["booted"] == [{"kernel": OLD, "revocations": None}]
    assert found["doctor"]["next_boot"]["kernel"] == NEW
    assert not (system.path / MOTD).exists()


def test_unsafe(system):
    system.remove(NEW)
    code, text = guard(system)
    assert code == 1 and text.count("\n") == 1
    assert text.startswith("kmodkeep: next boot would lose sample (kernel ") and "Next: " in text
    assert state(system)["safe"] == "no"
    assert "would lose sample" in (system.path / MOTD).read_text()
    # The policy is to warn.
    assert default(system) is None
    system.install(NEW)
    assert guard(system)[0] == 0
    assert not (system.path / MOTD).exists()


def test_cannot_tell(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    code, text = guard(system)
    assert code == 3 and "cannot tell which kernel" in text
    assert state(system)["safe"] == "unknown"


def test_half_configured_package_is_named(system):
    system.packages(**{f"linux_image_{NEW}": "half-configured"})
    _, text = guard(system)
    assert f"package linux-image-{NEW} is half-configured. Next: " in text


def test_broken_drop_in_is_not_safe(system):
    system.driver("broken", "modules\n")
    code, text = guard(system)
    assert code == 3 and "next boot: cannot tell: a file in drivers.d has an error" in text


def test_nothing_to_release_is_done(system):
    result = system.tree.run("pin", "release")
    assert (result.code, result.out) == (0, "kmodkeep: nothing is pinned\n")
    assert system.tree.run("pin").code == 1


def test_pin_and_its_end(pinning):
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 0
    assert text == f"kmodkeep: next boot safe (kernel {OLD}); pinned, as {NEW} would lose a driver\n"
    assert default(pinning) == advanced(OLD)
    assert 'NeverAutoRemove { "^linux-(image|headers|modules|binary|base)-6\\.1\\.0-30-amd64$"; };' in (
        pinning.path / KEPT
    ).read_text()
    assert "\n[main]\ninstallonly_limit=0\n" in (pinning.path / KEPT_BY_DNF5).read_text()
    assert state(pinning)["pin"]["kernel"] == OLD
    # It stays while the fault does.
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)
    pinning.install(NEW)
    assert guard(pinning) == (0, f"kmodkeep: next boot safe (kernel {NEW}); the pin on kernel {OLD} is lifted\n")
    assert default(pinning) is None and state(pinning)["pin"] is None
    assert not (pinning.path / KEPT).exists() and not (pinning.path / KEPT_BY_DNF5).exists()


def test_pin_gives_back_the_default_that_was(pinning):
    pinning.tree.put("boot/grub/grubenv", grubenv(saved_entry=advanced(NEW)))
    pinning.remove(NEW)
    guard(pinning)
    assert default(pinning) == advanced(OLD)
    pinning.install(NEW)
    guard(pinning)
    assert default(pinning) == advanced(NEW)


def test_a_newer_kernel_that_would_serve_ends_the_pin(pinning):
    pinning.remove(NEW)
    guard(pinning)
    newest = "6.13.0-amd64"
    pinning.kernel(newest)
    pinning.install(newest)
    pinning.tree.put("boot/grub/grub.cfg", grub_cfg([newest, NEW, OLD]))
    assert f"next boot safe (kernel {newest})" in guard(pinning)[1]
    assert default(pinning) is None


def test_no_pin_where_grub_does_not_keep_its_default(pinning):
    pinning.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD], "0"))
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 1 and "not pinned: GRUB does not keep its default: set GRUB_DEFAULT=saved" in text
    assert default(pinning) is None and state(pinning)["pin"] is None


def test_no_pin_to_a_kernel_that_never_ran(system):
    system.driver("sample", PINNED)
    system.running(NEW)
    system.loaded("sample", "ABC")
    guard(system)
    system.remove(NEW)
    code, text = guard(system)
    assert code == 1 and "or never" in text and default(system) is None


def test_no_pin_to_a_kernel_that_does_not_serve(pinning):
    pinning.remove(NEW)
    pinning.remove(OLD)
    code, text = guard(pinning)
    assert code == 1 and "no installed kernel serves all drivers" in text


def test_two_drivers_one_decision(pinning):
    third = "6.0.1-amd64"
    pinning.kernel(third)
    pinning.driver("second", "modules = second\npolicy = pin-last-good\n")
    for kernel in (third, NEW):
        pinning.install(kernel, name="second")
    pinning.install(third)
    pinning.running(third)
    pinning.tree.boot(2)
    pinning.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD, third]))
    assert guard(pinning)[0] == 0
    pinning.remove(NEW)
    # The old kernel serves one of them, the third both.
    guard(pinning)
    assert default(pinning) == advanced(third)


def test_a_driver_that_only_warns_moves_nothing(pinning):
    pinning.driver("second", "modules = second\n")
    code, text = guard(pinning)
    assert code == 1 and "would lose second" in text and default(pinning) is None


def test_pin_never_goes_across_a_revocation(pinning, pair):
    pinning.tree.variable("MokListXRT", siglist(pair.cert.read_bytes()))
    pinning.tree.secure_boot(False)
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 1 and "have not run since the revocation lists changed" in text
    # The old kernel boots under the new lists: it may be pinned.
    pinning.tree.boot(2)
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)
    # They grow again while it is pinned.
    pinning.tree.variable("dbx", siglist(pair.cert.read_bytes()),
                          "d719b2cb-3d3a-4596-a3bc-dad00e67656f")
    code, text = guard(pinning)
    assert code == 1 and "no pin goes across that" in text
    assert default(pinning) is None


# As shim writes it: the first is its level of 15.7, the second revokes shims before 15.8
# and the GRUBs of that time.
SBAT_2023 = b"\6\0\0\0sbat,1,2023012900\nshim,2\ngrub,3\ngrub.debian,4\n"
SBAT_2024 = b"\6\0\0\0sbat,1,2024010900\nshim,4\ngrub,3\ngrub.debian,4\n"


def test_pin_never_goes_across_a_new_level_of_sbat(pinning):
    """A kernel that booted under the old level may not boot under the new one."""
    pinning.tree.variable("SbatLevelRT", SBAT_2023)
    pinning.tree.secure_boot(False)
    pinning.tree.boot(2)
    pinning.remove(NEW)
    # The old kernel runs under the first level: it may be pinned, and stays so.
    for _ in range(2):
        assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)
    first = state(pinning)["booted"]
    pinning.tree.variable("SbatLevelRT", SBAT_2024)
    code, text = guard(pinning)
    assert code == 1 and "no pin goes across that" in text and default(pinning) is None
    assert state(pinning)["booted"] == first, "it did not boot under the new level"
    # It is seen to boot under it; but this kernel's pin was given up.
    pinning.tree.boot(3)
    code, text = guard(pinning)
    assert code == 1 and "the pin was released" in text
    assert state(pinning)["booted"] != first
    # Against another failure it may be pinned again.
    pinning.install(NEW)
    assert guard(pinning)[0] == 0
    pinning.remove(NEW)
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)


def test_sbat_unknown_at_the_boot_of_the_kernel_is_no_leave_to_pin(pinning):
    guard(pinning)
    pinning.tree.variable("SbatLevelRT", SBAT_2023)
    pinning.tree.secure_boot(False)
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 1 and "have not run since the revocation lists changed" in text
    assert default(pinning) is None


def test_pin_has_an_age(pinning):
    pinning.tree.put("etc/kmodkeep/guard.conf", "# days\npin_max_age = 3\n")
    pinning.remove(NEW)
    guard(pinning)
    path = pinning.path / "var/lib/kmodkeep/state.json"
    found = state(pinning)
    found["pin"]["since"] = int(time.time()) - 2 * 86400
    path.write_text(json.dumps(found))
    assert guard(pinning)[0] == 0
    found["pin"]["since"] = int(time.time()) - 4 * 86400
    path.write_text(json.dumps(found))
    code, text = guard(pinning)
    assert code == 1 and "older than pin_max_age" in text and default(pinning) is None
    # Nor does it come back.
    code, text = guard(pinning)
    assert code == 1 and "the pin was released" in text


def test_release(pinning):
    run = pinning.tree.run
    assert run("pin").code == 1
    pinning.remove(NEW)
    guard(pinning)
    shown = run("pin")
    assert shown.code == 0 and f"pinned to kernel {OLD} instead of {NEW}" in shown.out
    assert run("pin", "release").code == 0
    assert default(pinning) is None and not (pinning.path / KEPT).exists()
    code, text = guard(pinning)
    assert code == 1 and "not pinned: the pin was released" in text
    # Once it served again, a new fault is a new one.
    pinning.install(NEW)
    guard(pinning)
    pinning.remove(NEW)
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)
    assert run("pin", "relase").code == 2


def hold(system, kernel=OLD):
    result = system.tree.run("pin", "hold", kernel)
    return result.code, result.text


def test_a_kernel_is_held_though_the_other_serves(system):
    """No policy asks for it, and neither the verdicts nor its age end it."""
    guard(system)
    assert hold(system) == (0, f"kmodkeep: held on kernel {OLD} until one newer than {NEW} is installed\n")
    assert default(system) == advanced(OLD) and (system.path / KEPT).exists()
    path = system.path / "var/lib/kmodkeep/state.json"
    found = state(system)
    found["pin"]["since"] = 1
    path.write_text(json.dumps(found))
    line = f"kmodkeep: next boot safe (kernel {OLD}); held there by hand, in place of {NEW}\n"
    assert guard(system) == (0, line) and hold(system)[0] == 0 and guard(system) == (0, line)
    shown = system.tree.run("pin")
    assert shown.code == 0 and f"held by hand on kernel {OLD} instead of {NEW}" in shown.out
    assert state(system)["pin"]["held"] and json.loads(system.tree.run("state").out)["pin"]["held"]
    assert system.tree.run("pin", "release").code == 0
    assert default(system) is None and guard(system) == (0, f"kmodkeep: next boot safe (kernel {NEW})\n")


def newer_kernel(system, serves):
    newest = "6.13.0-amd64"
    system.kernel(newest)
    if serves:
        system.install(newest)
    system.tree.put("boot/grub/grub.cfg", grub_cfg([newest, NEW, OLD]))
    return newest


def test_a_newer_kernel_ends_what_is_held(system):
    guard(system)
    hold(system)
    newest = newer_kernel(system, serves=True)
    assert f"next boot safe (kernel {newest})" in guard(system)[1]
    assert default(system) is None and state(system)["pin"] is None


def test_a_newer_kernel_that_does_not_serve_is_for_the_policy(pinning):
    """Then it is the policy's pin, which goes when that kernel serves."""
    hold(pinning)
    newest = newer_kernel(pinning, serves=False)
    pinning.remove(NEW)
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)
    pin = state(pinning)["pin"]
    assert not pin["held"] and pin["instead_of"] == newest and pin["why"] == f"kernel {newest} would lose a driver"
    pinning.install(newest)
    guard(pinning)
    assert default(pinning) is None and state(pinning)["pin"] is None


def test_a_pin_of_the_policy_that_is_held_stays(pinning):
    pinning.remove(NEW)
    guard(pinning)
    assert hold(pinning)[0] == 0
    pinning.install(NEW)
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD) and state(pinning)["pin"]["held"]


def test_a_kernel_that_is_gone_is_held_no_more(system):
    """Without it the boot loader starts what it would start without a pin: none is said to be there."""
    guard(system)
    hold(system)
    (system.path / f"boot/vmlinuz-{OLD}").unlink()
    shutil.rmtree(system.path / "lib/modules" / OLD)
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW]))
    assert "is lifted" in guard(system)[1]
    assert default(system) is None and state(system)["pin"] is None


def test_what_cannot_be_held(system):
    """Nothing is changed then, and it is said."""
    for kernel, why in ((OLD, "or never"), ("6.5.0", "kernel 6.5.0 is not installed")):
        code, text = hold(system, kernel)
        assert code == 1 and "pin hold: not held: " in text and why in text, text
    guard(system)
    assert hold(system, NEW) == (0, f"kmodkeep: kernel {NEW} is what boots next, without a pin\n")
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD], "0"))
    code, text = hold(system)
    assert code == 1 and "not held: GRUB does not keep its default" in text
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD]))
    (system.path / "usr/sbin/grub-set-default").write_text("#!/bin/sh\necho no space; exit 1\n")
    code, text = hold(system)
    assert code == 1 and "grub-set-default: no space" in text and default(system) is None
    assert state(system)["pin"] is None
    assert [system.tree.run("pin", *words).code for words in (["hold"], ["hold", OLD, NEW], ["release", OLD])] == [2, 2, 2]


def test_what_is_held_goes_across_no_revocation(system, pair):
    system.tree.secure_boot(False)
    guard(system)
    hold(system)
    system.tree.variable("MokListXRT", siglist(pair.cert.read_bytes()))
    code, text = guard(system)
    assert "the revocation lists changed, and no pin goes across that" in text and default(system) is None


def test_who_changes_the_default_by_hand_is_respected(pinning):
    pinning.remove(NEW)
    guard(pinning)
    pinning.tree.put("boot/grub/grubenv", grubenv(saved_entry="gnulinux-simple-42"))
    code, text = guard(pinning)
    assert code == 1 and "changed by hand" in text
    assert guard(pinning)[0] == 1 and default(pinning) == "gnulinux-simple-42"


def test_tool_that_fails(pinning):
    (pinning.path / "usr/sbin/grub-set-default").write_text("#!/bin/sh\necho no space; exit 1\n")
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 1 and "grub-set-default: no space" in text
    assert state(pinning)["pin"] is None
    (pinning.path / "usr/sbin/grub-set-default").unlink()
    assert "tool is not installed" in guard(pinning)[1]


def test_nothing_is_run_or_set_in_a_folder_that_does_not_run(pinning):
    (pinning.path / "etc/kmodkeep-test-root").unlink()
    ran = pinning.path / "ran"
    (pinning.path / "usr/sbin/grub-set-default").write_text(f"#!/bin/sh\n: >'{ran}'\n")
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 1 and "is not the running system" in text
    assert not ran.exists() and default(pinning) is None and state(pinning)["pin"] is None
    assert not (pinning.path / KEPT).exists()


def test_package_manager_that_cannot_be_told(pinning):
    """The pin is set and recorded; the file is made up for as soon as it can be."""
    (pinning.path / KEPT / "in-the-way").mkdir(parents=True)
    pinning.remove(NEW)
    guard(pinning)
    found = state(pinning)
    assert default(pinning) == advanced(OLD)
    assert (found["pin"]["kernel"], found["pin"]["stage"]) == (OLD, "set")
    assert "package manager is not kept from removing that kernel" in found["pin_problem"]
    (pinning.path / KEPT / "in-the-way").rmdir()
    (pinning.path / KEPT).rmdir()
    assert guard(pinning)[0] == 0
    assert (pinning.path / KEPT).is_file() and state(pinning)["pin"]["kernel"] == OLD


def guard_killed_at(system, syscall, number):
    """False: it never came so far."""
    command = ["strace", "-qq", "-o", system.path / "trace", "-e", f"trace={syscall}",
               "-e", f"inject={syscall}:signal=KILL:when={number}",
               PROGRAM, "guard", "--root", system.path]  # fmt: skip
    # What looks for leaks cannot be traced.
    done = subprocess.run(command, capture_output=True, timeout=120,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    return done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("syscall", ["rename", "unlink", "clone", *["fsync"] * bool(os.environ.get("FULL"))])
@pytest.mark.parametrize("change", ["pin", "lift"])
def test_killed_anywhere(pinning, change, syscall):
    """The next run finishes it, and takes nothing of its own for somebody's."""
    pinning.remove(NEW)
    if change == "lift":
        assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)
        pinning.install(NEW)
    kept = [pinning.path / name for name in
            ("var/lib/kmodkeep/state.json", "boot/grub/grubenv", KEPT, KEPT_BY_DNF5)]  # fmt: skip
    before = {path: path.read_text() if path.exists() else None for path in kept}
    for number in range(1, 30):
        for path, text in before.items():
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        killed = guard_killed_at(pinning, syscall, number)
        for _ in range(2):
            code, text = guard(pinning)
            assert code == 0 and "by hand" not in text, f"{syscall} {number}: {text}"
        found = state(pinning)
        if change == "pin":
            assert default(pinning) == advanced(OLD)
            assert (found["pin"]["stage"], found["pin"]["previous"]) == ("set", None)
        else:
            assert default(pinning) is None and found["pin"] is None
        assert found["pin_released_for"] is None
        assert (pinning.path / KEPT).exists() == (change == "pin")
        if not killed:
            break
    assert not killed and number > 1


def test_disk_full_under_the_state(pinning):
    """Not even root can write a file where a directory is."""
    path = pinning.path / "var/lib/kmodkeep/state.json"
    path.unlink()
    path.mkdir()
    (path / "in-the-way").touch()
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert code == 1 and "cannot be recorded" in text and "state.json: " in text
    assert default(pinning) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99, "pin": 3}', '{"schema": 1, "pin": [1]}'])
def test_damaged_state_is_an_empty_one(pinning, text):
    (pinning.path / "var/lib/kmodkeep/state.json").write_text(text)
    pinning.remove(NEW)
    assert guard(pinning)[0] == 0 and default(pinning) == advanced(OLD)


def test_two_at_once(pinning):
    pinning.remove(NEW)
    command = [PROGRAM, "guard", "--root", pinning.path]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    for process in both:
        process.stdout.close()
    assert default(pinning) == advanced(OLD) and state(pinning)["pin"]["previous"] is None


def test_systemd_boot(pinning):
    (pinning.path / "boot/grub/grub.cfg").unlink()
    tree = pinning.tree
    tree.put("usr/bin/bootctl", BOOTCTL.format(tree=tree.path)).chmod(0o755)
    for kernel in (OLD, NEW):
        tree.put(f"boot/efi/loader/entries/0123-{kernel}.conf",
                 f"version {kernel}\nsort-key debian\nlinux /0123/{kernel}/linux\n")
        tree.put(f"boot/efi/0123/{kernel}/linux", bzimage(kernel))
    tree.put("boot/efi/loader/loader.conf", "timeout 3\n")
    tree.secure_boot(False)
    pinning.remove(NEW)
    guard(pinning)
    assert (pinning.path / "bootctl-default").read_text() == f"0123-{OLD}.conf"
    tree.variable("LoaderEntryDefault", utf16(f"0123-{OLD}.conf"), LOADER)
    assert guard(pinning)[0] == 0
    pinning.install(NEW)
    guard(pinning)
    assert (pinning.path / "bootctl-default").read_text() == ""


def test_metrics(pinning):
    pinning.tree.put("etc/kmodkeep/guard.conf", "prometheus = /var/metrics.prom\nnonsense\nx = 1\n")
    pinning.tree.put("var/metrics.prom")
    pinning.remove(NEW)
    code, text = guard(pinning)
    assert "guard.conf:2: not of the form" in text and "guard.conf:3: unknown setting" in text
    metrics = (pinning.path / "var/metrics.prom").read_text()
    assert "\nkmodkeep_next_boot_safe 1\n" in metrics and "\nkmodkeep_pinned 1\n" in metrics
    assert f'kernel="{NEW}",verdict="missing"}} 0\n' in metrics
    for line in metrics.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [\d.NaN]+", line), line


def test_a_transaction_of_apt_gets_its_line_at_the_end(system):
    mark = system.path / "run/kmodkeep/transaction"
    system.remove(NEW)
    # Nothing happened: nothing to say.
    assert guard(system, "--transaction") == (0, "")
    assert guard(system, "--trigger", DPKG_FRONTEND_LOCKED="true") == (0, "")
    assert mark.exists() and state(system)["safe"] == "no"
    code, text = guard(system, "--transaction")
    assert code == 0 and "next boot would lose sample" in text
    assert not mark.exists()
    # dpkg alone has nobody else to say it.
    code, text = guard(system, "--trigger")
    assert code == 0 and "next boot would lose sample" in text


def test_a_transaction_that_writes_the_menu_is_judged(pinning):
    """A kernel that was left half-way comes into the menu later, by another package."""
    menu = pinning.path / "boot/grub/grub.cfg"
    pinning.remove(NEW)
    menu.write_text(grub_cfg([OLD]))
    assert guard(pinning) == (0, f"kmodkeep: next boot safe (kernel {OLD})\n")
    assert guard(pinning, "--transaction") == (0, "")
    menu.write_text(grub_cfg([NEW, OLD]))
    later = time.time() + 5
    os.utime(menu, (later, later))
    code, text = guard(pinning, "--transaction")
    assert code == 0 and f"pinned, as {NEW} would lose a driver" in text
    assert default(pinning) == advanced(OLD)


@pytest.mark.parametrize("changed", ["boot", "boot/limine/limine.conf", "boot/efi/EFI/BOOT/limine.conf",
                                     "boot/EFI/BOOT/refind.conf", "boot/efi/EFI/fedora/grub.cfg",
                                     "etc/kernel/next-boot-pin", "boot/firmware/config.txt"])  # fmt: skip
def test_a_transaction_that_writes_what_boots_is_judged(pinning, changed):
    """An initramfs that another package had made again, or another loader's configuration."""
    path = pinning.path / changed
    if changed != "boot":
        pinning.tree.put(changed, "")
    earlier = time.time() - 3600
    for each in (path, pinning.path / "boot", path.parent, pinning.path / "boot/grub/grub.cfg"):
        os.utime(each, (earlier, earlier))
    assert pinning.tree.run("guard").code in (0, 1, 3)
    assert not pinning.tree.run("guard", "--transaction").text
    later = time.time() + 10
    os.utime(path, (later, later))
    assert pinning.tree.run("guard", "--transaction").text



def test_container_has_nothing_to_guard(system):
    system.tree.put("run/systemd/container", "lxc\n")
    assert guard(system) == (0, "kmodkeep: nothing to guard in a container\n")
    assert guard(system, "--trigger") == (0, "")
    assert not (system.path / "var/lib/kmodkeep/state.json").exists()


def test_usage(system):
    assert guard(system, "--boot", "--trigger")[0] == 2
    assert guard(system, "nonsense")[0] == 2
