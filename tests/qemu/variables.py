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
START, ADDED, DELETED = 0x55AA, 0x3F, 0xFD
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


def _first(content):
    """Where the first variable is, and where the store ends."""
    assert content[40:44] == b"_FVH", "not a firmware volume"
    (length,) = struct.unpack_from("<H", content, 48)
    assert content[length : length + 16] == AUTHENTICATED.bytes_le
    (size,) = struct.unpack_from("<I", content, length + 16)
    return length + STORE_HEADER, length + size


def _step(content, at):
    """Where the variable after the one at AT would be."""
    fields = HEADER.unpack_from(content, at)
    return (at + HEADER.size + fields[7] + fields[8] + 3) & ~3


def _free_space(content):
    """Where the next variable goes, and where the store ends."""
    at, end = _first(content)
    while struct.unpack_from("<H", content, at)[0] == START:
        at = _step(content, at)
    assert content[at : at + HEADER.size] == b"\xff" * HEADER.size
    return at, end


def _walk(content):
    """(where, name, data) of each variable that was not deleted."""
    at, _ = _first(content)
    while struct.unpack_from("<H", content, at)[0] == START:
        fields = HEADER.unpack_from(content, at)
        name = bytes(content[at + HEADER.size : at + HEADER.size + fields[7]]).decode("utf-16-le")[:-1]
        data = at + HEADER.size + fields[7]
        if fields[1] == ADDED:
            yield at, name, bytes(content[data : data + fields[8]])
        at = _step(content, at)


def delete(store, name):
    """Take the variable NAME away from the file STORE, as the firmware's own set-up does."""
    content = bytearray(Path(store).read_bytes())
    found = [at for at, variable, _ in _walk(content) if variable == name]
    assert found, f"no variable {name} in {store}"
    for at in found:
        content[at + 2] &= DELETED
    Path(store).write_bytes(content)


def extend(store, name, more):
    """Append the lists MORE to the variable NAME of the file STORE, which has it."""
    content = Path(store).read_bytes()
    [(at, data)] = [(at, data) for at, variable, data in _walk(content) if variable == name]
    fields = HEADER.unpack_from(content, at)
    delete(store, name)
    add(store, name, data + more, fields[3], uuid.UUID(bytes_le=fields[9]))


def certificates(store, name):
    """The certificates (DER) of the list NAME in the file STORE."""
    [data] = [data for _, variable, data in _walk(Path(store).read_bytes()) if variable == name]
    found = []
    while data:
        length, header, size = struct.unpack_from("<III", data, 16)
        if data[:16] == X509.bytes_le:
            found += [data[at + 16 : at + size] for at in range(28 + header, length, size)]
        data = data[length:]
    return found


def names(store):
    """The variables of the file STORE that are there."""
    return {name for _, name, _ in _walk(Path(store).read_bytes())}
