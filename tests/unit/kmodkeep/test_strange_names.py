# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates of others whose names are long, of other alphabets, or made to deceive.

A certificate that is enrolled, or that comes along with a module, has whatever name its maker
gave it.  It is shown as text, at any place, and never ends a line, moves the cursor, turns the
direction of text or passes for another name.
"""

import json
import re
import shutil
import unicodedata

import pytest

from tests.unit.kmodkeep.host import KERNEL, Pair, siglist

PLACEHOLDER = b"placeholder"
UTF8, PRINTABLE, TELETEX, UNIVERSAL, BMP = 0x0C, 0x13, 0x14, 0x1C, 0x1E
FORGED = "kmodkeep: next boot safe (kernel forged)"

# name -> (type of string, its bytes, what is shown of it; None: OpenSSL reads no such certificate)
NAMES = {
    "65 characters": (UTF8, b"x" * 65, "x" * 65),
    "300 characters": (UTF8, b"y" * 300, "y" * 255 + "..."),
    "cut within a character": (UTF8, "\u00e4".encode() * 200, "\u00e4" * 127 + "..."),
    "BMPString": (BMP, "Schl\u00fcssel \u9375".encode("utf-16-be"), "Schl\u00fcssel \u9375"),
    "half a BMPString": (BMP, b"\0a\0b\0", None),
    "BMPString with a control": (BMP, "a\x1b[2J".encode("utf-16-be"), "a?[2J"),
    "UniversalString": (UNIVERSAL, "\U0001f511 key".encode("utf-32-be"), "\U0001f511 key"),
    "TeletexString": (TELETEX, "Schl\u00fcssel".encode("latin-1"), "Schl\u00fcssel"),
    "controls": (UTF8, b"a\x1b[2J\x07\x7f\r\nb", "a?[2J????b"),
    "a line of ours": (UTF8, b"a\n" + FORGED.encode(), f"a?{FORGED}"),
    "C1 controls": (UTF8, "a\u009b2Jb".encode(), "a??2Jb"),
    "the other direction": (UTF8, "a\u202eb\u2066c".encode(), "a???b???c"),
    "a separator of lines": (UTF8, "a\u2028b".encode(), "a???b"),
    "a name that ends early": (UTF8, b"Debian Secure Boot CA\0evil", "Debian Secure Boot CA?evil"),
    "no UTF-8": (UTF8, b"a\xff\xfeb", None),
    "no text": (UTF8, b"", "/CN="),
    "a shell's words": (PRINTABLE, b"'; touch /tmp/x; $(id) `id` \"%s%n", "'; touch /tmp/x; $(id) `id` \"%s%n"),
    "markup": (UTF8, b"<script>alert(1)</script>&", "<script>alert(1)</script>&"),
}


def der(tag, content):
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


def rdn(tag, value):
    return der(0x31, der(0x30, b"\x06\x03\x55\x04\x03" + der(tag, value)))


def renamed(certificate, *names):
    """CERTIFICATE, whose only name is PLACEHOLDER, with the common names NAMES; its signature breaks."""
    old = der(0x30, rdn(UTF8, PLACEHOLDER))
    assert certificate.count(old) == 2 and certificate[:2] == certificate[4:6] == b"\x30\x82"
    end = 8 + int.from_bytes(certificate[6:8], "big")
    body = certificate[8:end].replace(old, der(0x30, b"".join(rdn(*name) for name in names)))
    return der(0x30, der(0x30, body) + certificate[end:])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("base"), PLACEHOLDER.decode())


@pytest.fixture
def named(tree, base, tmp_path, plain_module):
    """Makes a host whose key has the names given, and which has a module that it signed."""
    def make(*names):
        pair = Pair.__new__(Pair)
        pair.key, pair.cert = base.key, tmp_path / "strange.der"
        pair.cert.write_bytes(renamed(base.cert.read_bytes(), *names))
        tree.own_key(pair)
        tree.secure_boot()
        tree.esp()
        tree.add_mokutil()
        module = tree.put(f"lib/modules/{KERNEL}/updates/m.ko", plain_module.read_bytes())
        tree.put("run/.keep")
        return pair, module

    return make


def is_text(said):
    return not [c for c in said if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def words_of(tree, pair, module):
    """All that says a name: of the host's key, of a signer, of an enrolled, a waiting and a lost key."""
    yield tree.run("key", "status")
    yield tree.run("key", "status", "--shell")
    yield tree.run("sign", module)
    yield tree.run("sign", "--add", module)
    yield tree.run("verify", module)
    yield tree.run("doctor")
    yield tree.run("key", "enroll", "--dry-run")
    yield tree.run("key", "enroll", "--password-stdin", input="plumbdogfish\n")
    yield tree.run("key", "status", "--how-to-remove")
    yield tree.run("verify", module)
    tree.variable("MokListRT", siglist(pair.cert.read_bytes()))
    yield tree.run("key", "enroll")
    yield tree.run("key", "status", "--how-to-remove")
    yield tree.run("verify", module)
    yield tree.run("key", "revoke", "--cert", pair.cert, "--dry-run")
    yield tree.run("key", "rotate", "begin", "--dry-run")
    yield tree.run("guard", "--boot")
    tree.variable("MokListRT", siglist())
    tree.boot(2)
    yield tree.run("guard", "--boot")  # shim trusts these keys no more
    yield tree.run("status")


@pytest.mark.parametrize("case", NAMES)
def test_name_is_shown_as_text_everywhere(tree, named, case):
    tag, value, shown = NAMES[case]
    pair, module = named((tag, value))
    report = json.loads(tree.run("key", "status", "--json").out)
    assert report["name"] == shown
    if shown is None:
        assert "signing.der" in report["problem"] and report["next_step"]
        name = None
    else:
        name = report["name"]
        assert is_text(name) and len(name.encode()) < 300
    said = list(words_of(tree, pair, module))
    for result in said:
        assert is_text(result.text), result.text
        assert not re.search(f"^{re.escape(FORGED)}", result.text, re.MULTILINE), result.text
    whole = "".join(result.text for result in said)
    assert not name or whole.count(name) >= 10, whole
    state = tree.path / "var/lib/kmodkeep/state.json"
    assert is_text(json.dumps(json.loads(state.read_text()), ensure_ascii=False))
    motd = tree.path / "run/motd.d/kmodkeep"
    assert is_text(motd.read_text())


def test_last_of_several_names_counts(tree, named):
    """As in the kernel's own description of such a key; the one before is no disguise."""
    named((UTF8, b"Debian Secure Boot CA"), (UTF8, b"evil"))
    assert json.loads(tree.run("key", "status", "--json").out)["name"] == "evil"


def test_enrolled_certificate_that_cannot_be_read_leaves_a_doubt(tree, named, base):
    """The kernel, which takes names as bytes, may trust its key: whose a signature is cannot be told."""
    _, module = named((UTF8, b"somebody"))
    assert tree.run("sign", module).code == 0
    tree.variable("MokListRT", siglist(base.cert.read_bytes()[:-1]))
    assert ": untrusted-key: " in tree.run("verify", module).out  # none at all
    tree.variable("MokListRT", siglist(renamed(base.cert.read_bytes(), (BMP, b"\0a\0"))))
    result = tree.run("verify", module)
    assert result.code == 3 and ": unknown: " in result.out, result.text


def test_tool_for_keys_takes_no_option_from_a_name(tree, named):
    pair, module = named((UTF8, b"--root=/"))
    shutil.copy(pair.cert, tree.path / "copy.der")
    result = tree.run("sign", module)
    assert result.code == 0, result.text
    assert ": untrusted-key: signed by '--root=/'" in tree.run("verify", module).out
