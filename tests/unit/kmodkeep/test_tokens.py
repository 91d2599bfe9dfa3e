# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys in tokens: what is refused before any token is asked, and what is remembered.

Signing with a real token is in tests/packaging/test_tokens.py.
"""

import os
import shutil

import pytest

URI = "pkcs11:token=none;object=none"


def sign(tree, module, pair, *words, key=URI):
    return tree.run("sign", "--key", key, "--cert", pair.cert, *words, module)


@pytest.fixture
def copy(plain_module, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    return module


def refused(tree, module, result, message):
    before = module.read_bytes()
    assert result.code == 1, result.text
    assert message in result.err and "Next: " in result.err and len(result.err.splitlines()) == 1
    assert module.read_bytes() == before


@pytest.mark.parametrize("query", ["?pin-value=1234", "?pin-source=file:/pin", ";pin-value=1234"])
def test_no_pin_in_a_uri(tree, copy, pair, query):
    result = sign(tree, copy, pair, key=URI + query)
    refused(tree, copy, result, "the URI of the token key names a PIN")
    assert "1234" not in result.text


def test_unfit_pin_files(tree, copy, pair, tmp_path):
    pin = tmp_path / "pin"
    refused(tree, copy, sign(tree, copy, pair, "--pin-file", pin), "cannot be read: No such file")
    pin.write_text("secret1\n")
    for mode in (0o640, 0o604, 0o666):
        pin.chmod(mode)
        result = sign(tree, copy, pair, "--pin-file", pin)
        refused(tree, copy, result, "can be read or written by others")
        assert "secret1" not in result.text
    pin.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(pin)
    refused(tree, copy, sign(tree, copy, pair, "--pin-file", link), "is a symbolic link")
    pin.write_text("\n")
    refused(tree, copy, sign(tree, copy, pair, "--pin-file", pin), "is empty")


@pytest.fixture
def leaking_library(monkeypatch):
    """OpenSSL 3.0 does not free all of a provider that it could not load."""
    monkeypatch.setenv("ASAN_OPTIONS", ":".join([os.environ.get("ASAN_OPTIONS", ""), "detect_leaks=0"]))


@pytest.mark.usefixtures("leaking_library")
def test_no_provider_or_no_token(tree, copy, pair):
    result = sign(tree, copy, pair)
    assert result.code == 1 and "Next: " in result.err
    assert "provider pkcs11 cannot be loaded" in result.err or "no private key was found" in result.err


@pytest.mark.parametrize("text,message", [
    ("key = pkcs11:object=x\n", "has no key or no certificate"),
    ("key = /etc/key\n", "line 1: "),
    ("# a comment\n\nfrob = 1\n", "line 3: "),
    ("key = pkcs11:a\ncertificate = relative\n", "line 2: "),
    ("key = pkcs11:a\nkey = pkcs11:b\n", "line 2: "),
])  # fmt: skip
def test_bad_settings(tree, copy, text, message):
    tree.put("etc/kmodkeep/signing.conf", text)
    refused(tree, copy, tree.run("sign", copy), message)
    assert message in tree.run("key", "create").err


@pytest.mark.usefixtures("leaking_library")
def test_the_token_of_the_settings_is_the_key(tree, copy, pair, other_pair):
    """Also where there is a pair in files; and its certificate counts as the host's."""
    tree.own_key(other_pair)
    tree.put("srv/token.der", pair.cert.read_bytes())
    tree.put("etc/kmodkeep/signing.conf", "key = pkcs11:token=none;object=none\ncertificate = /srv/token.der\n")
    result = tree.run("sign", copy)
    assert result.code == 1 and "signed" not in result.out
    values = dict(line.split("=", 1) for line in tree.run("key", "status", "--shell").out.splitlines())
    assert values["origin"] == "token" and values["cert"] == f"{tree.path}/srv/token.der"
    tree.secure_boot()
    assert tree.run("sign", "--key", pair.key, "--cert", pair.cert, copy).code == 0
    assert "untrusted-key: signed by 'one', not enrolled" in tree.run("verify", copy).out
    result = tree.run("key", "rotate", "begin")
    assert result.code == 1 and "a key in a token" in result.err
