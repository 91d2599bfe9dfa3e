# SPDX-License-Identifier: GPL-2.0-or-later
"""The direct guests themselves: each kernel boots, and no failure goes unseen."""

import hashlib
import signal

import pytest

from tests.lib import console
from tests.lib.guest import Guest, GuestError, parse_verdict, read_channel
from tests.lib.kernels import KERNELS
from tests.qemu import direct
from tests.qemu.direct import compile_static, direct_guest, emulator_failed, run_direct

ANY = "6.1"  # what is tested is the runner, so one kernel will do


@pytest.mark.parametrize("kernel", KERNELS)
def test_boots_and_reports(kernel):
    script = """
        ok first
        check modprobe_with_dependency modprobe sit
        check its_dependency test -d /sys/module/ip_tunnel
        skip third 'nothing to see'
    """
    verdict = run_direct(kernel, {}, script, stock=["sit"])
    assert verdict.ok, verdict.explain()
    assert verdict.skipped == [("third", "nothing to see")]


def test_not_ok_and_a_script_that_ends_early_are_failures():
    verdict = run_direct(ANY, {}, "ok one\nnot_ok two 'because'\nexit 3\nok three")
    assert not verdict.ok
    assert verdict.failed == [("two", "because"), ("main", "exit status 3")]
    assert "not ok two - because" in verdict.explain()


def test_only_a_boot_that_the_emulator_ended_is_started_again(monkeypatch, tmp_path, capsys):
    hit = "[    1.450208] Oops: int3: 0000 [#1] SMP NOPTI\n"
    assert emulator_failed(hit)
    assert not emulator_failed("[    1.450208] Oops: 0002 [#1] SMP NOPTI\n")
    assert not emulator_failed(f"[    1.4] {direct.PROCESS_1}\n" + hit)

    # A line of every boot stands for the breakpoint: each one is taken for broken.
    monkeypatch.setattr(direct, "STALE_BREAKPOINT", "Linux version")
    with direct_guest(ANY, {}, "ok one", tmp_path) as guest:
        assert guest.wait_verdict(120).passed == ["one"]  # the last one counts as it is
    assert capsys.readouterr().out.count("once more") == guest.BOOTS - 1


def test_boot_that_stops_is_started_again(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(direct.DirectGuest, "BOOT_TIMEOUT", 0.3)  # no boot is that quick
    with direct_guest(ANY, {}, "ok one", tmp_path) as guest:
        assert guest.wait_verdict(120).passed == ["one"]
    assert capsys.readouterr().out.count("without process 1; once more") == guest.BOOTS - 1


def test_boot_in_which_the_emulator_aborts_is_started_again(monkeypatch, tmp_path, capsys):
    start, boots = Guest.start, []

    def start_and_abort(guest):
        start(guest)
        boots.append(guest)
        if len(boots) == 1:
            guest.process.send_signal(signal.SIGABRT)

    monkeypatch.setattr(Guest, "start", start_and_abort)
    with direct_guest(ANY, {}, "ok one", tmp_path) as guest:
        assert guest.wait_verdict(120).passed == ["one"]
    assert len(boots) == 2 and "aborted by itself; once more" in capsys.readouterr().out


def test_silence_is_a_failure():
    verdict = run_direct(ANY, {}, "poweroff -f")
    assert not verdict.ok
    assert not verdict.done


def test_hanging_guest_is_a_failure_and_says_where(tmp_path):
    script = "ok one\necho last-words\nsleep 1000"
    with direct_guest(ANY, {}, script, tmp_path) as guest:
        guest.wait_for("last-words", 120)
        verdict = guest.wait_verdict(2)
    assert not verdict.ok
    assert "2 s passed while waiting for the verdict" in verdict.explain()
    assert "last-words" in verdict.explain()


@pytest.mark.parametrize("oops_panics", [True, False])
def test_oops_is_a_failure(oops_panics):
    # In a child: the oops kills the process that provokes it.
    script = "ok one\nsh -c 'echo c >/proc/sysrq-trigger'\nok two"
    verdict = run_direct(ANY, {}, script, oops_panics=oops_panics)
    assert not verdict.ok
    assert any("sysrq triggered crash" in problem for problem in verdict.problems)


def test_warning_of_the_kernel_is_a_failure():
    script = "ok one\necho 'WARNING: as if' >/dev/kmsg"
    verdict = run_direct(ANY, {}, script)
    assert verdict.done and not verdict.ok
    assert console.scan(verdict.console, allow=["WARNING: as if"]) == []


def test_programs_report_through_a_file(tmp_path):
    source = tmp_path / "program.c"
    source.write_text(
        "#include <stdio.h>\n"
        "int main(int argc, char **argv)\n"
        "{\n"
        '\tFILE *out = fopen(argv[1], "a");\n'
        "\tif (!out || argc != 3)\n\t\treturn 2;\n"
        '\tfprintf(out, "ok from_c\\n");\n'
        "\treturn argv[2][0] - '0';\n"
        "}\n"
    )
    program = compile_static([source], tmp_path / "program")
    script = "run_program /program 0\nrun_program /program 5\nrun_program /bin/true"
    verdict = run_direct(ANY, {"program": program}, script)
    assert verdict.passed == ["from_c", "from_c"]
    assert verdict.failed == [
        ("program", "exit status 5"),
        ("true", "no results, exit status 0"),
    ]


def test_console_can_be_written_to(tmp_path):
    script = "echo 'your name?'\nread -r name\nok \"$name\""
    with direct_guest(ANY, {}, script, tmp_path) as guest:
        guest.wait_for(r"your name\?", 120)
        guest.send("flightrec\n")
        verdict = guest.wait_verdict(60)
    assert verdict.passed == ["flightrec"]


def test_nmi_reset_and_screen(tmp_path):
    with direct_guest(ANY, {}, "ok up\nsleep 1000", tmp_path, display=True) as guest:
        guest.wait_for("result. ok up", 120)
        picture = guest.screendump(tmp_path / "screen.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
        guest.qmp.inject_nmi()
        guest.wait_for("NMI received", 60)
        guest.qmp.system_reset()
        assert guest.wait_exit(60) == 0  # reboot=False: a reset ends QEMU


def test_qemu_that_does_not_start_says_why():
    with pytest.raises(GuestError, match="no-such-option"):
        with Guest(["-no-such-option"]):
            pass


LINES = ["ok a\n", "not ok b - why\n", "skip c - why not\n", "note d\n", "ok ab\n"]


def told(lines, arrived=None):
    """What the channel has when a guest wrote LINES and those that ARRIVED arrived."""
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    done = f"GUEST-DONE lines={len(lines)} sha256={digest}\n"
    return "".join([*(lines if arrived is None else arrived), done])


def test_verdict_that_adds_up():
    verdict = parse_verdict(told(LINES))
    assert verdict.done and not verdict.problems
    assert (verdict.passed, verdict.notes) == (["a", "ab"], ["d"])
    assert parse_verdict(told(["ok a\n"])).ok


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "no GUEST-DONE line"),
        ("ok a\n", "no GUEST-DONE line"),
        (told([]), "not one test ran"),
        (told(["ok a\n", "nonsense\n"]), "not a result"),
        (told(["ok a\n"]) + "ok b\n", "a line after the last"),
    ],
)
def test_verdicts_that_do_not_add_up(text, problem):
    verdict = parse_verdict(text)
    assert not verdict.ok
    assert any(problem in p for p in verdict.problems)


@pytest.mark.parametrize("at", range(len(LINES)))
@pytest.mark.parametrize(
    "damage, problem",
    [
        (lambda line: [], "4 lines arrived, the guest wrote 5"),
        (lambda line: [line, line], "6 lines arrived, the guest wrote 5"),
        (lambda line: [line[:-2] + "\n"], "not what the guest wrote"),
        (lambda line: [line[:-1]], "verdict channel: "),
        (lambda line: [line.replace(" ", " x", 1)], "not what the guest wrote"),
    ],
    ids=["lost", "twice", "torn", "joined", "changed"],
)
def test_line_that_did_not_arrive_as_it_was(at, damage, problem):
    verdict = parse_verdict(told(LINES, [*LINES[:at], *damage(LINES[at]), *LINES[at + 1:]]))
    assert any(problem in p for p in verdict.problems), verdict.problems


def test_lines_that_arrived_in_another_order():
    verdict = parse_verdict(told(LINES, LINES[::-1]))
    assert any("not what the guest wrote" in p for p in verdict.problems)


def test_line_in_the_making_is_left_out(tmp_path):
    memory = tmp_path / "memory"
    memory.write_bytes((9).to_bytes(8, "little") + b"ok a\nok b\n" + bytes(100))
    assert read_channel(memory) == "ok a\n"
    memory.write_bytes((99).to_bytes(8, "little") + b"ok a\n")
    with pytest.raises(GuestError, match="99 bytes"):
        read_channel(memory)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_line_is_lost(kernel):
    """Of several writers at once; the machine is switched off right after the last one."""
    script = """
        for writer in 1 2 3 4; do
            { for i in $(seq 100); do ok "$writer-$i"; done; } &
        done
        wait
        seq 5000 >/run/numbers
        note numbers cat /run/numbers
    """
    verdict = run_direct(kernel, {}, script)
    assert verdict.ok, verdict.explain()
    assert sorted(verdict.passed) == sorted(
        ["numbers", *(f"{writer}-{i}" for writer in range(1, 5) for i in range(1, 101))]
    )
    assert verdict.notes == [str(i) for i in range(1, 5001)]


def test_verdict_before_a_panic_is_there(tmp_path):
    with direct_guest(ANY, {}, "ok one\necho c >/proc/sysrq-trigger", tmp_path) as guest:
        guest.wait_exit(120)
        assert read_channel(guest.channel) == "ok one\n"


def test_result_that_cannot_be_told_is_a_failure():
    verdict = run_direct(ANY, {}, "ok one\nRESULTS=/nowhere/results\nok two\nok three")
    assert verdict.passed == ["one"] and not verdict.done
    assert "verdict: /nowhere/results: No such file" in verdict.console
    verdict = run_direct(ANY, {}, "ok one\nnote much seq 300000\nok two")
    assert verdict.passed == ["one"] and not verdict.done
    assert "the verdict channel is full" in verdict.console
