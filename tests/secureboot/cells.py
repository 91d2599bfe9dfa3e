# SPDX-License-Identifier: GPL-2.0-or-later
"""Module files in every state that a signature can be in, made from one module.

They are made by openssl, not by kmodkeep.  What is random comes from a seed.
"""

import gzip
import hashlib
import lzma
import random
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lib.rsa import rsa_key

MAGIC = b"~Module signature appended~\n"
CODE_SIGNING = "codeSigning"
MODULES_ONLY = "codeSigning,1.3.6.1.4.1.2312.16.1.2"
HASHES = ["sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-512"]

# Enrolled in MokList; the others are known to nobody, or wait.
ENROLLED = ["good", "expired", "no-usage", "any-usage", "ecdsa", "revoked", "ca"]
STRANGERS = ["unknown", "pending", "declined", "strange-ca"]


@dataclass
class Key:
    """A key and its certificate, in files."""

    name: str
    key: Path
    cert: Path

    @property
    def der(self):
        return subprocess.run(["openssl", "x509", "-in", self.cert, "-outform", "DER"],
                              check=True, capture_output=True).stdout  # fmt: skip


def make_key(directory, name):
    """The key NAME of ENROLLED or STRANGERS."""
    key, cert = directory / f"{name}.key", directory / f"{name}.pem"
    made = (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key] if name == "ecdsa" else
            ["-key", rsa_key(key)])  # fmt: skip
    usage = {"no-usage": None, "any-usage": CODE_SIGNING}.get(name, MODULES_ONLY)
    is_ca = name.endswith("ca")
    extensions = ["-addext", f"extendedKeyUsage={usage}"] if usage else []
    subprocess.run(
        ["openssl", "req", "-new", *made, "-nodes", "-subj", f"/CN=table {name}",
         *extensions, "-addext", f"basicConstraints=critical,CA:{'TRUE' if is_ca else 'FALSE'}",
         "-addext", f"keyUsage={'keyCertSign' if is_ca else 'digitalSignature'}",
         "-x509", "-days", "30", "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    if name == "expired":
        _let_expire(directory, key, cert)
    return Key(name, key, cert)


def issue(name, issuer, akid="keyid"):
    """A key whose certificate ISSUER signed; AKID: how it names the issuer."""
    directory = issuer.key.parent
    key, cert, request = (directory / f"{name}.{end}" for end in ("key", "pem", "csr"))
    subprocess.run(["openssl", "req", "-new", "-key", rsa_key(key), "-subj", f"/CN=table {name}",
                    "-out", request], check=True, capture_output=True)  # fmt: skip
    (directory / "issue.cnf").write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\nsubjectKeyIdentifier=hash\n"
        f"authorityKeyIdentifier={akid}\n")
    subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", issuer.cert, "-CAkey", issuer.key,
                    "-set_serial", str(random.getrandbits(60)), "-days", "30",
                    "-extfile", directory / "issue.cnf", "-out", cert],
                   check=True, capture_output=True)  # fmt: skip
    return Key(name, key, cert)


def forged(name, issuer):
    """A key that calls itself as ISSUER does, key identifier included."""
    key, cert = (issuer.key.parent / f"{name}.{end}" for end in ("key", "pem"))
    text = subprocess.run(["openssl", "x509", "-in", issuer.cert, "-noout", "-ext", "subjectKeyIdentifier"],
                          check=True, capture_output=True, text=True).stdout  # fmt: skip
    subject = subprocess.run(["openssl", "x509", "-in", issuer.cert, "-noout", "-subject", "-nameopt", "RFC2253"],
                             check=True, capture_output=True, text=True).stdout  # fmt: skip
    identifier = text.split("\n")[1].strip().replace(":", "")
    subprocess.run(["openssl", "req", "-new", "-x509", "-key", rsa_key(key), "-days", "30",
                    "-subj", "/" + subject.partition("=")[2].strip(),
                    "-addext", f"subjectKeyIdentifier={identifier}",
                    "-out", cert], check=True, capture_output=True)  # fmt: skip
    return Key(name, key, cert)


def _let_expire(directory, key, cert):
    """Issue the certificate again, for a year long ago."""
    (directory / "index").write_text("")
    (directory / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={directory}/index\nserial={directory}/serial\n"
        f"new_certs_dir={directory}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        "[x]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\n"
        f"extendedKeyUsage={MODULES_ONLY}\nsubjectKeyIdentifier=hash\n"
    )
    (directory / "serial").write_text("4242\n")
    request = directory / "expired.csr"
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=table expired",
                    "-out", request], check=True, capture_output=True)  # fmt: skip
    subprocess.run(
        ["openssl", "ca", "-batch", "-config", directory / "ca.cnf", "-extensions", "x",
         "-selfsign", "-keyfile", key, "-startdate", "20200101000000Z",
         "-enddate", "20210101000000Z", "-notext", "-in", request, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip


@dataclass
class Cell:
    """One file, and what kmodkeep may say about it (none: only that it is right)."""

    name: str
    data: bytes
    words: tuple = ()


def cms(content, signers, md="sha256", attributes=False, key_id=False, along=None):
    """A detached message over CONTENT; ALONG: with the signer's certificate and these."""
    command = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-md", md]
    command += ["-nocerts"] if along is None else []
    if along:  # of several such options openssl takes the last alone
        together = along[0].key.parent / "along.pem"
        together.write_text("".join(other.cert.read_text() for other in along))
        command += ["-certfile", together]
    command += [] if attributes else ["-noattr"]
    command += ["-keyid"] if key_id else []
    for signer in signers:
        command += ["-signer", signer.cert, "-inkey", signer.key]
    return subprocess.run(command, input=content, check=True, capture_output=True).stdout


def appended(content, message, length=None):
    size = len(message) if length is None else length
    return content + message + struct.pack(">BBBBBxxxI", 0, 0, 2, 0, 0, size) + MAGIC


def flipped(data, at, rng):
    changed = bytearray(data)
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def other_vermagic(module, change):
    """MODULE with another text of the same length in its vermagic."""
    match = re.search(rb"vermagic=([^\0]+)", module)
    new = change(match[1].decode()).encode()
    assert len(new) == len(match[1]) and new != match[1]
    return module[: match.start(1)] + new + module[match.end(1) :]


def other_srcversion(module):
    """MODULE as if it were built from another source."""
    match = re.search(rb"\0srcversion=([0-9A-F])", module)
    return module[: match.start(1)] + (b"0" if match[1] != b"0" else b"1") + module[match.end(1) :]


def other_form(module, message):
    """Well signed, but with another version or name than kernels ask for."""
    versions = [match.end() - 1 for match in re.finditer(rb"\x02\x01\x01", message)][:2]
    name = message.index(b"table good") + len("table ")
    for what, at, value in (("message-3", versions[0], 3), ("message-2", versions[0], 2),
                            ("signer-3", versions[1], 3), ("signer-0", versions[1], 0)):
        yield Cell(f"version-of-{what}", appended(
            module, message[:at] + bytes([value]) + message[at + 1 :]), ("unsupported-signature",))
    yield Cell("name-in-capitals", appended(
        module, message[:name] + b"GOOD" + message[name + 4 :]), ("untrusted-key",))


def damaged(module, file, message, seed):
    """FILE, which is MODULE with MESSAGE behind it, changed in random places."""
    rng = random.Random(seed)
    for _ in range(4):
        at = rng.randrange(64, len(module))
        yield Cell(f"tampered-{seed}-at-{at}", flipped(file, at, rng), ("tampered",))
    for _ in range(4):
        at = rng.randrange(len(message))
        changed = flipped(message, at, rng)
        yield Cell(f"corrupt-{seed}-at-{at}", appended(module, changed))
    for _ in range(2):
        cut = rng.randrange(1, len(message))
        yield Cell(f"truncated-{seed}-by-{cut}", appended(module, message[:-cut]))


def variants(module, keys, seeds):
    """All cells, not yet compressed, of the unsigned MODULE."""
    good = keys["good"]

    def signed(*names, content=module, **kwargs):
        return appended(content, cms(content, [keys[name] for name in names], **kwargs))

    message = cms(module, [good])
    yield Cell("unsigned", module, ("unsigned",))
    yield from chains(module, keys, seeds)
    for name in ("unknown", "declined"):
        yield Cell(name, signed(name), ("untrusted-key",))
    yield Cell("pending", signed("pending"), ("pending-enrolment",))
    for name in ("good", "expired", "no-usage", "any-usage"):
        yield Cell(name, signed(name), ("ok",))
    yield Cell("ecdsa", signed("ecdsa"))
    yield Cell("key-id", signed("good", key_id=True), ("ok",))
    yield Cell("two-signers", signed("good", "unknown"), ("ok",))
    yield Cell("two-signers-turned", signed("unknown", "good"), ("ok",))
    yield Cell("two-strangers", signed("unknown", "declined"), ("untrusted-key",))
    for md in HASHES:
        yield Cell(f"hash-{md}", signed("good", md=md))
    yield Cell("attributes", signed("good", attributes=True), ("unsupported-signature",))
    yield from other_form(module, message)
    for seed in seeds:
        yield from damaged(module, signed("good"), message, seed)
    yield Cell("length-beyond", appended(module, message, 1 << 30), ("tampered",))
    yield Cell("length-zero", appended(module, b""))
    yield Cell("revoked-certificate", signed("revoked"))
    yield Cell("revoked-hash", revoked_hash_file(module, keys))
    yield Cell("release", signed("good", content=other_vermagic(
        module, lambda v: ("9" if v[0] != "9" else "8") + v[1:])))
    yield Cell("other-build", signed("good", content=other_srcversion(module)), ("ok",))
    yield Cell("settings", signed("good", content=other_vermagic(
        module, lambda v: v.replace("mod_unload", "mod_unloax"))), ("wrong-kernel",))


def chains(module, keys, seeds):
    """Certificates that the message brings along, from the signer's up to one that is enrolled."""
    ca, good, strange = keys["ca"], keys["good"], keys["strange-ca"]
    leaf, between = issue("leaf", ca), issue("between", ca)
    deep, alone = issue("deep", between), issue("alone", ca, akid="none")

    def signed(by, *along, **kwargs):
        return appended(module, cms(module, [by], along=along, **kwargs))

    refused = ("untrusted-key",)
    yield Cell("chain-one", signed(leaf), ("ok",))
    yield Cell("chain-one-to-the-root", signed(leaf, ca), ("ok",))
    yield Cell("chain-of-the-key-itself", signed(good), ("ok",))
    # Of the signer only the issuer's name is known. Where the kernel's keyrings can be read
    # that is not enough: distributions' kernels have keys built in that such a one issued.
    yield Cell("chain-not-along", appended(module, cms(module, [leaf])), ("unknown", *refused))
    yield Cell("chain-two", signed(deep, between), ("ok",))
    yield Cell("chain-two-with-a-gap", signed(deep), refused)
    yield Cell("chain-that-names-no-issuer", signed(alone), refused)
    yield Cell("chain-by-issuer-and-serial", signed(issue("serial", ca, "keyid,issuer:always")), ("ok",))
    # Nobody asks whether the certificate may issue others.
    yield Cell("chain-by-a-key-that-is-no-ca", signed(issue("under", good)), ("ok",))
    yield Cell("chain-of-strangers", signed(issue("strange", strange)), refused)
    yield Cell("chain-of-strangers-to-the-root", signed(issue("strange-2", strange), strange), refused)
    yield Cell("chain-pending", signed(issue("waiting", keys["pending"])), ("pending-enrolment",))
    yield Cell("chain-forged", signed(issue("false", forged("false-ca", ca))), ("tampered",))
    # By its key identifier kernels do not look for a certificate that came along.
    yield Cell("chain-by-key-id", signed(leaf, key_id=True), refused)
    # No certificate in the message may be damaged, whether or not anybody needs it.
    for name, file in (("good", signed(good)), ("ca", signed(leaf, ca)),
                       ("strange-ca", signed(leaf, strange))):
        at = file.rindex(f"table {name}".encode()) - 40  # before the subject's name
        yield Cell(f"chain-damaged-{name}", flipped(file, at, random.Random(2)), ("tampered",))
    yield Cell("chain-tampered", flipped(signed(leaf), 80, random.Random(1)), ("tampered",))
    for seed in seeds:
        rng = random.Random(seed)
        line = [issue(f"step-{seed}-0", ca)]
        for depth in range(1, rng.randrange(2, 6)):
            line.append(issue(f"step-{seed}-{depth}", line[-1]))
        signer = line.pop()
        gap = rng.randrange(2 * len(line))
        along = [step for at, step in enumerate(line) if at != gap]
        rng.shuffle(along)
        yield Cell(f"chain-{seed}-of-{len(line) + 1}", signed(signer, *along),
                   ("ok",) if gap >= len(line) else refused)


def revoked_hash_file(module, keys):
    """The file whose hash is in MokListX: well signed, and unlike all others."""
    content = module + b"\0" * 16
    return appended(content, cms(content, [keys["good"]]))


def revoked_hash(module, keys):
    return hashlib.sha256(revoked_hash_file(module, keys)).digest()


PACKERS = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32, preset=6),
    ".zst": lambda data: subprocess.run(["zstd", "-q"], input=data, check=True,
                                        capture_output=True).stdout,
}  # fmt: skip


def files(module, keys, seeds, cells=None):
    """{path below /table: Cell} in each compression, and signed after it."""
    found = {}
    for cell in variants(module, keys, seeds):
        if cells and not re.match(cells, cell.name):
            continue
        for suffix, pack in PACKERS.items():
            found[f"{cell.name}/table.ko{suffix}"] = Cell(cell.name, pack(cell.data), cell.words)
    for suffix in (".xz", ".zst"):
        packed = PACKERS[suffix](module)
        data = appended(packed, cms(packed, [keys["good"]]))
        found[f"signed-outside/table.ko{suffix}"] = Cell("signed-outside", data,
                                                         ("unsupported-signature",))
    return found
