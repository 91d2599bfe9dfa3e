# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's crash text, taken from a console: see src/uapi/flightrec_crash.h."""

import re
import zlib
from dataclasses import dataclass, field

LINE = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? (?P<line>flightrec: (?P<text>[BGE] .*) (?P<check>[0-9a-f]{8}))$")
GROUP = re.compile(r"G (?P<boot>[0-9a-f]{8}) (?P<channel>[a-z0-9_-]+) (?P<seq>\d+) \d+ \d+ (?P<words>.*)")
CHANGE = re.compile(r"(?:[SOFPQUVCGB+]\d+|W-?\d+|N\S*) ")
PAYLOAD = re.compile(r'-?\d+"(?P<payload>(?:[^"\\]|\\.)*)"(?:\+(?P<full>\d+))?(?: |$)')
END = re.compile(r"E [0-9a-f]{8} (\d+) (\d+) (\d+)")
LINE_MAX = 900
SET_MAX = 4096


def records_of(text):
    """The records of a G line: dictionaries with channel, seq, payload (escaped), full (None: not cut)."""
    group = GROUP.fullmatch(text)
    assert group, text
    seq, words = int(group["seq"]) - 1, group["words"]
    while words:
        seq += 1
        while change := CHANGE.match(words):
            seq += int(change[0][1:]) if change[0][0] == "+" else 0
            words = words[change.end():]
        record = PAYLOAD.match(words)
        assert record, text
        words = words[record.end():]
        yield {"boot": group["boot"], "channel": group["channel"], "seq": seq, "payload": record["payload"],
               "full": record["full"] and int(record["full"])}  # fmt: skip


@dataclass
class CrashSet:
    """One set; its records as records_of() has them."""

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


def crash_sets(console, most=SET_MAX):
    """All sets on a CONSOLE; asserts that each has at most MOST bytes and is undamaged."""
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
            assert version == "2", line
            sets.append(CrashSet(boot, int(number), reason))
        assert sets and not sets[-1].ended, f"outside of a set: {line}"
        sets[-1].bytes += len(match["line"]) + 1
        if text.startswith("G "):
            records = list(records_of(text))
            assert records and sets[-1].boot.startswith(records[0]["boot"]), line
            sets[-1].records += records
        elif text.startswith("E "):
            number, printed, unpublished = map(int, END.fullmatch(text).groups())
            assert (number, printed) == (sets[-1].number, len(sets[-1].records)), line
            sets[-1].unpublished = unpublished
            sets[-1].ended = True
    for crash_set in sets:
        assert crash_set.ended and crash_set.bytes <= most, crash_set
    return sets
