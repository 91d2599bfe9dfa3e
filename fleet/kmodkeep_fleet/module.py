# SPDX-License-Identifier: GPL-2.0-or-later
"""What a module file says of itself: .modinfo, the compiler, whether it has BTF.

The bytes come from a build that ran somebody's code, so each offset is checked.
"""

import re
import struct

SECTIONS_MAX = 100_000
TRAILER = b"~Module signature appended~\n"


class Damaged(ValueError):
    """No module of 64 bits, little-endian."""


def sections(data):
    """name -> content, of each section that has content."""
    try:
        if data[:6] != b"\x7fELF\x02\x01":
            raise Damaged("no ELF file of 64 bits, little-endian")
        start, = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        if size != 64 or not 0 < count < SECTIONS_MAX or names >= count:
            raise Damaged("its section table is damaged")
        table = [struct.unpack_from("<IIQQQQ", data, start + number * size) for number in range(count)]
    except struct.error:
        raise Damaged("it is cut") from None
    found = {}

    def content(row):
        _, kind, _, _, offset, length = row
        if kind == 8:  # SHT_NOBITS
            return b""
        if offset + length > len(data):
            raise Damaged("it is cut")
        return data[offset : offset + length]

    texts = content(table[names])
    for row in table[1:]:
        name = texts[row[0] :].split(b"\0", 1)[0].decode("ascii", "replace")
        found.setdefault(name, content(row))
    return found


def describe(data):
    """{"name", "vermagic", "srcversion", "compiler", "btf"}; raises Damaged."""
    if data.endswith(TRAILER):
        raise Damaged("it is signed already")
    parts = sections(data)
    fields = dict(
        item.split("=", 1)
        for item in parts.get(".modinfo", b"").decode("utf-8", "replace").split("\0") if "=" in item
    )  # fmt: skip
    for name in ("name", "vermagic"):
        if not fields.get(name):
            raise Damaged(f"its .modinfo has no {name}")
    compiler = parts.get(".comment", b"").strip(b"\0").split(b"\0")[0].decode("ascii", "replace")
    return {
        "name": fields["name"],
        "vermagic": fields["vermagic"],
        "srcversion": fields.get("srcversion"),
        "compiler": re.sub(r"[^ -~]", "?", compiler)[:255],
        "btf": ".BTF" in parts,
    }
