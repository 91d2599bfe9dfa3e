# SPDX-License-Identifier: GPL-2.0-or-later
"""What the packages ask, and where the answers go."""

import pexpect
import pytest

from tests.packaging.target import Target
from tests.packaging.variants import packages

PASSWORD = "sdfghjkl"  # letters that nothing else in the root has in this order

# kmodkeep on a host with Secure Boot on, whose key is not enrolled yet.
NOT_ENROLLED = """
case "$*" in
    "key status --shell")
        printf 'place=host\\nsecure_boot=on\\nenrolment=not-enrolled\\nkey=/key\\nproblem=\\n' ;;
    "key enroll --password-stdin") cat >/got ;;
esac
"""


@pytest.fixture(scope="module")
def keeper():
    """A system with kmodkeep, where /got is what it was told to enrol with."""
    with Target("bookworm") as target:
        target.install([packages(target.suite)["kmodkeep"]])
        target.in_front_of("kmodkeep", NOT_ENROLLED)
        yield target


QUESTIONS = ["One-time password for enrolling", "The same password again", "The two passwords differ"]


def answer(target, *answers):
    """Configure kmodkeep on a terminal, with ANSWERS to its questions in turn; what was to be seen."""
    command = target.command(["env", "DEBIAN_FRONTEND=readline", "dpkg-reconfigure", "kmodkeep"])
    terminal = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=120)
    seen = ""
    for question, text in answers:
        terminal.expect(QUESTIONS[question])
        seen += terminal.before + terminal.after
        if text is not None:
            terminal.expect(": $")
            seen += terminal.before
            terminal.sendline(text)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    return seen + terminal.before


def check_nowhere(target, password, seen):
    """PASSWORD was not shown and lies nowhere."""
    assert password not in seen
    assert target.run(["grep", "-rlF", password, "/var", "/etc", "/run"], check=False).stdout == ""


def test_the_password_goes_to_kmodkeep_and_nowhere_else(keeper):
    seen = answer(keeper, (0, PASSWORD), (1, PASSWORD))
    assert (keeper.path / "got").read_text() == f"{PASSWORD}\n"
    check_nowhere(keeper, PASSWORD, seen)
    (keeper.path / "got").unlink()


def test_a_password_that_was_mistyped_is_asked_for_again(keeper):
    seen = answer(keeper, (0, PASSWORD + "x"), (1, PASSWORD), (2, None), (0, PASSWORD), (1, PASSWORD))
    assert (keeper.path / "got").read_text() == f"{PASSWORD}\n"
    check_nowhere(keeper, PASSWORD, seen)
    (keeper.path / "got").unlink()


def test_passwords_that_differ_and_then_none(keeper):
    seen = answer(keeper, (0, PASSWORD), (1, PASSWORD + "x"), (2, None), (0, ""))
    assert "Next: kmodkeep key enroll" in seen
    assert not (keeper.path / "got").exists()
    check_nowhere(keeper, PASSWORD, seen)


def test_no_password_means_later(keeper):
    seen = answer(keeper, (0, ""))
    assert "Next: kmodkeep key enroll" in seen
    assert not (keeper.path / "got").exists()


def test_nobody_to_ask_means_later(keeper):
    seen = keeper.run(["dpkg-reconfigure", "kmodkeep"]).stdout
    assert "Next: kmodkeep key enroll" in seen
    assert not (keeper.path / "got").exists()


def test_purge_deletes_the_key_when_told_to():
    with Target("bookworm") as target:
        target.install([packages(target.suite)["kmodkeep"]])
        target.make_key()
        assert (target.path / "var/lib/kmodkeep/keys/signing.key").exists()
        target.run("echo kmodkeep kmodkeep/purge-key boolean true | debconf-set-selections")
        target.apt("purge", "kmodkeep")
        assert not (target.path / "var/lib/kmodkeep").exists()


def test_purge_says_how_to_end_the_trust_in_the_key():
    with Target("bookworm") as target:
        target.install([packages(target.suite)["kmodkeep"]])
        target.make_key()
        target.in_front_of("kmodkeep", "echo the way to remove the key")
        output = target.apt("purge", "kmodkeep")
        assert "the way to remove the key" in output
        assert "the signing key stays in /var/lib/kmodkeep/keys" in output
        left = {p.name for p in (target.path / "var/lib/kmodkeep").rglob("*")}
        assert left == {"keys", "signing.key", "signing.der", "machine-id"}
