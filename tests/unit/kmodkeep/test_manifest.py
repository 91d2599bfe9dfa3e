# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules that are built in one place and signed in another: manifest, log, two signers."""

import json
import os
import re
import shutil
import subprocess
from hashlib import sha256

import jsonschema
import pytest

from tests.unit.kmodkeep.host import KERNEL, PROGRAM, TOP, siglist

SCHEMA = json.loads((TOP / "docs/manifest.schema.json").read_text())
MAGIC = b"~Module signature appended~\n"


class Works:
    """Two builders' folders with the same modules, and what is done with them."""

    def __init__(self, tree, path, plain_module, pairs):
        self.tree, self.path, self.pairs = tree, path, pairs
        self.plain = plain_module.read_bytes()
        self.log = path / "signing.log"
        tree.put(f"boot/config-{KERNEL}", 'CONFIG_MODULE_SIG_HASH="sha256"\n')
        for builder in ("a", "b"):
            (path / builder).mkdir()
            shutil.copy(plain_module, path / builder / "sample.ko")
            result = self.create(builder)
            assert result.code == 0, result.text

    def manifest(self, builder="a"):
        return self.path / builder / "manifest.json"

    def create(self, builder, *words, files=("sample.ko",)):
        return self.tree.run(
            "manifest", "create", "--output", self.manifest(builder), "--kernel-package",
            f"linux-image-{KERNEL}=6.1.124-1", "--builder", builder, *words,
            *(self.path / builder / f for f in files))  # fmt: skip

    def change(self, builder, keys):
        document = json.loads(self.manifest(builder).read_text())
        for key, value in keys.items():
            (document if key in document else document["modules"][0])[key] = value
        self.manifest(builder).write_text(json.dumps(document))

    def check(self, *builders):
        return self.tree.run("manifest", "check", *map(self.manifest, builders), root=False)

    def sign(self, signer, *words, agrees="b", pair=None):
        pair = pair or self.pairs[signer]
        return self.tree.run(
            "manifest", "sign", "--agrees", self.manifest(agrees), "--for", "release team",
            "--key", pair.key, "--cert", pair.cert, "--output", self.path / f"by{signer}",
            "--log", self.log, *words, self.manifest("a"))  # fmt: skip

    def join(self, *signers, certs=None, words=()):
        certs = [self.pairs[s].cert for s in signers] if certs is None else certs
        return self.tree.run(
            "manifest", "join", "--output", self.path / "out",
            *(w for s in signers for w in ("--signatures", self.path / f"by{s}")),
            *(w for c in certs for w in ("--cert", c)), *words, self.manifest("a"))  # fmt: skip

    @property
    def signature(self):
        return self.path / "by0/sample.ko.p7s"

    @property
    def joined(self):
        return self.path / "out/sample.ko"

    def verify(self, *words, root=True):
        return self.tree.run("verify", *words, self.joined, root=root)

    def lines(self):
        return self.log.read_bytes().splitlines()


@pytest.fixture
def works(tree, tmp_path, plain_module, pair, other_pair):
    return Works(tree, tmp_path, plain_module, [pair, other_pair])


def both_certs(works):
    return [w for p in works.pairs for w in ("--cert", p.cert)]


def test_from_two_builders_to_two_signers(works):
    assert works.check("a", "b").out.splitlines() == [
        f"{works.manifest('a')}: 1 modules for kernel {KERNEL} are what it says",
        "the builders 'a' and 'b' made the same"]  # fmt: skip
    for signer in (0, 1):
        result = works.sign(signer)
        assert result.code == 0, result.text
    result = works.join(0, 1)
    assert result.code == 0, result.text
    result = works.verify(*both_certs(works), "--require-signers", "2", "--log", works.log)
    assert result.code == 0 and ": ok: signed by" in result.out, result.text
    # The same bytes as one who has both keys makes.
    module = works.path / "at-once.ko"
    module.write_bytes(works.plain)
    for n, pair in enumerate(works.pairs):
        works.tree.run("sign", "--key", pair.key, "--cert", pair.cert, *["--add"] * n, module)
    assert works.joined.read_bytes() == module.read_bytes()
    assert works.joined.read_bytes().count(MAGIC) == 1
    # And what was built is as it was.
    assert works.check("a").code == 0


def test_recipe_of_the_page(works):
    recipe = (TOP / "docs/signing.md").read_text().split("## Keys off the hosts", 1)[1]
    recipe = re.search(r"(?:^    kmodkeep .*\n)+", recipe, re.M)[0]
    for name, pair in zip(("one", "two"), works.pairs):
        shutil.copy(pair.key, works.path / f"{name}.key")
        shutil.copy(pair.cert, works.path / f"{name}.der")
    for word in ("manifest create", "verify", "log verify"):
        assert f"kmodkeep {word} " in recipe
    recipe = recipe.replace("manifest create ", f"manifest create --root {works.tree.path} ")
    script = f"set -e\nkmodkeep() {{ {PROGRAM} \"$@\"; }}\npackage=linux-image=1 kernel={KERNEL}\n{recipe}"
    done = subprocess.run(["sh", "-c", script], cwd=works.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "signed/sample.ko: ok: " in done.stdout and "one.log: whole, 1 lines" in done.stdout


def test_signature_is_what_openssl_makes_and_takes(works):
    assert works.sign(0).code == 0
    module, cert, pem = works.path / "a/sample.ko", works.pairs[0].cert, works.path / "one.pem"
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", cert, "-out", pem], check=True)
    made = subprocess.run(
        ["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-md", "sha256",
         "-outform", "DER", "-signer", pem, "-inkey", works.pairs[0].key, "-in", module],
        check=True, capture_output=True).stdout  # fmt: skip
    assert works.signature.read_bytes() == made


def test_manifest_is_as_its_schema_says(works):
    document = json.loads(works.manifest().read_text())
    jsonschema.validate(document, SCHEMA)
    module = document["modules"][0]
    assert module["sha256"] == sha256(works.plain).hexdigest() and module["size"] == len(works.plain)
    assert module["name"] == "sample" and module["srcversion"] == "ABC"
    assert document["compiler"].startswith("GCC: ") and document["pahole"] is None
    [example] = re.findall(r"^    {\n(?:    .*\n)+", (TOP / "docs/manifest.md").read_text(), re.M)
    jsonschema.validate(json.loads(example), SCHEMA)


def test_what_cannot_be_known_is_asked_for(works):
    (works.tree.path / f"boot/config-{KERNEL}").unlink()
    result = works.create("a")
    assert result.code == 1 and "name the hash with --hash" in result.err
    assert works.create("a", "--hash", "sha512").code == 0
    assert works.create("a", "--hash", "crc7").code == 1
    for word in ("linux-image", "=1", "x="):
        result = works.tree.run("manifest", "create", "--output", works.manifest(), "--kernel-package",
                                word, works.path / "a/sample.ko")  # fmt: skip
        assert result.code == 2 and "NAME=VERSION" in result.err
    btf = works.path / "a/sample.ko"
    note = works.path / "note"
    note.write_text("types")
    subprocess.run(["objcopy", "--add-section", f".BTF={note}", btf], check=True)
    result = works.create("a", "--hash", "sha256")
    assert result.code == 1 and "--pahole" in result.err
    assert works.create("a", "--hash", "sha256", "--pahole", "v1.24").code == 0


def test_create_takes_only_modules_as_built(works):
    before = works.manifest().read_bytes()
    signed = works.path / "a/signed.ko"
    signed.write_bytes(works.plain)
    works.tree.run("sign", "--key", works.pairs[0].key, "--cert", works.pairs[0].cert, signed)
    packed = works.path / "a/packed.ko"
    packed.write_bytes(works.plain)
    subprocess.run(["xz", packed], check=True)
    os.rename(works.path / "a/packed.ko.xz", packed)
    (works.path / "a/text.ko").write_text("text")
    (works.path / "a/link.ko").symlink_to("sample.ko")
    for file, why in (("signed.ko", "signed already"), ("packed.ko", "compressed"),
                      ("text.ko", "no module"), ("link.ko", "is a link"), ("none.ko", ""),
                      ("../b/sample.ko", "does not lie beside")):  # fmt: skip
        result = works.create("a", files=["sample.ko", file])
        assert result.code == 1 and why in result.err, result.text
        assert works.manifest().read_bytes() == before
    result = works.create("a", files=["sample.ko", "sample.ko"])
    assert result.code == 1 and "is there twice" in result.err


BAD = [
    ({"file": "../sample.ko"}, "file is"), ({"file": "/etc/sample.ko"}, "file is"),
    ({"file": "x/sample.ko"}, "file is"), ({"file": ".sample.ko"}, "file is"),
    ({"file": "sample.ko.xz"}, "file is"), ({"file": "other.ko"}, "name is"),
    ({"name": "a b"}, "name is"), ({"name": "other"}, "name is"), ({"name": None}, "name is"),
    ({"vermagic": "6.1.0-31-amd64 SMP "}, "not of kernel"), ({"vermagic": 1}, "vermagic is"),
    ({"srcversion": ""}, "srcversion is"), ({"size": 0}, "size is"), ({"size": "5"}, "size is"),
    ({"sha256": "ab"}, "sha256 is"), ({"sha256": "A" * 64}, "sha256 is"),
    ({"schema": 2}, "schema is not 1"), ({"kernel": "a\nb"}, "kernel is"),
    ({"kernel": "../x"}, "kernel is"), ({"kernel": "a/../../x"}, "kernel is"),
    ({"kernel_package": ""}, "kernel_package is"), ({"kernel_package_version": None}, "version is"),
    ({"signature_hash": "md5"}, "signature_hash is"), ({"compiler": "x" * 256}, "compiler is"),
    ({"compiler": "a\0b"}, "compiler is"), ({"pahole": 1}, "pahole is"),
    ({"builder": "\x1b[2J"}, "builder is"),
    ({"modules": {}}, "modules is"), ({"modules": []}, "0 of them"),
    ({"modules": [1]}, "an element is"), ({"modules": [{}] * 1025}, "1025 of them"),
]  # fmt: skip


def test_manifest_that_nobody_may_write(works):
    good = works.manifest().read_text()
    for change, why in BAD:
        works.manifest().write_text(good)
        works.change("a", change)
        result = works.check("a")
        assert result.code == 1 and why in result.err and "docs/manifest.md" in result.err, result.text
        assert len(result.err.splitlines()) == 1
        if not change.keys() & {"name", "file", "vermagic"}:  # which a schema cannot compare
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(json.loads(works.manifest().read_text()), SCHEMA)
    assert works.sign(0).code == 1 and not (works.path / "by0").exists() and not works.log.exists()
    for text in (b"", b"[]", b"{", b"{} {}", b'{"schema": 1}', b"\xff", b"[" * 100000, b" " * (2 << 20)):
        works.manifest().write_bytes(text)
        result = works.check("a")
        assert result.code == 1 and "not a manifest" in result.err


def test_duplicate_names_and_modules_that_are_none(works):
    document = json.loads(works.manifest().read_text())
    document["modules"].append(dict(document["modules"][0]))
    works.manifest().write_text(json.dumps(document))
    result = works.check("a")
    assert result.code == 1 and "sample is there twice" in result.err
    # What lies there is no module, and the manifest has its right hash.
    text = b"no module"
    (works.path / "a/sample.ko").write_bytes(text)
    del document["modules"][1]
    document["modules"][0].update(size=len(text), sha256=sha256(text).hexdigest())
    works.manifest().write_text(json.dumps(document))
    result = works.check("a")
    assert result.code == 1 and "is no module: not an ELF file" in result.err


def test_bytes_that_are_not_what_the_manifest_says(works):
    good = works.manifest().read_text()
    for change, why in (
        ({"name": "sam-ple", "file": "sam_ple.ko"}, "No such file"),
        ({"vermagic": f"{KERNEL} SMP preempt "}, "has the vermagic"),
        ({"srcversion": "ABD"}, "has the srcversion ABC"), ({"srcversion": None}, "has the srcversion ABC"),
        ({"sha256": "0" * 64}, "is not what the manifest says"), ({"size": 7}, "is not what the manifest says"),
    ):  # fmt: skip
        for builder in ("a", "b"):
            works.manifest(builder).write_text(good.replace('"a"', f'"{builder}"'))
            works.change(builder, change)
        result = works.sign(0)
        assert result.code == 1 and why in result.err, result.text
    assert works.check("a").code == 1
    assert not (works.path / "by0").exists() and not works.log.exists()


def test_builders_that_disagree(works):
    other = works.path / "b/sample.ko"
    other.write_bytes(works.plain + b"\0")
    assert works.create("b").code == 0
    for result in (works.check("a", "b"), works.sign(0)):
        assert result.code == 1 and "disagree on sample.ko" in result.err, result.text
    assert not (works.path / "by0").exists()
    assert works.create("b", "--compiler", "another").code == 0
    assert "their compilers differ" in works.check("a", "b").err
    other.write_bytes(works.plain)
    assert works.create("b", "--compiler", "another").code == 0
    assert works.check("a", "b").code == 0


def test_one_builder_is_not_two(works):
    result = works.sign(0, agrees="a")
    assert result.code == 1 and "one builder is not two" in result.err
    works.change("b", {"kernel_package_version": "6.1.124-2"})
    result = works.sign(0)
    assert result.code == 1 and "6.1.124-2" in result.err
    works.create("b")
    shutil.copy(works.path / "a/sample.ko", works.path / "b/more.ko")
    document = json.loads(works.manifest("b").read_text())
    document["modules"].append({**document["modules"][0], "file": "more.ko", "name": "more"})
    works.manifest("b").write_text(json.dumps(document))
    for order in (("a", "b"), ("b", "a")):
        assert "'a' has not built more.ko" in works.check(*order).err or order == ("b", "a")
    assert works.sign(0).code == 1


def test_nothing_is_signed_before_all_was_checked(works):
    shutil.copy(works.path / "a/sample.ko", works.path / "a/zzz.ko")
    document = json.loads(works.manifest().read_text())
    document["modules"].append({**document["modules"][0], "file": "zzz.ko", "name": "zzz"})
    for builder in ("a", "b"):
        works.manifest(builder).write_text(json.dumps({**document, "builder": builder}))
    result = works.sign(0)  # its name within is another one
    assert result.code == 1 and "calls itself sample" in result.err
    assert not works.log.exists() and not (works.path / "by0").exists()


# The signer's side.


def test_log_says_who_what_and_for_whom(works):
    works.sign(0)
    works.sign(1)
    entries = [json.loads(line) for line in works.lines()]
    first = entries[0]
    assert [e["number"] for e in entries] == [1, 2] and first["previous"] == "0" * 64
    assert entries[1]["previous"] == sha256(works.lines()[0]).hexdigest()
    assert first["requester"] == "release team" and first["builders"] == ["a", "b"]
    assert first["module"] == "sample" and first["sha256"] == sha256(works.plain).hexdigest()
    assert first["certificate"] == sha256(works.pairs[0].cert.read_bytes()).hexdigest()
    assert first["kernel"] == KERNEL and first["kernel_package_version"] == "6.1.124-1"
    assert works.log.stat().st_mode & 0o777 == 0o600


def log_verify(works, *words):
    return works.tree.run("log", "verify", *words, works.log)


def test_log_that_lost_or_changed_a_line(works):
    for signer in (0, 1, 0, 1):
        assert works.sign(signer).code == 0
    lines = works.lines()
    result = log_verify(works)
    assert result.code == 0
    head = re.search(r"whole, 4 lines, head ([0-9a-f]{64})$", result.out, re.M)[1]
    assert head == sha256(lines[-1]).hexdigest()

    def with_lines(new):
        works.log.write_bytes(b"".join(line + b"\n" for line in new))
        return log_verify(works)

    for new, why in (
        (lines[:1] + lines[2:], "line 2 has the number 3"),
        (lines[1:], "line 1 has the number 2"),
        ([lines[0], lines[1].replace(b"release", b"another"), *lines[2:]], "line 2 was changed"),
        (lines[:2] + [b"{}"] + lines[2:], "line 3 is no entry"),
        ([lines[0], lines[0], *lines[1:]], "line 2 has the number 1"),
        ([lines[0], lines[2].replace(b'"number":3', b'"number":2'), lines[3]], "line 1 was changed"),
    ):
        result = with_lines(new)
        assert result.code == 1 and why in result.err, (why, result.text)
        assert works.sign(0).code == 1 and len(works.lines()) == len(new)  # and nothing is added
    # What was cut off the end shows only to those who know the hash of the end.
    assert with_lines(lines[:3]).code == 0
    assert log_verify(works, "--head", sha256(lines[2]).hexdigest()).code == 0
    result = log_verify(works, "--head", head)
    assert result.code == 1 and "its end was cut off" in result.err
    works.log.write_bytes(b"\n".join(lines))
    result = log_verify(works)
    assert result.code == 1 and f"cut it to {len(b''.join(lines[:3])) + 3} bytes" in result.err
    works.log.unlink()
    assert log_verify(works).code == 3
    assert log_verify(works, "--head", "junk").code == 2


def test_log_is_a_condition(works):
    works.sign(0)
    before = works.log.read_bytes()
    works.sign(1)
    works.join(0, 1)
    condition = [*both_certs(works), "--require-signers", "2", "--log"]
    assert works.verify(*condition, works.log).code == 0
    # Signed by both, but one has not written it down.
    partly = works.path / "partly.log"
    partly.write_bytes(before)
    result = works.verify(*condition, partly)
    assert result.code == 1 and "is in no log" in result.out, result.text
    rest = works.path / "rest.log"
    rest.write_bytes(b"")
    assert works.verify(*condition, rest).code == 1
    assert works.verify(*condition, partly, "--log", works.log).code == 0
    works.log.write_bytes(works.log.read_bytes()[:-9])
    result = works.verify(*condition, works.log)
    assert result.code == 1 and "trust no signature" in result.err
    assert works.verify(*condition, works.path / "none").code == 3


def test_log_refuses_what_no_reader_would_take(works):
    """A line that is too long would be the last one: no reader passes it, and no signer."""
    assert works.sign(0).code == 0
    before = works.log.read_bytes()
    result = works.sign(0, "--for", "x" * 70000)
    assert result.code == 1 and "so the signature was thrown away" in result.err, result.text
    assert works.log.read_bytes() == before and works.sign(0, "--for", "x\xff\n").code == 0
    assert log_verify(works).code == 0


def test_log_that_cannot_be_written(works, tmp_path):
    """Then there is no signature either."""
    works.log.symlink_to(tmp_path / "elsewhere")
    result = works.sign(0)
    assert result.code == 1 and "nothing was signed" in result.err and not works.signature.exists()
    works.log.unlink()
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "-"]
    done = subprocess.run(
        [*limited, PROGRAM, "manifest", "sign", "--agrees", works.manifest("b"), "--for", "x",
         "--key", works.pairs[0].key, "--cert", works.pairs[0].cert, "--output", works.path / "by0",
         "--log", works.log, works.manifest("a")], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1 and "so the signature was thrown away" in done.stderr, done.stderr
    assert not works.signature.exists() and works.log.read_bytes() == b""


def test_signer_refuses_unfit_keys(works, tmp_path):
    class Mixed:
        key, cert = works.pairs[0].key, works.pairs[1].cert

    result = works.sign(0, pair=Mixed)
    assert result.code == 1 and "do not belong together" in result.err and "nothing was signed" in result.err

    class Open:
        key, cert = tmp_path / "open.key", works.pairs[0].cert

    shutil.copy(works.pairs[0].key, Open.key)
    Open.key.chmod(0o644)
    result = works.sign(0, pair=Open)
    assert result.code == 1 and "can be read or written by group or others" in result.err
    assert not works.log.exists()


# Joining.


def test_join_refuses_what_a_signer_may_have_sent(works, tmp_path):
    works.sign(0)
    works.sign(1)
    good = works.signature.read_bytes()
    cert = works.path / "one.pem"
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", works.pairs[0].cert, "-out", cert], check=True)

    def cms(*words, data=None):
        file = tmp_path / "data"
        file.write_bytes(works.plain if data is None else data)
        return subprocess.run(
            ["openssl", "cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-signer", cert,
             "-inkey", works.pairs[0].key, "-in", file, *words], check=True, capture_output=True).stdout  # fmt: skip

    other = (works.path / "by1/sample.ko.p7s").read_bytes()
    for message, why in (
        (b"", "is no detached signature"), (os.urandom(394), "is no detached signature"),
        (good + b"\0", "is no detached signature"), (good[:-1], "is no detached signature"),
        (good[:-1] + bytes([good[-1] ^ 1]), "over other bytes, or by another key"),
        (cms("-noattr", "-nocerts", data=works.plain + b"x"), "over other bytes"),
        (cms("-nocerts"), "signed attributes"), (cms("-noattr"), "certificates inside"),
        (cms("-noattr", "-nocerts", "-nodetach"), "is no detached signature"),
        (cms("-noattr", "-nocerts", "-md", "sha512"), "two hashes"),
        (cms("-noattr", "-nocerts", "-keyid"), "two ways to name a signer"),
        (other, "one signer twice"),
    ):  # fmt: skip
        works.signature.write_bytes(message)
        certs = [p.cert for p in works.pairs]
        result = works.join(0, 1, certs=certs[1:] if message == other else certs)
        assert result.code == 1 and why in result.err, (why, result.text)
        assert not works.joined.exists()
    works.signature.unlink()
    result = works.join(0, 1)
    assert result.code == 1 and "ask the signer" in result.err
    works.signature.write_bytes(good)
    assert works.join(0, 1).code == 0


def test_join_wants_each_signer_and_no_other(works):
    works.sign(0)
    works.sign(1)
    result = works.join(0, certs=[p.cert for p in works.pairs])
    assert result.code == 1 and "is missing" in result.err and not works.joined.exists()
    result = works.join(0, 1, certs=[works.pairs[0].cert])
    assert result.code == 1 and "by none of the certificates given" in result.err
    assert works.join(0).code == 0
    # Over what is there: the same bytes again, and not the folder of the builder.
    before = works.joined.read_bytes()
    assert works.join(0).code == 0 and works.joined.read_bytes() == before
    result = works.join(0, words=("--output", works.path / "a"))
    assert result.code == 2 and (works.path / "a/sample.ko").read_bytes() == works.plain
    (works.path / "a/sample.ko").write_bytes(works.plain + b"x")
    result = works.join(0)
    assert result.code == 1 and "is not what the manifest says" in result.err
    assert works.joined.read_bytes() == before


def test_output_folder_that_cannot_be_written(works):
    works.sign(0)
    (works.path / "out").write_text("a file in the way")
    assert works.join(0).code == 1
    shutil.rmtree(works.path / "by0")
    (works.path / "by0").write_text("a file in the way")
    assert works.sign(0).code == 1


# Who must have signed.


def test_require_signers(works, tmp_path):
    works.sign(0)
    works.sign(1)
    works.join(0)
    two = [*both_certs(works), "--require-signers"]
    assert works.verify(*two, "1").code == 0
    result = works.verify(*two, "2")
    assert result.code == 1, result.text
    assert "untrusted-key: signed by 1 of the 2 signers that are required, not by 'other'" in result.out
    # Nothing waives it.
    assert works.verify(*two, "2", "--accept", "untrusted-key,unsigned", "--accept-signer",
                        works.pairs[0].cert).code == 1  # fmt: skip
    works.join(0, 1)
    assert works.verify(*two, "2").code == 0
    for words in (("--require-signers", "2"), (*two, "3"), (*two, "0"), (*two, "x")):
        assert works.verify(*words).code == 2
    # A changed byte is a finding as before.
    content = bytearray(works.joined.read_bytes())
    content[70] ^= 1
    works.joined.write_bytes(content)
    assert ": tampered: " in works.verify(*two, "2").out
    works.joined.write_bytes(works.plain)
    assert works.verify(*two, "1", "--accept", "unsigned").code == 1


def test_two_certificates_on_one_key_are_one_signer(works, tmp_path):
    twin = tmp_path / "twin.der"
    subprocess.run(["openssl", "req", "-new", "-x509", "-key", works.pairs[0].key, "-subj", "/CN=twin",
                    "-outform", "DER", "-out", twin], check=True, capture_output=True)  # fmt: skip
    works.joined.parent.mkdir()
    works.joined.write_bytes(works.plain)
    for n, cert in enumerate((works.pairs[0].cert, twin)):
        works.tree.run("sign", "--key", works.pairs[0].key, "--cert", cert, *["--add"] * n, works.joined)
    result = works.verify("--cert", works.pairs[0].cert, "--cert", twin, "--require-signers", "2")
    assert result.code == 1 and "since two have one key" in result.out, result.text


def test_one_key_in_two_forms_is_one_signer(works, tmp_path):
    """A point of a curve, written whole and compressed."""
    works.tree.put(f"boot/config-{KERNEL}", 'CONFIG_MODULE_SIG_HASH="sha256"\nCONFIG_CRYPTO_ECDSA=y\n')
    first, certs = tmp_path / "first.key", []
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", first],
                   check=True, capture_output=True)  # fmt: skip
    for form in ("uncompressed", "compressed"):
        key, cert = tmp_path / f"{form}.key", tmp_path / f"{form}.der"
        subprocess.run(["openssl", "pkey", "-in", first, "-ec_conv_form", form, "-out", key], check=True)
        key.chmod(0o600)
        subprocess.run(["openssl", "req", "-new", "-x509", "-key", key, "-subj", f"/CN={form}", "-outform", "DER",
                        "-out", cert], check=True, capture_output=True)  # fmt: skip
        certs.append((key, cert))
    assert certs[0][1].stat().st_size > certs[1][1].stat().st_size
    works.joined.parent.mkdir()
    works.joined.write_bytes(works.plain)
    for n, (key, cert) in enumerate(certs):
        result = works.tree.run("sign", "--key", key, "--cert", cert, *["--add"] * n, works.joined)
        assert result.code == 0, result.text
    result = works.verify(*(w for _, cert in certs for w in ("--cert", cert)), "--require-signers", "2")
    assert result.code == 1 and "since two have one key" in result.out, result.text


def test_policy_of_a_host(works):
    tree, certs = works.tree, []
    tree.secure_boot()
    tree.variable("MokListRT", siglist(*(p.cert.read_bytes() for p in works.pairs)))
    for n, pair in enumerate(works.pairs):
        certs.append(tree.put(f"etc/kmodkeep/signers/{n}.der", pair.cert.read_bytes()))
    works.sign(0)
    works.sign(1)
    works.join(0)
    assert works.verify().code == 0
    policy = "require_signers = 2\nsigner = /etc/kmodkeep/signers/0.der\nsigner = /etc/kmodkeep/signers/1.der\n"
    tree.put("etc/kmodkeep/signing.conf", policy)
    result = works.verify()
    assert result.code == 1 and "1 of the 2 signers" in result.out
    works.join(0, 1)
    assert works.verify().code == 0
    # What cannot be read is no permission.
    certs[1].write_text("junk")
    result = works.verify()
    assert result.code == 3 and "it is none" in result.err
    for line in ("require_signers = 0", "require_signers = 5", "require_signers = two", "signer = x",
                 "require_signers = 2"):  # fmt: skip
        tree.put("etc/kmodkeep/signing.conf", line + "\n")
        result = works.verify()
        assert result.code == 3 and "not known who must have signed" in result.err, result.text
    # The policy alone names no key to sign with.
    tree.put("etc/kmodkeep/signing.conf", policy)
    tree.own_key(works.pairs[0])
    assert "signed by 'one'" in tree.run("sign", works.joined).out


def test_usage(works):
    run = works.tree.run
    assert run("manifest", root=False).code == 2 and run("manifest", "frob", root=False).code == 2
    for step in ("create", "check", "sign", "join"):
        assert run("manifest", step, root=False).code == 2
        assert run("manifest", step, "--frob", root=False).code == 2
    assert run("log", root=False).code == 2 and run("log", "frob", root=False).code == 2
    result = works.join(0, words=["--cert", "x"] * 4)
    assert result.code == 2 and "may be given 4 times" in result.err
