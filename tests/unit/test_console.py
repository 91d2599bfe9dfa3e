# SPDX-License-Identifier: GPL-2.0-or-later
"""The console: what counts as trouble, and what terminal control hides."""

import pytest

from tests.lib.console import Console, scan

TROUBLE = [
    "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sh:99]",
    "Oops: 0002 [#1] PREEMPT SMP PTI",
    "WARNING: CPU: 0 PID: 1 at kernel/module.c:1 f+0x1/0x2",
    "WARNING: possible circular locking dependency detected",
    "WARNING: suspicious RCU usage",
    "------------[ cut here ]------------",
    "INFO: task rmmod:77 blocked for more than 120 seconds.",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "Kernel panic - not syncing: sysrq triggered crash",
    "general protection fault, probably for non-canonical address",
    "KASAN: null-ptr-deref in range [0x0-0x7]",
    "UBSAN: array-index-out-of-bounds in a.c:1:2",
    "refcount_t: underflow; use-after-free.",
    "I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
]

HARMLESS = [
    "RETBleed: WARNING: Spectre v2 mitigation leaves CPU vulnerable",
    "flightrec: module verification failed: signature and/or required key missing",
    "rcu: Hierarchical RCU implementation.",
    "rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.",
    "x86/cpu: SGX disabled or unsupported by BIOS.",
]


@pytest.mark.parametrize("line", TROUBLE)
@pytest.mark.parametrize("stamp", ["[    1.234567] ", "[    1.234567][   T12] ", "text [1.234567] "])
def test_trouble_is_found(line, stamp):
    assert scan(f"ok\n{stamp}{line}\nok\n") == [f"{stamp}{line}".strip()]


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless_lines_are_not(line):
    assert scan(f"[    1.234567] {line}\n") == []


def test_words_of_programs_do_not_count():
    assert scan("WARNING: apt does not have a stable interface\nBUG: no\n") == []


def test_what_a_test_provokes_is_allowed():
    text = "[    1.000000] WARNING: mine\n[    2.000000] WARNING: other\n"
    assert scan(text, allow=["WARNING: mine"]) == ["[    2.000000] WARNING: other"]


def test_matches_go_forward_and_escapes_are_gone(tmp_path):
    log = tmp_path / "log"
    console = Console(log)
    log.write_bytes(b"\x1b[2J\x1b[01;01Hlogin:\r\n\x1b[0")
    assert console.update()
    assert console.match("login:")
    assert not console.match("login:")
    # the rest of a cut escape sequence, and of a cut character
    log.write_bytes(log.read_bytes() + b"m again \xc3")
    console.update()
    log.write_bytes(log.read_bytes() + b"\xa9 login:")
    console.update()
    assert console.match("login:")
    assert "\x1b" not in console.text
    assert console.text == "login:\n again \xe9 login:"


def test_what_is_skipped_is_not_matched(tmp_path):
    log = tmp_path / "log"
    console = Console(log)
    log.write_bytes(b"Press any key\n")
    console.skip()
    assert not console.match("Press")
    log.write_bytes(log.read_bytes() + b"Press any key\n")
    console.update()
    assert console.match("Press") and not console.match("Press")
