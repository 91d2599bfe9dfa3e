# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmodkeep says of itself, and the manual beside it."""

import re
import subprocess

import pytest

from tests.unit.kmodkeep.host import PROGRAM, TOP

MANUAL = (TOP / "man/kmodkeep.8").read_text().replace("\\-", "-")
VERBS = [["doctor"], ["status"], ["next"], ["repair"], ["adopt"], ["guard"], ["pin"], ["verify"], ["sign"],
         ["smoke"], ["state"], ["gate"], ["notice"], ["manifest", "create"], ["manifest", "check"],
         ["manifest", "sign"], ["manifest", "join"], ["log", "verify"],
         ["key", "create"], ["key", "enroll"], ["key", "enroll", "--via", "setup-mode"], ["key", "status"],
         ["key", "rotate"], ["key", "revoke"], ["key", "retire"]]  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_option_is_in_the_manual(tree, words):
    result = tree.run(*words, "--help", root=False)
    assert result.code == 0 and not result.err
    options = set(re.findall(r"--[a-z-]+", result.out))
    assert "--root" in options or words == ["manifest", "check"]  # which reads no host
    for option in options:
        assert option in MANUAL, option


# What a verb wants to be told before it looks at the host.
WANTED = {"verify": ["--module", "x"], "sign": ["x.ko"], "adopt": ["--all"], "notice": ["--mail"],
          "key revoke": ["--cert", "x"], "key rotate": ["status"]}


@pytest.mark.parametrize("words", [words for words in VERBS if words[0] != "manifest"], ids=" ".join)
def test_a_root_that_is_not_there_is_one_line(words):
    command = [PROGRAM, *words, *WANTED.get(" ".join(words), []), "--root", "/nonexistent"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and not done.stdout
    assert done.stderr.count("\n") == 1 and "/nonexistent" in done.stderr, done.stderr


@pytest.mark.parametrize("words", [*VERBS, ["log", "verify"], ["preflight"], ["pull"], ["package"]], ids=" ".join)
def test_an_option_that_is_none_is_named_in_one_line(words):
    verb = " ".join(words[:2] if words[0] in ("key", "manifest", "log") else words[:1])
    for option in ("--foo", "-z"):
        done = subprocess.run([PROGRAM, *words, option], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and not done.stdout
        assert re.fullmatch(rf"kmodkeep: {verb}: unknown option '{option}'(; see kmodkeep {verb} --help)?\n", done.stderr), done.stderr


@pytest.mark.parametrize("words", [["--json", "-zh"], ["--root=/", "-zh"], ["-zh"], ["--json", "-z"]], ids=" ".join)
def test_a_letter_that_is_none_is_named_by_itself(words):
    """Not the word before it."""
    done = subprocess.run([PROGRAM, "next", *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, "kmodkeep: next: unknown option '-z'\n")


NO_ARGUMENT = ["doctor", "status", "next", "repair", "guard", "state", "gate", "notice", "key create", "key enroll",
               "key enroll --via setup-mode", "key status", "key revoke", "key retire", "preflight", "pull"]


@pytest.mark.parametrize("words", NO_ARGUMENT)
def test_an_argument_too_many_is_named_in_one_line(words):
    done = subprocess.run([PROGRAM, *words.split(), "xyz"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(r"kmodkeep: .*: unexpected argument 'xyz'(; see .*)?\n", done.stderr), done.stderr


@pytest.mark.parametrize("words, said", [
    (["doctor", "--all=yes"], "doctor: --all takes no value"), (["doctor", "--all=yes", "-a"], "doctor: --all takes no value"),
    (["sign", "--key"], "sign: --key needs a value"),
    (["key", "status", "--root"], "key status: --root needs a value"),
    (["gate", "--mark", "begun"], "gate: --mark begun needs the name of a roll-out"),
    (["gate", "--mark", "begun", "one", "--shell"], "gate: --mark excludes --fetch and --shell"),
])  # fmt: skip
def test_what_an_option_lacks_is_named(words, said):
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, f"kmodkeep: {said}\n")


def test_every_verb_is_tried_and_in_the_synopsis(tree):
    named = set(re.findall(r"^  ([a-z]+) ", tree.run("--help", root=False).out, re.M))
    # Those are programs of their own: test_preflight.py, tests/unit/fleet and tests/fleet try them.
    assert named == {words[0] for words in VERBS} | {"preflight", "pull", "fleet"}
    synopsis = MANUAL.split(".SH SYNOPSIS")[1].split(".SH")[0]
    for verb in named:
        assert f"kmodkeep {verb}" in synopsis, verb


def test_every_verdict_is_in_the_manual():
    source = (TOP / "guard/verdict/report.c").read_text()
    words = re.findall(r'^\t\[VERDICT_\w+\] = {\s+"([a-z-]+)"', source, re.M)
    assert len(words) == source.count("[VERDICT_") >= 16
    for word in words:
        assert f"\n.B {word}\n" in MANUAL, word


def test_every_boot_loader_is_among_the_words_of_the_document():
    source = "".join(path.read_text() for path in sorted((TOP / "guard/boot").glob("*.c")))
    words = re.findall(r'^\t\.name = "([\w-]+)"|^NAMED\(\w+, "([\w-]+)"', source, re.M)
    assert len(words) >= 8
    (row,) = re.findall(r"^\| `loader` \|.*$", (TOP / "docs/kmodkeep-json.md").read_text(), re.M)
    for one, other in words:
        assert f"`{one or other}`" in row


def test_every_setting_of_a_driver_is_in_the_manual():
    source = (TOP / "guard/host/dropin.c").read_text()
    for key in re.findall(r'^\t{ "(\w+)", set_', source, re.M):
        assert f"{key} = " in MANUAL, key


def test_front(tree):
    result = tree.run("--help", root=False)
    assert result.code == 0
    for verb in ("verify", "sign", "key", "smoke"):
        assert f"\n  {verb} " in result.out
    assert tree.run("--version", root=False).out.startswith("kmodkeep 0.")
    assert tree.run(root=False).code == 2


def test_every_setting_of_the_guard_is_in_the_manual():
    source = (TOP / "guard/host/guard_conf.c").read_text()
    for key in re.findall(r'strcmp\(key, "(\w+)"\)', source):
        assert f"{key} = " in MANUAL, key


@pytest.mark.parametrize("words, completed", [
    (["re"], ["repair"]), (["adopt", "--po"], ["--policy"]), (["repair", "--"], ["--dry-run", "--yes"]),
    (["key", "rot"], ["rotate"]), (["pin", "ho"], ["hold"]),
    (["manifest", "jo"], ["join"]), (["manifest", "join", "--sig"], ["--signatures"]), (["log", "v"], ["verify"]), (["key", "rotate", "fi"], ["finish"]),
    (["key", "enroll", "--via", "re"], ["redfish"]), (["key", "enroll", "--via", "setup-mode", "--pl"], ["--platform-key", "--platform-cert"]),
    (["preflight", "--ra"], ["--radar"]),
    (["key", "enroll", "--ag"], ["--again"]), (["adopt", "--policy", "w"], ["warn"]),
])  # fmt: skip
def test_completion(words, completed):
    complete(PROGRAM, words, completed)


@pytest.mark.parametrize("words, completed", [
    (["fleet", "ver"], ["verify"]), (["fleet", "verify", "--req"], ["--require-signers"]),
    (["key", "enroll", "--via", "redfish", "--cr"], ["--credentials"]),
])  # fmt: skip
def test_completion_of_many_hosts(tmp_path, words, completed):
    program = tmp_path / "kmodkeep"
    program.write_text(f'#!/bin/sh\n[ "$1" = fleet ] && shift && exec {TOP}/fleet/fleet kmodkeep "$@"\n')
    program.chmod(0o755)
    complete(program, words, completed)


def complete(program, words, completed):
    script = (f"source {TOP}/kmodkeep/kmodkeep.bash; COMP_WORDS=({program} {' '.join(words)}); "
              f"COMP_CWORD={len(words)}; _kmodkeep; printf '%s\\n' \"${{COMPREPLY[@]}}\"")  # fmt: skip
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert not done.stderr and set(completed) <= set(done.stdout.split())
