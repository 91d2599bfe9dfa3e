# SPDX-License-Identifier: GPL-2.0-or-later
"""What a radar's file says of a host's drivers, and the fetching of it: what does not fit exactly is unknown."""

import http.server
import json
import os
import re
import ssl
import subprocess
import threading
import time

import pytest

from fleet.kmodkeep_fleet.cache import digest_tree
from tests.unit.kmodkeep.host import TOP

NEXT, VERSION = "6.1.0-31-amd64", "6.1.128-1"
WORD = f"bookworm:{NEXT}"
CELL = {"verdict": "builds", "error": None, "modules": ["sample"], "built": 1, "seconds": 1.0, "kernel_package_version": VERSION,
        "machine": os.uname().machine}  # fmt: skip


class Host:
    """One with a driver of dkms, and a radar's file beside it."""

    def __init__(self, tree):
        self.tree = tree
        self.source = tree.put("usr/src/sample-1.2/dkms.conf", 'PACKAGE_NAME="sample"\nBUILT_MODULE_NAME="sample"\n').parent
        tree.put("usr/src/sample-1.2/sub/a.c", "int a;\n")
        tree.put("usr/src/sample-1.2/sub.h", "")
        tree.put("usr/src/sample-1.2/run").chmod(0o755)
        (self.source / "link").symlink_to("sub/a.c")
        place = tree.path / "var/lib/dkms/sample/1.2"
        place.mkdir(parents=True)
        (place / "source").symlink_to("/usr/src/sample-1.2")
        self.digest = digest_tree(self.source)

    def document(self, *cells, source=None, **changes):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3 * 86400 - 60))
        row = {"driver": "sample-dkms", "version": "1.2-1", "source": source or self.digest, "kernels": dict(cells or [(WORD, CELL)])}
        return {"schema": 1, "time": now, "kernels": [WORD], "drivers": [row], **changes}

    def ask(self, document, *words):
        file = self.tree.path.parent / "radar.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return self.tree.run("radar", file, *(words or [f"{NEXT}={VERSION}"]))


@pytest.fixture
def host(tree):
    return Host(tree)


def test_the_same_source_and_the_same_kernel(host):
    result = host.ask(host.document())
    assert (result.code, result.out) == (0, f"{NEXT}: sample: builds: version 1.2\n"), result.text
    assert ", 3 days ago" in result.err


@pytest.mark.parametrize(("verdict", "code", "said"), [
    ("does-not-build", 1, "missing: version 1.2 does not build: a.c:1: error: no?[31m"),
    ("not-for-this-kernel", 1, "not-made-for-kernel: "),
    ("cannot-tell", 3, "unknown: the radar could not tell: "), ("better-than-ever", 3, "unknown: the radar could not tell: "),
    (None, 3, "unknown: the radar could not tell: "),
])  # fmt: skip
def test_verdicts(host, verdict, code, said):
    result = host.ask(host.document((WORD, {**CELL, "verdict": verdict, "error": "a.c:1: error: no\033[31m"})))
    assert result.code == code and f"{NEXT}: sample: {said}" in result.out, result.text


def changed(host, what):
    source = host.source
    {"content": lambda: (source / "sub/a.c").write_text("int b;\n"),
     "mode": lambda: (source / "sub.h").chmod(0o755),
     "name": lambda: (source / "sub.h").rename(source / "sup.h"),
     "link": lambda: ((source / "link").unlink(), (source / "link").symlink_to("sub.h")),
     "more": lambda: (source / "sub/b.c").touch()}[what]()  # fmt: skip


@pytest.mark.parametrize("what", ["content", "mode", "name", "link", "more"])
def test_a_source_that_is_not_the_one_that_was_built(host, what):
    changed(host, what)
    result = host.ask(host.document())
    assert result.code == 3 and "unknown: the radar does not know this source of version 1.2" in result.out


@pytest.mark.parametrize("word", [f"{NEXT}=6.1.129-1", f"6.1.0-3-amd64={VERSION}", f"6.1.0-310-amd64={VERSION}"])
def test_another_kernel(host, word):
    """Another version of the package, or a release of which the known one is a part."""
    result = host.ask(host.document(), word)
    assert result.code == 3 and "unknown: the radar does not know version" in result.out


@pytest.mark.parametrize("machine", ["pdp11", None, 64])
def test_another_machine(host, machine):
    """A release need not say for which it is, as Ubuntu's do not."""
    word, kernel = "noble:6.8.0-45-generic", f"6.8.0-45-generic={VERSION}"
    other = {**CELL, "machine": machine}
    result = host.ask(host.document((word, other)), kernel)
    assert result.code == 3 and f"of this kernel for {os.uname().machine}" in result.out, result.text
    worse = {**other, "verdict": "does-not-build"}
    assert host.ask(host.document((word, CELL), (f"x{word}", worse)), kernel).code == 0


def test_each_kernel_is_answered_and_the_worst_counts(host):
    document = host.document((f"{WORD}={VERSION}", CELL), ("trixie:6.12.1-amd64", {**CELL, "verdict": "does-not-build"}))
    result = host.ask(document, f"{NEXT}={VERSION}", f"6.12.1-amd64={VERSION}", "7.0-amd64=1")
    assert result.code == 1 and [line.split(": ")[2] for line in result.out.splitlines()] == ["builds", "missing", "unknown"]
    # Two suites with the same kernel.
    worse = host.document((f"sid:{NEXT}", CELL), (WORD, {**CELL, "verdict": "does-not-build"}), (f"x:{NEXT}", CELL))
    assert host.ask(worse).code == 1


def test_a_module_that_did_not_come_out(host):
    result = host.ask(host.document((WORD, {**CELL, "modules": ["other"]})))
    assert result.code == 3 and "unknown: version 1.2 builds, but sample did not come out of it" in result.out


def test_what_the_administrator_adds_has_been_seen_by_no_radar(host):
    host.tree.put("etc/dkms/sample-1.2.conf", 'MAKE="true"\n')
    result = host.ask(host.document())
    assert result.code == 3 and "/etc/dkms/sample-1.2.conf changes what dkms builds here" in result.out


def test_a_driver_that_dkms_does_not_build(host):
    host.tree.put("usr/lib/kmodkeep/drivers.d/other.conf", "modules = other\n")
    result = host.ask(host.document())
    assert result.code == 3 and f"{NEXT}: other: unknown: not built by dkms" in result.out, result.text


@pytest.mark.parametrize(("document", "said"), [
    ("", "not what kmodkeep fleet radar prints"), ("[]", "not what"), ('{"schema": 2, "drivers": []}', "not what"),
    ('{"schema": 1, "drivers": {}}', "not what"), ('{"schema": 1, "drivers": []}', "does not say when"),
    ('{"schema": 1, "drivers": [], "time": "2999-01-01T00:00:00Z"}', "in the future"), (" " * (4 << 20) + "{}", "larger than 4 MiB"),
    ('{"schema": 1, "drivers": [' + "[" * 100000, "not what"),
], ids=range(8))  # fmt: skip
def test_a_file_that_is_no_radar(host, document, said):
    result = host.ask(document)
    assert result.code == 3 and said in result.err and not result.out


def test_rows_that_are_not_what_they_should_be(host):
    rows = [None, 7, {}, {"source": host.digest}, {"source": host.digest, "kernels": []}, {"source": host.digest, "kernels": {WORD: 7}},
            {"source": host.digest, "kernels": {"no colon": CELL, WORD: {**CELL, "modules": 7, "kernel_package_version": None}}}]  # fmt: skip
    result = host.ask(host.document(drivers=rows))
    assert result.code == 3 and "unknown" in result.out
    odd = host.document((WORD, {**CELL, "modules": [None, 7, []]}))
    assert host.ask(odd).code == 3


def test_usage(host):
    for words in ([], ["x"], ["=1"]):
        assert host.tree.run("radar", "file", *words).code == 2


# ---- preflight's part: by https alone, with a certificate that the system trusts, bounded


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(URL, certificate) of an https server."""
    path = tmp_path_factory.mktemp("https")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path / "key",
                    "-out", path / "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/radar.json")
                self.end_headers()
                return
            self.send_response(200 if self.path != "/none" else 404)
            self.end_headers()  # and no length
            try:
                for _ in range(80 if self.path == "/huge" else 1):
                    self.wfile.write(b"{}" + b" " * (100000 if self.path == "/huge" else 0))
            except OSError:
                pass

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as one:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path / "cert.pem", path / "key")
        one.socket = context.wrap_socket(one.socket, server_side=True)
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"https://localhost:{one.server_port}", path / "cert.pem"
        one.shutdown()


def fetch(tmp_path, url, **environment):
    text = (TOP / "kmodkeep/preflight").read_text()
    function = re.search(r"^fetch_radar\(\) \{\n.*?^\}\n", text, re.M | re.S)[0]
    fails = re.search(r"^say\(\).*?^\}\n", text, re.M | re.S)[0]
    done = subprocess.run(["sh", "-euc", f"{fails}{function}radar=$1 scratch=$2; fetch_radar", "sh", url, tmp_path],
                          capture_output=True, text=True, timeout=300, env={**os.environ, **environment})  # fmt: skip
    return done.returncode, done.stderr


def test_fetched_from_whom_the_system_trusts(tmp_path, server):
    url, certificate = server
    assert fetch(tmp_path, f"{url}/radar.json", CURL_CA_BUNDLE=str(certificate)) == (0, "")
    assert (tmp_path / "radar.json").read_text() == "{}"


@pytest.mark.parametrize("case", ["not trusted", "none", "elsewhere", "huge"])
def test_not_fetched(tmp_path, server, case):
    url, certificate = server
    (tmp_path / ".curlrc").write_text("insecure\nlocation\n")
    trusted = {} if case == "not trusted" else {"CURL_CA_BUNDLE": str(certificate)}
    code, said = fetch(tmp_path, f"{url}/{case.replace(' ', '-')}", HOME=str(tmp_path), **trusted)
    if case == "elsewhere":  # it is not followed, and what came is no radar
        assert (tmp_path / "radar.json").read_text() == "" if code == 0 else code == 3
    else:
        assert code == 3 and f"preflight: {url}/" in said, said
    assert not (tmp_path / "radar.json").exists() or (tmp_path / "radar.json").stat().st_size <= 8194 * 512


@pytest.mark.parametrize(("codes", "worst"), [
    ("0", 0), ("0 0 3 0", 3), ("3 1 0", 1), ("1 3 137", 1), ("0 139", 3), ("2 0", 3), ("127", 3), ("137 1", 1),
])  # fmt: skip
def test_a_program_that_was_killed_tells_nothing(codes, worst):
    text = (TOP / "kmodkeep/preflight").read_text()
    function = re.search(r"^worst=0\nworse\(\) \{\n.*?^\}\n", text, re.M | re.S)[0]
    done = subprocess.run(["sh", "-euc", f'{function}for code in {codes}; do worse "$code"; done; echo $worst'],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == f"{worst}\n"


@pytest.mark.parametrize("word", ["http://localhost/radar.json", "ftp://x/y", "", "-x"])
def test_words_that_name_no_radar(tree, word):
    done = subprocess.run([TOP / "kmodkeep/preflight", "kmodkeep", "--radar", word], capture_output=True, text=True)
    assert done.returncode == 2 and "kmodkeep: preflight: " in done.stderr
