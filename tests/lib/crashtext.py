# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's crash text, taken from a console: see src/uapi/flightrec_crash.h."""

import re
import zlib
from dataclasses import dataclass, field

LINE = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? (?P<line>flightrec: (?P<text>[BRE] .*) (?P<check>[0-9a-f]{8}))$")
RECORD = re.compile(
    r"R (?P<boot>[0-9a-f]{8}) (?P<channel>[a-z0-9_-]+) (?P<seq>\d+) \d+ \d+ [0-7] "
    r"(?P<origin>[uki]) \d+ \d+ \d+ \d+ \d+ (?P<len>\d+) (?P<mark>[=+]) (?P<comm>\S+) "
    r'"(?P<payload>.*)"'
)
END = re.compile(r"E [0-9a-f]{8} (\d+) (\d+) (\d+)")
LINE_MAX = 900
SET_MAX = 4096


@dataclass
class CrashSet:
    """One set; its records as matches of RECORD."""

    boot: str
    number: int
    reason: str
    records: list = field(default_factory=list)
    unpublished: int = 0
    bytes: int = 0
    ended: bool = False

    def payloads(self, channel):
        """The payloads of CHANNEL's records, still escaped, in order."""
        return [r["payload"] for r in self.records if r["channel"] == channel]


def crash_sets(console):
    """All sets on a CONSOLE; asserts that each is within its bounds and undamaged."""
    sets = []
    for line in console.splitlines():
        match = LINE.search(line)
        if not match:
            continue
        text = match["text"]
        assert zlib.crc32(text.encode()) == int(match["check"], 16), line
        assert len(match["line"]) <= LINE_MAX, line
        if text.startswith("B "):
            version, boot, number, reason = text.split()[1:]
            assert version == "1", line
            sets.append(CrashSet(boot, int(number), reason))
        assert sets and not sets[-1].ended, f"outside of a set: {line}"
        sets[-1].bytes += len(match["line"]) + 1
        if text.startswith("R "):
            record = RECORD.fullmatch(text)
            assert record and sets[-1].boot.startswith(record["boot"]), line
            sets[-1].records.append(record)
        elif text.startswith("E "):
            number, printed, unpublished = map(int, END.fullmatch(text).groups())
            assert (number, printed) == (sets[-1].number, len(sets[-1].records)), line
            sets[-1].unpublished = unpublished
            sets[-1].ended = True
    for crash_set in sets:
        assert crash_set.ended and crash_set.bytes <= SET_MAX, crash_set
    return sets
