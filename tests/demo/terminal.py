# SPDX-License-Identifier: GPL-2.0-or-later
"""A person at the guest's console: types a command, answers what it asks."""

import re

PROMPT = r"root@guest:~# "

# What apt and dpkg paint over and over on one line of a terminal.
PROGRESS = re.compile(
    r"""
      Progress:\ \[\ *\d+%\]\ \[[#.]*\]\ ?
    | \(Reading\ database\ \.\.\.\ (\d+%)?(?=\()
    | ^[^\n]*\d+%(\ \[Working\]\ *)?(?=\w)
    | ^[^\n]*\[Working\]\ *
    """,
    re.VERBOSE | re.MULTILINE,
)


def readable(text):
    """TEXT of a terminal without the steps of progress bars."""
    return PROGRESS.sub("", text)


class Terminal:
    """The login shell on the console of GUEST."""

    def __init__(self, guest):
        self._guest = guest

    def wait_login(self, timeout):
        """Wait for the prompt after a boot."""
        self._guest.wait_for(PROMPT, timeout, "the shell prompt on the console")
        # The kernel's lesser messages would be written right into the questions;
        # they are read with dmesg instead.
        self._guest.check("dmesg --console-level err")

    def run(self, command, timeout, answers=None):
        """Type COMMAND, answer what it asks; its exit status and what it showed.

        ANSWERS: {pattern of the question: reply}, each asked once, in any order.
        """
        console = self._guest.console
        begin = console.cursor
        self._guest.send(f"{command}; echo exit status $?\n")
        waiting = {f"q{n}": pair for n, pair in enumerate((answers or {}).items())}
        while True:
            patterns = [rf"(?P<end>^exit status (?P<status>\d+)\n(.*\n)*?{PROMPT})"]
            patterns += [f"(?P<{name}>{question})" for name, (question, _) in waiting.items()]
            what = f"the end of `{command}`"
            if waiting:
                what += f" or one of {[question for question, _ in waiting.values()]}"
            match = self._guest.wait_for("|".join(patterns), timeout, what)
            if match["end"]:
                return int(match["status"]), readable(console.text[begin : match.start()])
            name = next(name for name in waiting if match[name])
            self._guest.send(waiting.pop(name)[1] + "\n")
