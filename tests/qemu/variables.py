# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI variables put into OVMF's variable store while no guest runs.

Keys are enrolled as if MokManager had been through it: the lists that shim keeps
are ordinary variables that only boot services see.  The layout is that of EDK II
(MdeModulePkg/Include/Guid/VariableFormat.h): a firmware volume, a header of the
store, then variables one after another, each with a header of 60 bytes.
"""

import struct
import uuid
from pathlib import Path

SHIM = uuid.UUID("605dab50-e046-4300-abb6-3dd810dd8b23")
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
OWNER = uuid.UUID("00000000-0000-0000-0000-000000000001")

AUTHENTICATED = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")
START, ADDED = 0x55AA, 0x3F
NON_VOLATILE, BOOT_SERVICES, RUNTIME = 1, 2, 4
HEADER = struct.Struct("<HBBIQ16sIII16s")
STORE_HEADER = 28


def signature_list(kind, entries):
    """An EFI signature list for each of ENTRIES (bytes) of KIND (X509, SHA256)."""
    return b"".join(
        kind.bytes_le + struct.pack("<III", 44 + len(e), 0, 16 + len(e)) + OWNER.bytes_le + e
        for e in entries
    )


def add(store, name, data, attributes=NON_VOLATILE | BOOT_SERVICES, vendor=SHIM):
    """Append a variable to the file STORE."""
    content = bytearray(Path(store).read_bytes())
    at, end = _free_space(content)
    text = (name + "\0").encode("utf-16-le")
    header = HEADER.pack(START, ADDED, 0, attributes, 0, bytes(16), 0, len(text), len(data),
                         vendor.bytes_le)
    entry = header + text + data
    assert at + len(entry) <= end, f"no room for {name} in {store}"
    content[at : at + len(entry)] = entry
    Path(store).write_bytes(content)


def _free_space(content):
    """Where the next variable goes, and where the store ends."""
    assert content[40:44] == b"_FVH", "not a firmware volume"
    (length,) = struct.unpack_from("<H", content, 48)
    assert content[length : length + 16] == AUTHENTICATED.bytes_le
    (size,) = struct.unpack_from("<I", content, length + 16)
    at = length + STORE_HEADER
    while struct.unpack_from("<H", content, at)[0] == START:
        fields = HEADER.unpack_from(content, at)
        at += HEADER.size + fields[7] + fields[8]
        at = (at + 3) & ~3
    assert content[at : at + HEADER.size] == b"\xff" * HEADER.size
    return at, length + size
