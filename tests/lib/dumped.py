# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest records before its memory is dumped, and how a dump is compared with it."""

# Two writers at once; more than the small channel holds, so that it goes round.
FILL = r"""
fill() {
	yes "<$2>event of writer $1, long enough to go round" | head -n 1500 |
		flightrec write -c small
	yes "writer $1" | head -n 200 | flightrec write
}
fill one 3 & fill two 5
wait
printf 'binary \000\001\377 and "quotes"' >/dev/flightrec/default
head -c 4096 /dev/zero | tr '\0' z >/dev/flightrec/default
"""
OPTIONS = "channels=default,small size_kb=256,96 crash=1,0 events=none quota=67108864"

# The small channel's index has so many entries, room for the records of its five blocks;
# the others hold fewer records than that. A CPU that went idle long ago may keep a block
# with numbers that have lost theirs to later ones: lost for a reader, found in a dump.
INDEXED = 1024

MEMBERS = ["seq", "boot_ns", "wall_ns", "severity", "origin", "interrupt", "pid", "tgid", "uid",
           "euid", "cpu", "comm", "text", "payload_hex"]  # fmt: skip


def of_channel(lines, channel):
    return [[line.get(m) for m in MEMBERS] for line in lines if line["channel"] == channel]


def assert_dumped(lines, listed, channels):
    """LINES, of a dump, have all that was LISTED, and nothing else that a reader could reach."""
    for channel in channels:
        found = of_channel(lines, channel)
        reached = [record for record in found if record[0] > found[-1][0] - INDEXED]
        assert reached == of_channel(listed, channel)
    assert len(of_channel(lines, "default")) >= 402
    assert len(of_channel(lines, "small")) > 300
