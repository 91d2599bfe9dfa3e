# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep sign and verify, as typed."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys

import pytest

from tests.secureboot import cells
from tests.unit.kmodkeep.host import KERNEL, MACHINE, PROGRAM, TOP, Pair, siglist, unpacked

MAGIC = b"~Module signature appended~\n"


def sign(tree, module, pair, *words):
    return tree.run("sign", "--key", pair.key, "--cert", pair.cert, *words, module)


def verify(tree, module, *words):
    return tree.run("verify", *words, module)


def test_signs_once_in_every_compression(tree, module, pair, plain_module):
    for _ in range(2):
        result = sign(tree, module, pair)
        assert result.code == 0, result.text
        assert "signed by 'one' (sha256)" in result.out
    content = unpacked(module)
    assert content.startswith(plain_module.read_bytes())
    assert content.count(MAGIC) == 1 and content.endswith(MAGIC)
    result = verify(tree, module, "--cert", pair.cert)
    assert result.code == 0
    assert result.out == f"{module}: ok: signed by 'one', the certificate given\n"


def test_kmod_reads_the_result(tree, module, pair):
    sign(tree, module, pair)
    features = subprocess.run(["kmod", "--version"], capture_output=True, text=True).stdout
    if module.suffix == ".gz" and "-ZLIB" in features:  # so it is in Debian
        subprocess.run(["gzip", "-d", module], check=True)
        module = module.with_suffix("")
    shown = subprocess.run(
        ["/sbin/modinfo", module], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"^signer: +one$", shown, re.M) and re.search(r"^name: +sample$", shown, re.M)


def test_xz_is_what_the_kernel_can_read(tree, plain_module, pair, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    subprocess.run(["xz", module], check=True)  # with a CRC64, which the kernel cannot
    module = tmp_path / "m.ko.xz"
    sign(tree, module, pair)
    listing = subprocess.run(
        ["xz", "--robot", "-lvv", module], capture_output=True, text=True, check=True
    ).stdout
    assert "CRC32" in listing and "CRC64" not in listing


def test_keeps_mode_and_leaves_nothing(tree, module, pair):
    module.chmod(0o640)
    sign(tree, module, pair)
    assert stat.S_IMODE(module.stat().st_mode) == 0o640
    left = {p.name for p in module.parent.iterdir()} - {"host", "sample.ko", module.name}
    assert not left


def test_replaces_the_file_not_the_link(tree, module, pair):
    link = module.parent / f"link{module.suffix}"
    link.symlink_to(module.name)
    assert sign(tree, link, pair).code == 0
    assert link.is_symlink()
    assert verify(tree, module, "--cert", pair.cert).code == 0


def test_replaces_another_signature(tree, module, pair, other_pair):
    sign(tree, module, other_pair)
    assert verify(tree, module, "--cert", pair.cert).code == 1
    sign(tree, module, pair)
    assert unpacked(module).count(MAGIC) == 1
    assert verify(tree, module, "--cert", pair.cert).code == 0


def test_if_needed(tree, module, pair, other_pair):
    sign(tree, module, other_pair)
    result = sign(tree, module, pair, "--if-needed")
    assert result.code == 0 and "signed by 'one'" in result.out
    before = module.stat().st_ino
    result = sign(tree, module, pair, "--if-needed")
    assert result.code == 0 and "already signed by 'one'" in result.out
    assert module.stat().st_ino == before
    # No key at all: a build on such a host must go on.
    result = tree.run("sign", "--if-needed", module)
    assert result.code == 0 and "kmodkeep key create" in result.out
    assert tree.run("sign", module).code == 1


def test_if_needed_leaves_what_the_kernel_trusts(tree, module, pair, other_pair):
    tree.own_key(pair)
    sign(tree, module, other_pair)
    before = module.read_bytes()
    tree.secure_boot()
    tree.enrol(other_pair.cert)
    result = tree.run("sign", "--if-needed", module)
    assert result.code == 0 and "already signed by another key" in result.out
    assert module.read_bytes() == before
    # What is let through because nothing is demanded is not trusted.
    tree.secure_boot(False)
    result = tree.run("sign", "--if-needed", module)
    assert result.code == 0 and "signed by 'one'" in result.out


def test_enrolled_key_goes_first(tree, module, pair, other_pair):
    lib = tree.path / "var/lib"
    tree.own_key(pair)
    other_pair.copy_to(lib / "dkms/mok.key", lib / "dkms/mok.pub")
    for on in (False, True):
        tree.secure_boot(on)
        tree.enrol(other_pair.cert)
        assert "signed by 'other'" in tree.run("sign", module).out
        tree.variable("MokListRT", siglist(other_pair.cert.read_bytes(), pair.cert.read_bytes()))
        assert "signed by 'one'" in tree.run("sign", module).out
    tree.enrol(other_pair.cert)
    (lib / "dkms/mok.key").chmod(0o644)  # not fit to sign with
    assert "signed by 'one'" in tree.run("sign", module).out


def test_if_needed_with_an_unfit_key(tree, module, pair):
    tree.own_key(pair, machine="f" * 32)
    before = module.read_bytes()
    result = tree.run("sign", "--if-needed", module)
    assert result.code == 0 and "warning: " in result.err and "another machine" in result.err
    assert module.read_bytes() == before
    assert tree.run("sign", module).code == 1
    tree.secure_boot()
    assert tree.run("sign", "--if-needed", module).code == 1


def test_stacked_signatures_become_one(tree, plain_module, pair, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    sign(tree, module, pair)
    first = module.read_bytes()
    shutil.copy(plain_module, module)
    module.write_bytes(first + first[plain_module.stat().st_size :])
    assert module.read_bytes().count(MAGIC) == 2
    result = sign(tree, module, pair, "--if-needed")
    assert "already" not in result.out
    assert module.read_bytes() == first


@pytest.mark.parametrize("where", ["boot/config-{}", "lib/modules/{}/build/.config"])
def test_hash_of_the_kernel(tree, module, pair, where):
    tree.put(where.format(KERNEL), 'CONFIG_MODULE_SIG_HASH="sha384"\n')
    tree.put("boot/config-9.9", 'CONFIG_MODULE_SIG_HASH="sha512"\n')
    assert "(sha384)" in sign(tree, module, pair).out
    assert "(sha512)" in sign(tree, module, pair, "--kernel", "9.9").out
    assert "(sha256)" in sign(tree, module, pair, "--hash", "sha256").out


def test_unknown_hash_changes_nothing(tree, module, pair):
    before = module.read_bytes()
    result = sign(tree, module, pair, "--hash", "crc7")
    assert result.code == 1 and "'crc7' is not known" in result.err
    assert module.read_bytes() == before


def test_refuses_what_is_no_module(tree, pair, tmp_path):
    for content in (b"", b"hello", b"\x7fELF", b"\x1f\x8bjunk", b"\xfd7zXZ\0junk"):
        path = tmp_path / "x.ko"
        path.write_bytes(content)
        result = sign(tree, path, pair)
        assert result.code == 1 and "nothing changed" in result.err
        assert path.read_bytes() == content
    assert sign(tree, tmp_path / "none.ko", pair).code == 1
    assert sign(tree, tmp_path, pair).code == 1


def refused(tree, module, pair, message):
    before = module.read_bytes()
    result = sign(tree, module, pair)
    assert result.code == 1, result.text
    assert message in result.err and "Next: " in result.err
    assert module.read_bytes() == before


def test_refuses_unfit_keys(tree, module, pair, other_pair, tmp_path):
    class Copy:
        key = tmp_path / "copy.key"
        cert = tmp_path / "copy.der"

    pair.copy_to(Copy.key, Copy.cert)
    for mode in (0o640, 0o604, 0o620, 0o666):
        Copy.key.chmod(mode)
        refused(tree, module, Copy, "can be read or written by group or others")
    Copy.key.chmod(0o600)
    shutil.copy(other_pair.cert, Copy.cert)
    refused(tree, module, Copy, "do not belong together")
    Copy.cert.write_text("junk")
    refused(tree, module, Copy, "is not a certificate")
    Copy.cert.unlink()
    refused(tree, module, Copy, "half a key pair")
    shutil.copy(pair.cert, Copy.cert)
    Copy.key.write_text("junk")
    refused(tree, module, Copy, "is not a private key in PEM form")
    Copy.key.unlink()
    refused(tree, module, Copy, "half a key pair")
    Copy.key.symlink_to(pair.key)
    refused(tree, module, Copy, "is a symbolic link")
    Copy.key.unlink()
    os.mkfifo(Copy.key, 0o600)
    refused(tree, module, Copy, "is not a plain file")


def test_refuses_a_key_with_a_passphrase(tree, module, tmp_path):
    locked = Pair(tmp_path, "locked", extra=["-passout", "pass:secret"])
    refused(tree, module, locked, "is protected by a passphrase")


def test_own_key_of_another_machine(tree, module, pair):
    pair.copy_to(tree.keys / "signing.key", tree.keys / "signing.der")
    result = tree.run("sign", module)
    assert result.code == 1 and "no record of the machine" in result.err
    tree.put("var/lib/kmodkeep/keys/machine-id", "f" * 32 + "\n")
    result = tree.run("sign", module)
    assert result.code == 1 and "made on another machine" in result.err
    tree.put("var/lib/kmodkeep/keys/machine-id", MACHINE + "\n")
    assert tree.run("sign", module).code == 0


def test_order_of_keys(tree, module, pair, other_pair, tmp_path):
    ubuntu = Pair(tmp_path, "ubuntu")
    lib = tree.path / "var/lib"
    other_pair.copy_to(lib / "dkms/mok.key", lib / "dkms/mok.pub")
    assert "signed by 'other'" in tree.run("sign", module).out
    ubuntu.copy_to(lib / "shim-signed/mok/MOK.priv", lib / "shim-signed/mok/MOK.der")
    assert "signed by 'other'" in tree.run("sign", module).out
    tree.put("etc/os-release", "ID=ubuntu\n")  # there dkms signs with that one
    assert "signed by 'ubuntu'" in tree.run("sign", module).out
    pair.copy_to(tree.keys / "signing.key", tree.keys / "signing.der")
    tree.put("var/lib/kmodkeep/keys/machine-id", MACHINE + "\n")
    assert "signed by 'one'" in tree.run("sign", module).out
    # Half of the first one is no reason to take the next: it must be looked at.
    (tree.keys / "signing.key").unlink()
    assert "half a key pair" in tree.run("sign", module).err


def test_verdict_lines_and_codes(tree, plain_module, pair, other_pair, tmp_path):
    tree.secure_boot()
    tree.enrol(pair.cert)
    files = {}
    for name in ("good", "plain", "foreign", "changed"):
        files[name] = tmp_path / f"{name}.ko"
        shutil.copy(plain_module, files[name])
    sign(tree, files["good"], pair)
    sign(tree, files["foreign"], other_pair)
    sign(tree, files["changed"], pair)
    content = bytearray(files["changed"].read_bytes())
    content[70] ^= 1
    files["changed"].write_bytes(content)
    gone = tmp_path / "gone.ko"

    result = tree.run("verify", *files.values(), gone)
    assert result.code == 1
    verdicts = dict(re.findall(r"^\S*/(\w+)\.ko: ([a-z-]+): ", result.out, re.M))
    assert verdicts == {
        "good": "ok",
        "plain": "unsigned",
        "foreign": "untrusted-key",
        "changed": "tampered",
        "gone": "missing",
    }
    for line in result.out.splitlines():
        assert ": ok: " in line or ". Next: " in line
    assert verify(tree, files["good"]).code == 0
    assert verify(tree, files["plain"]).code == 1
    assert verify(tree, files["plain"], "--accept", "unsigned,missing").code == 0
    assert verify(tree, files["changed"], "--accept", "unsigned").code == 1
    assert verify(tree, files["plain"], "--accept", "fine").code == 2
    assert verify(tree, files["good"], "--kernel", "6.1.0-31-amd64").code == 1
    assert tree.run("verify").code == 2
    assert tree.run("verify", "--module", "x", files["good"]).code == 2
    assert tree.run("verify", "--frob", files["good"]).code == 2


def test_json(tree, plain_module, pair):
    tree.secure_boot()
    result = tree.run("verify", "--json", plain_module)
    document = json.loads(result.out)
    assert result.code == 1 and document["schema"] == 1 and document["secure_boot"] == "on"
    [entry] = document["results"]
    assert entry["verdict"] == "unsigned" and entry["file"] == str(plain_module)
    assert entry["module"] == "sample" and entry["version"] == "1.2" and entry["srcversion"] == "ABC"
    assert entry["kernel"] == KERNEL and entry["next_step"]


def test_could_not_tell(tree, plain_module):
    tree.put("sys/firmware/efi/runtime")  # EFI, but no variables to read
    result = verify(tree, plain_module)
    assert result.code == 3 and ": unknown: " in result.out


def test_signed_after_compression(tree, plain_module, pair, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    sign(tree, module, pair)
    signature = module.read_bytes()[plain_module.stat().st_size :]
    shutil.copy(plain_module, module)
    subprocess.run(["xz", module], check=True)
    module = tmp_path / "m.ko.xz"
    module.write_bytes(module.read_bytes() + signature)
    tree.secure_boot()
    result = verify(tree, module)
    assert result.code == 1 and "unsupported-signature: signed after it was compressed" in result.out
    assert sign(tree, module, pair).code == 0
    assert verify(tree, module, "--cert", pair.cert).code == 0


XZ_KERNEL = "CONFIG_MODULES=y\nCONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_XZ=y\n"


@pytest.mark.parametrize("options,config,verdict", [
    (["--check=crc64"], XZ_KERNEL, "unsupported-compression"),
    (["--check=sha256"], XZ_KERNEL, "unsupported-compression"),
    (["--check=crc32"], XZ_KERNEL, "ok"),
    (["--check=none"], XZ_KERNEL, "ok"),
    (["--check=crc32", "--lzma2=dict=8MiB"], XZ_KERNEL, "ok"),
    (["--check=crc64"], XZ_KERNEL.replace("_XZ", "_ZSTD"), "ok"),
    (["--check=crc64"], "CONFIG_MODULES=y\nCONFIG_MODULE_COMPRESS_XZ=y\n", "ok"),
])  # fmt: skip
def test_compression_that_the_kernel_cannot_unpack(
    tree, plain_module, pair, tmp_path, options, config, verdict
):
    """Its decoder of xz knows CRC32 only, where kmod leaves the unpacking to it."""
    tree.put(f"boot/config-{KERNEL}", config)
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    sign(tree, module, pair)
    subprocess.run(["xz", *options, module], check=True)
    module = tmp_path / "m.ko.xz"
    before = module.read_bytes()
    result = verify(tree, module, "--cert", pair.cert)
    assert f": {verdict}: " in result.out, result.out
    assert sign(tree, module, pair, "--if-needed").code == 0
    refused = options[0] in ("--check=crc64", "--check=sha256")
    assert (module.read_bytes() != before) == refused
    assert verify(tree, module, "--cert", pair.cert).code == 0


@pytest.mark.parametrize("library,verdict", [
    ("usr/lib/x86_64-linux-gnu/libkmod.so.2.3.6", "ok"),
    ("usr/lib/x86_64-linux-gnu/libkmod.so.2.4.0", "ok"),
    ("usr/lib64/libkmod.so.2.4.1", "unsupported-compression"),
    ("usr/lib/x86_64-linux-gnu/libkmod.so.2.5.1", "unsupported-compression"),
])  # fmt: skip
def test_compression_that_an_old_kmod_unpacks(tree, plain_module, pair, tmp_path, library, verdict):
    """Before version 31 kmod hands over what it has unpacked, whatever the kernel can do."""
    tree.put(f"boot/config-{KERNEL}", "CONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_XZ=y\n")
    tree.put(library, "")
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    sign(tree, module, pair)
    subprocess.run(["xz", module], check=True)
    result = verify(tree, tmp_path / "m.ko.xz", "--cert", pair.cert)
    assert f": {verdict}: " in result.out, result.out


def test_names_cannot_forge_lines(tree, plain_module, tmp_path):
    evil = tmp_path / "a.ko: ok: fine\nb.ko"
    shutil.copy(plain_module, evil)
    tree.secure_boot()
    assert len(verify(tree, evil).out.splitlines()) == 1


def test_module_by_name(tree, plain_module, pair):
    modules = tree.path / "lib/modules" / KERNEL
    result = tree.run("verify", "--kernel", KERNEL, "--module", "sample")
    assert result.code == 1 and "kernel-incomplete" in result.out
    (modules / "updates").mkdir(parents=True)
    shutil.copy(plain_module, modules / "updates/sample.ko")
    for name in ("modules.order", "modules.builtin"):
        (modules / name).write_text("")
    subprocess.run(["/sbin/depmod", "-b", tree.path, KERNEL], check=True, capture_output=True)
    tree.secure_boot()
    result = tree.run("verify", "--kernel", KERNEL, "--module", "sample")
    assert result.code == 1
    assert result.out.startswith(f"{modules}/updates/sample.ko: unsigned: ")
    result = tree.run("verify", "--kernel", KERNEL, "--module", "none")
    assert result.code == 1 and "has no such module" in result.out
    assert "install the headers" in result.out


def test_two_of_a_kind_are_told_apart(tree, plain_module, pair, tmp_path):
    """A re-issued certificate with the same name and serial number, another key."""
    tree.secure_boot()
    twins = []
    for name in ("a", "b"):
        directory = tmp_path / name
        directory.mkdir()
        twins.append(Pair(directory, "twin", extra=["-nodes", "-set_serial", "7"]))
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    sign(tree, module, twins[0])
    tree.enrol(twins[0].cert)
    assert verify(tree, module).code == 0
    tree.enrol(twins[1].cert)
    assert ": tampered: " in verify(tree, module).out


@pytest.mark.parametrize("data,said", [
    (b"", "tampered: it is an empty file"),
    (b"root:x:0:0:root:/root:/bin/sh\n", "tampered: it is no kernel module: not an ELF file"),
    (b"\x7fELF" + b"\2\1\1" + bytes(200), "tampered: it is no kernel module, or a damaged one: an ELF"),
    (b"\xfd7zXZ\0garbage", "tampered: damaged: cannot be decompressed"),
], ids=["empty", "text", "another ELF", "garbage"])  # fmt: skip
def test_what_is_no_module(tree, tmp_path, data, said):
    path = tmp_path / "file.ko"
    path.write_bytes(data)
    result = verify(tree, path)
    assert result.code == 1 and result.out.startswith(f"{path}: {said}"), result.out


def test_paths_that_lead_to_no_file(tree, tmp_path):
    loop = tmp_path / "loop.ko"
    loop.symlink_to(loop)
    for path, why in ((loop, "Too many levels of symbolic links"), (tmp_path, "Is a directory")):
        result = verify(tree, path)
        assert result.code == 3 and f"cannot be read: {why}" in result.out
        assert "root" not in result.out.rsplit("Next: ", 1)[1]


def test_file_beyond_any_module(tree, tmp_path):
    """Sparse, so that nobody has to write it; and none of it is read."""
    path = tmp_path / "huge.ko"
    with open(path, "wb") as out:
        out.truncate(1 << 40)
    result = verify(tree, path)
    assert result.code == 1 and "tampered" in result.out
    trace = tmp_path / "trace"
    subprocess.run(["strace", "-f", "-qq", "-P", path, "-e", "trace=openat,read,pread64,mmap", "-o", trace,
                    PROGRAM, "verify", path], capture_output=True, timeout=300,
                   env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    assert not re.findall(r"\b(?:read|pread64|mmap)\(", trace.read_text()), trace.read_text()[:2000]


@pytest.mark.parametrize("option", ["--cert", "--accept-signer"])
def test_certificate_that_is_none(tree, plain_module, tmp_path, option):
    junk = tmp_path / "x.der"
    junk.write_text("junk")
    result = verify(tree, plain_module, option, junk)
    assert result.code == 3 and f"{junk} is not a certificate. Next: " in result.err, result.text


def test_path_that_does_not_exist(tree):
    result = verify(tree, tree.path / "none.ko")
    assert result.code == 1 and "missing: no such file. Next: look at its name" in result.out
    assert "dkms" not in result.out


# Several signers of one file.


def signed_by(tree, module, *pairs):
    return [verify(tree, module, "--cert", pair.cert).code == 0 for pair in pairs]


def test_add_keeps_who_has_signed(tree, module, pair, other_pair):
    sign(tree, module, other_pair)
    result = sign(tree, module, pair, "--add")
    assert result.code == 0 and "signed by 'one' (sha256), besides who signed it before" in result.out
    assert signed_by(tree, module, pair, other_pair) == [True, True]
    assert unpacked(module).count(MAGIC) == 1
    # Order does not matter, and once is enough.
    both = unpacked(module)
    for key in (pair, other_pair):
        result = sign(tree, module, key, "--add", "--if-needed")
        assert "already signed" in result.out and unpacked(module) == both
    sign(tree, module, pair)
    assert signed_by(tree, module, pair, other_pair) == [True, False]
    sign(tree, module, other_pair, "--add")
    assert unpacked(module) == both


def test_two_signers_are_what_openssl_makes(tree, plain_module, pair, other_pair, tmp_path):
    module, message = tmp_path / "m.ko", tmp_path / "message"
    shutil.copy(plain_module, module)
    sign(tree, module, pair)
    sign(tree, module, other_pair, "--add")
    words = []
    for signer in (pair, other_pair):
        pem = tmp_path / f"{signer.key.stem}.pem"
        subprocess.run(["openssl", "x509", "-inform", "DER", "-in", signer.cert, "-out", pem], check=True)
        words += ["-signer", pem, "-inkey", signer.key]
    subprocess.run(["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-md", "sha256",
                    "-in", plain_module, *words, "-outform", "DER", "-out", message], check=True)  # fmt: skip
    start = plain_module.stat().st_size
    size = message.stat().st_size
    assert module.read_bytes()[start : start + size] == message.read_bytes()


def test_dry_run_says_what_would_be_done(tree, module, pair, other_pair):
    before = module.read_bytes()
    for words in ((), ("--if-needed",), ("--add",)):
        result = sign(tree, module, pair, "--dry-run", *words)
        assert result.code == 0 and f"{module}: would be signed by 'one' (sha256)" in result.out
    assert module.read_bytes() == before
    sign(tree, module, pair)
    before = module.read_bytes()
    assert "already signed by 'one'" in sign(tree, module, pair, "--dry-run", "--if-needed").out
    assert "would be signed by 'other' (sha256), besides" in sign(tree, module, other_pair, "--dry-run", "--add").out
    assert module.read_bytes() == before and {p.name for p in module.parent.iterdir() if ".ko" in p.name} == {module.name}


def test_verify_names_all_signers(tree, module, pair, other_pair):
    sign(tree, module, pair)
    sign(tree, module, other_pair, "--add")
    assert "signed by 'one', the certificate given; also signed by 'other'" in verify(
        tree, module, "--cert", pair.cert).out  # fmt: skip
    tree.secure_boot()
    tree.enrol(other_pair.cert)
    assert "ok: signed by 'other', enrolled on this host; also signed by 'one'" in verify(tree, module).out


def test_key_identifiers_are_not_mixed_with_names(tree, plain_module, pair, other_pair, tmp_path):
    """Kernels take all signers by issuer and serial number, or all by key identifier."""
    module, message, pem = tmp_path / "m.ko", tmp_path / "message", tmp_path / "one.pem"
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", pair.cert, "-out", pem], check=True)
    subprocess.run(["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-keyid",
                    "-md", "sha256", "-in", plain_module, "-signer", pem, "-inkey", pair.key,
                    "-outform", "DER", "-out", message], check=True)  # fmt: skip
    der = message.read_bytes()
    module.write_bytes(plain_module.read_bytes() + der + b"\0\0\2\0\0\0\0\0" + len(der).to_bytes(4, "big") + MAGIC)
    assert sign(tree, module, other_pair, "--add").code == 0
    assert signed_by(tree, module, pair, other_pair) == [True, True]
    start = plain_module.stat().st_size
    message.write_bytes(module.read_bytes()[start:-40])
    shown = subprocess.run(["openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", message],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "issuerAndSerialNumber" not in shown and shown.count("subjectKeyIdentifier") == 2
    bare = Pair(tmp_path, "bare", extra=["-nodes", "-addext", "subjectKeyIdentifier=none"])
    before = module.read_bytes()
    if "Subject Key Identifier" not in subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", bare.cert, "-noout", "-text"],
        capture_output=True, text=True, check=True).stdout:  # fmt: skip
        result = sign(tree, module, bare, "--add")
        assert result.code == 1 and "no kernel takes beside another one" in result.err
    assert module.read_bytes() == before


def test_add_to_what_was_changed_or_is_damaged(tree, plain_module, pair, other_pair, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    sign(tree, module, pair)
    good = module.read_bytes()
    changed = bytearray(good)
    changed[70] ^= 1
    for content, message in (
        (bytes(changed), "its content changed after it was signed"),
        (good[:-30] + b"x" + good[-29:], "not a kernel module, or a damaged one"),
        (good + good[plain_module.stat().st_size :], "not a kernel module, or a damaged one"),
    ):
        module.write_bytes(content)
        result = sign(tree, module, pair, "--add")
        assert result.code == 1 and message in result.err, result.text
        assert module.read_bytes() == content


def test_sign_starts_no_program(tree, module, pair):
    trace = tree.path.parent / "trace"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=execve,fork,vfork,prctl", "-o", trace,
         PROGRAM, "sign", "--key", pair.key, "--cert", pair.cert, module],
        capture_output=True, text=True, timeout=300, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = trace.read_text()
    assert text.count("execve(") == 1 and "fork(" not in text
    assert "PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in text


@pytest.mark.parametrize("syscall", ["write", "fchmod", "fsync", "rename"])
def test_killed_while_it_signs(tree, plain_module, pair, tmp_path, syscall):
    """The module is the old one or the new one, whole."""
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    before = module.read_bytes()
    sign(tree, module, pair)
    after = module.read_bytes()
    for number in range(1, 20):
        module.write_bytes(before)
        done = subprocess.run(
            ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}",
             "-e", f"inject={syscall}:signal=KILL:when={number}", PROGRAM, "sign", "--key", pair.key,
             "--cert", pair.cert, module], capture_output=True, timeout=300,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
        )  # fmt: skip
        assert module.read_bytes() in (before, after)
        if done.returncode == 0:
            break
    assert done.returncode == 0 and module.read_bytes() == after and number > 1


def test_disk_full_or_read_only_while_it_signs(tree, plain_module, pair, tmp_path):
    if os.geteuid():
        pytest.skip("mounting needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        module = place / "m.ko"
        shutil.copy(plain_module, module)
        with open(place / "rest", "wb", buffering=0) as rest, pytest.raises(OSError):
            while True:
                rest.write(bytes(4096))
        before = module.read_bytes()
        result = sign(tree, module, pair)
        assert result.code == 1 and "No space left on device; nothing changed" in result.err
        assert module.read_bytes() == before and {p.name for p in place.iterdir()} == {"m.ko", "rest"}
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        result = sign(tree, module, pair)
        assert result.code == 1 and "Read-only file system; nothing changed" in result.err
    finally:
        subprocess.run(["umount", place], check=True)


# Keys and certificates that are not what they should be.


def test_keys_that_the_kernel_does_not_know(tree, plain_module, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    before = module.read_bytes()
    tree.put(f"boot/config-{KERNEL}", "CONFIG_MODULES=y\n")
    for name, kind in (("ec", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("ed", ["ed25519"])):
        strange = Pair(tmp_path, name, extra=["-nodes", "-newkey", *kind])
        result = sign(tree, module, strange)
        assert result.code == 1 and "does not know the algorithm of this key; nothing changed" in result.err
        assert module.read_bytes() == before


def test_certificates_that_kernels_do_not_mind(tree, plain_module, tmp_path):
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    server = Pair(tmp_path, "server", usage="serverAuth")
    result = sign(tree, module, server)
    assert result.code == 0 and "'server' is not for signing code" in result.err
    expired = cells.make_key(tmp_path, "expired")
    expired.key.chmod(0o600)
    result = sign(tree, module, expired)
    assert result.code == 0 and "'table expired' has expired" in result.err


def test_empty_key_or_certificate(tree, module, pair, tmp_path):
    class Copy:
        key = tmp_path / "copy.key"
        cert = tmp_path / "copy.der"

    pair.copy_to(Copy.key, Copy.cert)
    Copy.key.write_text("")
    refused(tree, module, Copy, "is not a private key in PEM form")
    pair.copy_to(Copy.key, Copy.cert)
    Copy.cert.write_text("")
    refused(tree, module, Copy, "is not a certificate")


def test_add_beside_signed_attributes(tree, plain_module, pair, other_pair, tmp_path):
    module, message, pem = tmp_path / "m.ko", tmp_path / "message", tmp_path / "one.pem"
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", pair.cert, "-out", pem], check=True)
    subprocess.run(["openssl", "cms", "-sign", "-binary", "-nocerts", "-md", "sha256", "-in", plain_module,
                    "-signer", pem, "-inkey", pair.key, "-outform", "DER", "-out", message], check=True)  # fmt: skip
    der = message.read_bytes()
    before = plain_module.read_bytes() + der + b"\0\0\2\0\0\0\0\0" + len(der).to_bytes(4, "big") + MAGIC
    module.write_bytes(before)
    result = sign(tree, module, other_pair, "--add")
    assert result.code == 1 and "no kernel takes beside another one" in result.err
    assert module.read_bytes() == before


if os.environ.get("FULL"):

    def test_what_signing_all_again_costs():
        """At most 3 seconds of processor time beyond the RSA operations, in each compression."""
        done = subprocess.run([sys.executable, "-m", "bench.signing"], cwd=TOP, capture_output=True, text=True,
                              timeout=1200)  # fmt: skip
        assert done.returncode == 0 and len(re.findall("beyond RSA", done.stdout)) == 4, done.stdout + done.stderr
