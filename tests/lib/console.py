# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest says on its console: following it, and finding trouble in it."""

import codecs
import re
from pathlib import Path

# Terminal control: CSI sequences, character set choices and single-character
# escapes.  Firmware, shim and GRUB paint their screens with them.
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Z]|[=>78DMEHc])")
UNFINISHED_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[()])?\Z")

# Only the kernel's own lines count, told by their time stamp, so that a test
# may print these words without setting the alarm off.
KERNEL_LINE = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? (?P<text>.*)")
TROUBLE = re.compile(
    r"""
      \bOops\b
    | \bBUG:
    | ^WARNING:                         # WARN_ON, lockdep, RCU
    | ^-+\[\ cut\ here\ \]-+            # the same, if its first line got lost
    | \bKernel\ panic
    | \bgeneral\ protection\ fault
    | ^INFO:\ possible\ (recursive|circular)
    | ^INFO:\ task\ .*\ blocked\ for    # hung task
    | ^rcu:.*\b(stall|starved)
    | \bdetected\ (expedited\ )?stalls
    | \bself-detected\ stall
    | \b(KASAN|KCSAN|KFENCE|UBSAN):
    | \brefcount_t:
    | \bI/O\ error,\ dev\ vd           # this machine's disk is full
    | ^kmemleak:.*\bnew\ suspected
    | \bDEBUG_LOCKS_WARN_ON
    """,
    re.VERBOSE,
)


def scan(text, allow=()):
    """The kernel's complaints in TEXT, as a list of lines.

    ALLOW lists regular expressions of lines that the test provoked.
    """
    allowed = [re.compile(a) for a in allow]
    problems = []
    for line in text.splitlines():
        match = KERNEL_LINE.search(line)
        if not match or not TROUBLE.search(match["text"]):
            continue
        if not any(a.search(line) for a in allowed):
            problems.append(line.strip())
    return problems


class Console:
    """Follows a growing console log; what was matched once is not matched again."""

    def __init__(self, path):
        self.path = Path(path)
        self.text = ""  # all output so far, without terminal control
        self.cursor = 0  # up to where it was consumed by matches
        self._offset = 0  # bytes of the file read so far
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""  # an escape sequence cut short

    def update(self):
        """Take in what was written since the last call; True if there was anything."""
        with open(self.path, "rb") as log:
            log.seek(self._offset)
            data = log.read()
        self._offset += len(data)
        raw = self._pending + self._decoder.decode(data)
        unfinished = UNFINISHED_ESCAPE.search(raw)
        cut = unfinished.start() if unfinished else len(raw)
        self._pending = raw[cut:]
        self.text += ESCAPE.sub("", raw[:cut]).replace("\r", "")
        return bool(data)

    def match(self, pattern):
        """The first match of PATTERN after the last one, or None.

        The last line may be there in part: end a PATTERN with \\n where that matters.
        """
        found = re.compile(pattern, re.MULTILINE).search(self.text, self.cursor)
        if found:
            self.cursor = found.end()
        return found

    def skip(self):
        """Match nothing of what is there so far."""
        self.update()
        self.cursor = len(self.text)

    def tail(self, lines=40):
        """The last LINES lines, for the report of a failure."""
        return "\n".join(self.text.splitlines()[-lines:])
