# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers MokManager, the blue screens that decide which keys a machine trusts.

MokManager is shim's own program, started by shim when a request is pending.  It
reads a keyboard and paints a screen; the firmware sends the same to the serial
console, so the screens are recognised by their text, the selected line by its
colour, and each is also stored as a picture.  Nothing is typed blindly: every key
waits for the screen that it belongs to.
"""

import re
from pathlib import Path

from tests.qemu.secureboot import BOOT_TIMEOUT

STEP_TIMEOUT = 300  # seconds between two screens; idle it is less than one

MENU = "Perform MOK management"
TRIES = 3  # of the password, before MokManager gives up

# The selected line of a menu is the one on black: colour, position, frame, text.
SELECTED = re.compile(rb"\x1b\[40m\x1b\[\d+;\d+H\xb3 *(.*?) *\xb3")


def enrol(guest, password, pictures, timeout=BOOT_TIMEOUT):
    """Enrol the key that waits for it, from GUEST's reset to the next one.

    PASSWORD is the one given with the request.  Returns the pictures, which go
    into the directory PICTURES.
    """
    return Screens(guest, pictures).perform("Enroll MOK", "Enroll the key", password, timeout)


class Screens:
    """MokManager's screens as GUEST shows them, with pictures in the directory PICTURES."""

    def __init__(self, guest, pictures):
        self.guest = guest
        self.directory = Path(pictures)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.pictures = []

    def perform(self, request, question, password, timeout):
        """Confirm REQUEST, a line of the menu, about which MokManager asks QUESTION."""
        self._open(timeout)
        self._answer(request, question, "Yes")
        self._type(password)
        self._choose(MENU, "Reboot", "reboot")
        return self.pictures

    def leave(self, timeout):
        """Open the menu, and boot without having answered anything in it."""
        self._open(timeout)
        self._choose(MENU, "Continue boot", "continue")

    def decline(self, request, question, timeout):
        """Answer QUESTION about REQUEST with no, and boot."""
        self._open(timeout)
        self._answer(request, question, "No")
        self._choose(MENU, "Continue boot", "continue")

    def mistype(self, request, question, password, timeout):
        """Say yes, type another PASSWORD than that of the request as often as is allowed, and boot."""
        self._open(timeout)
        self._answer(request, question, "Yes")
        for _ in range(TRIES):
            self._type(password)
            self._dismiss("Password doesn't match")
        self._dismiss("Failed to enroll keys")
        self._choose(MENU, "Continue boot", "continue")

    def erase(self, password, timeout):
        """Confirm that the list of keys is to be emptied."""
        self._open(timeout)
        self._choose(MENU, "Reset MOK", "menu")
        self._choose(re.escape("Erase all stored keys in MokList"), "Yes", "question")
        self._type(password)
        self._choose(MENU, "Reboot", "reboot")

    def _open(self, timeout):
        # An unanswered request is deleted, so this key must come in time: 10 seconds.
        self._wait("Press any key to perform MOK management", timeout)
        self._picture("press-any-key")
        self.guest.qmp.send_key("ret")

    def _answer(self, request, question, answer):
        self._choose(MENU, request, "menu")
        self._choose(re.escape(f"[{request}]"), "Continue", "key")
        self._choose(re.escape(question), answer, "question")

    def _type(self, password):
        self._wait("Password:")
        self.guest.qmp.type_text(password)
        self._picture("password")
        self.guest.qmp.send_key("ret")

    def _dismiss(self, text):
        self._wait(re.escape(text))
        self._picture("notice")
        self.guest.qmp.send_key("ret")

    def _choose(self, title, line, name):
        """Press enter on LINE of the menu under TITLE, once the menu shows it as selected."""
        self._wait(title)
        self._selected(lambda now: now is not None, f"a selected line under {title!r}")
        tried = []
        while (now := self._now()) != line:
            if now in tried:
                raise AssertionError(f"MokManager's menu {title!r} has no line {line!r}: {tried}")
            tried.append(now)
            self.guest.qmp.send_key("down")
            self._selected(lambda then, now=now: then != now, f"the line after {now!r}")
        self._picture(name)
        self.guest.qmp.send_key("ret")

    def _selected(self, wanted, what):
        self.guest.wait_until(lambda: wanted(self._now()), STEP_TIMEOUT, f"MokManager: {what}")

    def _now(self):
        """The selected line of the screen that was painted last; None: none yet."""
        console = self.guest.console.path.read_bytes()
        frame = console.rfind(b"\x1b[01;01H\xda")
        lines = SELECTED.findall(console, max(frame, 0))
        return lines[-1].decode("ascii", "replace") if lines else None

    def _wait(self, text, timeout=STEP_TIMEOUT):
        self.guest.wait_for(text, timeout, f"MokManager: {text}")

    def _picture(self, name):
        path = self.directory / f"mokmanager-{len(self.pictures) + 1}-{name}.png"
        self.pictures.append(self.guest.screendump(path))
