# SPDX-License-Identifier: GPL-2.0-or-later
"""A person is told once, by mail or on the desktop, and again only of something new."""

import email
import json
import stat
from pathlib import Path

import pytest

from tests.unit.kmodkeep.system import NEW, OLD, System

SENDMAIL = """\
#!/bin/sh
dir=$(dirname "$0")/../..
[ ! -e "$dir/full" ] || { echo "queue is full"; exit 75; }
printf '%s\\n' "$@" >"$dir/mail.to"
cat >>"$dir/mail"
"""
NOTIFY = """\
#!/bin/sh
for word; do last=$word; done
printf '%s' "$last" >>"$(dirname "$0")/../../shown"
"""


@pytest.fixture
def system(tree):
    """A host whose next kernel lacks the driver; its guard has said so."""
    system = System(tree)
    system.remove(NEW)
    tree.put("run/.keep")
    tree.put("usr/sbin/sendmail", SENDMAIL).chmod(0o755)
    tree.put("usr/bin/notify-send", NOTIFY).chmod(0o755)
    tree.put("etc/kmodkeep/guard.conf", "mail = root@example.org\n")
    assert tree.run("guard").code == 1
    return system


def mail(system):
    done = system.tree.run("notice", "--mail")
    path = system.path / "mail"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return done.code, text


def desktop(system, home):
    done = system.tree.run("notice", "--desktop", env={"HOME": str(home)})
    path = system.path / "shown"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return done.code, text


def found(system):
    return json.loads((system.path / "var/lib/kmodkeep/state.json").read_text())


def test_mail_is_sent_once_for_one_finding(system):
    code, text = mail(system)
    letter = email.message_from_string(text)
    assert code == 0 and letter["To"] == "root@example.org"
    assert letter["Subject"].startswith("[kmodkeep] ")
    assert found(system)["line"] in letter.get_payload() and "sample" in letter.get_payload()
    assert found(system)["next_step"] in letter.get_payload()
    assert (system.path / "mail.to").read_text() == "-odi\n-i\n--\nroot@example.org\n"
    assert mail(system) == (0, "")


def test_what_comes_back_is_told_again(system):
    mail(system)
    system.install(NEW)
    assert system.tree.run("guard").code == 0
    assert mail(system) == (0, "")
    system.remove(NEW)
    assert system.tree.run("guard").code == 1
    assert "sample" in mail(system)[1]


def test_another_finding_is_told(system):
    mail(system)
    system.install(OLD, name="other")
    system.driver("other")
    assert system.tree.run("guard").code == 1
    assert "other" in mail(system)[1]


def test_mail_that_could_not_be_sent_is_sent_later(system):
    (system.path / "full").write_text("")
    done = system.tree.run("notice", "--mail")
    assert done.code == 1 and "queue is full" in done.err
    (system.path / "full").unlink()
    assert "sample" in mail(system)[1]


def test_nobody_is_to_be_told(system):
    system.tree.put("etc/kmodkeep/guard.conf", "")
    assert mail(system) == (0, "")


def test_no_mail_transport_agent(system):
    (system.path / "usr/sbin/sendmail").unlink()
    done = system.tree.run("notice", "--mail")
    assert done.code == 1 and "/usr/sbin/sendmail" in done.err and "guard.conf" in done.err


@pytest.mark.parametrize("address", ["", "-Xlog", "a b", "a@b, c@d", "a\tBcc:x", "<a@b>", "x" * 300, "|sh"])
def test_address_that_is_none(system, address):
    system.tree.put("etc/kmodkeep/guard.conf", f"mail = {address}\n")
    done = system.tree.run("notice", "--mail")
    assert done.code == 0 and "guard.conf:1: mail must be one address" in done.err
    assert not (system.path / "mail").exists()


def test_desktop_is_told_once_and_apart_from_the_mail(system, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mail(system)
    code, text = desktop(system, home)
    assert code == 0 and found(system)["line"] in text
    record = home / ".local/state/kmodkeep/noticed"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert desktop(system, home) == (0, "")
    assert "sample" in desktop(system, tmp_path / "another person")[1]


def test_desktop_takes_nothing_for_markup(system, tmp_path):
    state = found(system)
    state["line"] = "lost: <b>&amp;</b>"
    system.tree.put("var/lib/kmodkeep/state.json", json.dumps(state))
    assert "lost: &lt;b&gt;&amp;amp;&lt;/b&gt;" in desktop(system, tmp_path)[1]


def test_what_cannot_be_remembered_is_not_told_for_ever(system):
    done = system.tree.run("notice", "--desktop", env={})
    assert done.code == 1 and "HOME" in done.err and not (system.path / "shown").exists()


def test_changes_from_outside_are_told(system):
    state = found(system)
    state.update(safe="yes", changes=[{"change": "keys-cleared", "message": "the list is empty",
                                       "next_step": "kmodkeep key enroll"}])
    system.tree.put("var/lib/kmodkeep/state.json", json.dumps(state))
    assert "the list is empty. Next: kmodkeep key enroll\n" in mail(system)[1]


def test_nothing_was_found_yet(system):
    (system.path / "var/lib/kmodkeep/state.json").unlink()
    assert mail(system) == (0, "")


def test_damaged_state_is_not_silence(system):
    system.tree.put("var/lib/kmodkeep/state.json", "{")
    done = system.tree.run("notice", "--mail")
    assert done.code == 3 and "state.json" in done.err


def test_folder_that_does_not_run_tells_nobody(system):
    (system.path / "etc/kmodkeep-test-root").unlink()
    done = system.tree.run("notice", "--mail")
    assert done.code == 1 and "running system" in done.err and not (system.path / "mail").exists()


@pytest.mark.parametrize("words", [[], ["--mail", "--desktop"], ["--mail", "x"], ["--post"]])
def test_usage(system, words):
    assert system.tree.run("notice", *words).code == 2


def test_each_end_of_the_guard_has_the_mail_looked_at():
    """A loss that came back would not be told, nor a change beside a boot that is safe."""
    unit = (Path(__file__).parents[3] / "system/kmodkeep-guard.service").read_text().splitlines()
    assert {f"{when}=kmodkeep-mail.service" for when in ("OnFailure", "OnSuccess")} <= set(unit)
