# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep fleet redfish against a simulated management controller.

The controller is a simulation, an HTTPS server of this file: it knows Redfish's system,
SecureBoot, SecureBootDatabases and Certificates, and takes nothing that their schemas do not
allow.  No real controller was asked.
"""

import base64
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import pytest

from tests.unit.fleet.hosts import TOP, fleet

ROOT = "/redfish/v1/Systems"
DB = f"{ROOT}/1/SecureBoot/SecureBootDatabases/db"
CERTIFICATES = f"{DB}/Certificates"

# Certificate.v1_7: what a client may say of a new one, and must.
NEW = {
    "type": "object", "additionalProperties": False, "required": ["CertificateString", "CertificateType"],
    "properties": {
        "CertificateString": {"type": "string", "pattern": "^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+"
                                                           "-----END CERTIFICATE-----\n?$"},
        "CertificateType": {"enum": ["PEM"]},
        "UefiSignatureOwner": {"type": "string"},
    },
}  # fmt: skip


def make_pair(path, name, *words):
    key, cert = path / f"{name}.key", path / f"{name}.pem"
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "9", "-subj", f"/CN={name}", *words, "-keyout", key, "-out", cert],
                   check=True, capture_output=True)  # fmt: skip
    return key, cert


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing: what was asked is in the record."""

    def _send(self, status, document=None, **headers):
        body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status, text, **headers):
        self._send(status, {"error": {"code": "Base.1.18.GeneralError", "message": "see there",
                                      "@Message.ExtendedInfo": [{"MessageId": "x", "Message": text}]}}, **headers)  # fmt: skip

    def _handle(self):
        bmc = self.server.bmc
        bmc.asked.append((self.command, self.path))
        want = "Basic " + base64.b64encode(f"{bmc.user}:{bmc.password}".encode()).decode()
        if self.headers["Authorization"] != want:
            return self._refuse(401, "who are you?")
        if self.headers["Accept"] != "application/json" or self.headers["OData-Version"] != "4.0":
            return self._refuse(406, "headers")
        trouble = bmc.trouble.get((self.command, self.path))
        if trouble:
            return trouble(self)
        return self.do_post() if self.command == "POST" else self.do_get()

    do_GET = do_POST = do_PATCH = do_DELETE = _handle

    def do_get(self):
        document = self.server.bmc.documents().get(self.path)
        return self._send(200, document) if document else self._refuse(404, "no such resource")

    def do_post(self):
        bmc = self.server.bmc
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != CERTIFICATES:
            return self._refuse(405, "not here")
        if self.headers["Content-Type"] != "application/json":
            return self._refuse(415, "not JSON")
        try:
            document = json.loads(content)
            jsonschema.validate(document, NEW)
            ssl.PEM_cert_to_DER_cert(document["CertificateString"])
        except (ValueError, jsonschema.ValidationError) as error:
            return self._refuse(400, str(error).splitlines()[0])
        bmc.added.append(document["CertificateString"])
        if bmc.later:
            return self._send(202, None, Location="/redfish/v1/TaskService/TaskMonitors/1")
        bmc.certificates.append(document["CertificateString"])
        return self._send(201, None, Location=f"{CERTIFICATES}/{len(bmc.certificates)}")


def ref(path):
    return {"@odata.id": path}


class Bmc:
    """The simulated controller, and what it was asked."""

    def __init__(self, path):
        self.path = path
        self.user, self.password = "operator", "s3cret:with spaces"
        self.certificates, self.added, self.asked, self.trouble = [], [], [], {}
        self.systems, self.page, self.later = ["1"], 2, False
        key, self.ca = make_pair(path, "bmc", "-addext", "subjectAltName=DNS:localhost")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.bmc = True, self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        # Each connection in a thread of its own, its handshake too.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"https://localhost:{self.port}"
        self.credentials = path / "credentials"
        self.credentials.write_text(f"user = {self.user}\npassword = {self.password}\n")
        self.credentials.chmod(0o600)
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def documents(self):
        secure = f"{ROOT}/1/SecureBoot"
        found = {
            ROOT: {"Members": [ref(f"{ROOT}/{name}") for name in self.systems]},
            f"{ROOT}/1": {"Id": "1", "SecureBoot": ref(secure)},
            secure: {"Id": "SecureBoot", "SecureBootDatabases": ref(f"{secure}/SecureBootDatabases")},
            f"{secure}/SecureBootDatabases": {"Members": [ref(f"{secure}/SecureBootDatabases/{n}")
                                                          for n in ("PK", "dbDefault", "db")]},
        }  # fmt: skip
        for name in ("PK", "dbDefault", "db"):
            at = f"{secure}/SecureBootDatabases/{name}"
            found[at] = {"Id": name, "DatabaseId": name, "Certificates": ref(f"{at}/Certificates")}
        pages = [self.certificates[i : i + self.page] for i in range(0, len(self.certificates), self.page)] or [[]]
        for number, page in enumerate(pages):
            at = CERTIFICATES + (f"?$skip={number * self.page}" if number else "")
            found[at] = {"Members": [ref(f"{CERTIFICATES}/{number * self.page + n + 1}") for n in range(len(page))]}
            if number + 1 < len(pages):
                found[at]["Members@odata.nextLink"] = f"{CERTIFICATES}?$skip={(number + 1) * self.page}"
        for n, text in enumerate(self.certificates, 1):
            found[f"{CERTIFICATES}/{n}"] = {"Id": str(n), "CertificateString": text, "CertificateType": "PEM"}
        return found

    def run(self, cert, *words, url=None):
        return fleet("redfish", url or self.url, "--cert", cert, "--credentials", self.credentials,
                     "--ca", self.ca, *words)  # fmt: skip


@pytest.fixture
def bmc(tmp_path):
    controller = Bmc(tmp_path)
    yield controller
    controller.server.shutdown()
    controller.server.server_close()


@pytest.fixture
def cert(tmp_path):
    return make_pair(tmp_path, "modules")[1]


def test_adds_it_once_and_leaves_what_is_there(bmc, cert, tmp_path):
    bmc.certificates = [make_pair(tmp_path, f"vendor{n}")[1].read_text() for n in range(3)]
    before = list(bmc.certificates)
    done = bmc.run(cert, "--dry-run")
    assert done.returncode == 0 and f"would add {cert} to {CERTIFICATES}" in done.stdout and not bmc.added, done.stderr
    done = bmc.run(cert)
    assert done.returncode == 0 and "is in db of localhost. Next: reboot the machine" in done.stdout, done.stderr
    assert bmc.certificates == [*before, cert.read_text()]
    der = tmp_path / "modules.der"
    subprocess.run(["openssl", "x509", "-in", cert, "-outform", "DER", "-out", der], check=True)
    done = bmc.run(der, url=f"{bmc.url}{ROOT}/1/")
    assert done.returncode == 0 and "already" in done.stdout and len(bmc.added) == 1
    assert {method for method, _ in bmc.asked} == {"GET", "POST"}


def test_one_that_takes_it_at_the_next_start(bmc, cert):
    bmc.later = True
    done = bmc.run(cert)
    assert done.returncode == 3 and "took" in done.stderr and "does not list it yet. Next: reboot" in done.stderr


def test_of_several_systems_one_is_named(bmc, cert):
    bmc.systems = ["1", "2"]
    done = bmc.run(cert)
    assert done.returncode == 1 and "has 2 systems" in done.stderr and f"{bmc.url}{ROOT}/2" in done.stderr
    assert bmc.run(cert, url=f"{bmc.url}{ROOT}/1").returncode == 0
    done = bmc.run(cert, url=f"{bmc.url}{ROOT}/9")
    assert done.returncode == 1 and "404: no such resource" in done.stderr


def answer(status, text="so it is", **headers):
    return lambda handler: handler._refuse(status, text, **headers)


@pytest.mark.parametrize("status, code, said", [
    (401, 1, "user or password are wrong"), (403, 1, "may not do this"), (404, 1, "there is no such thing"),
    (412, 1, "changed by somebody else meanwhile. Next: again"), (400, 1, "400: so it is"),
    (500, 3, "the controller failed"), (503, 3, "Next: again later")])  # fmt: skip
def test_answers_that_are_none(bmc, cert, status, code, said):
    bmc.trouble["POST", CERTIFICATES] = answer(status)
    done = bmc.run(cert)
    assert done.returncode == code and said in done.stderr and f"localhost: {status}: so it is" in done.stderr
    assert done.stderr.count("\n") == 1 and not bmc.added
    # Once: nothing is tried twice, a password least of all.
    assert sum(asked == ("POST", CERTIFICATES) for asked in bmc.asked) == 1


def test_wrong_password_is_said_once(bmc, cert):
    bmc.password = "another"
    done = bmc.run(cert)
    assert done.returncode == 1 and "user or password are wrong" in done.stderr and len(bmc.asked) == 1
    assert "s3cret" not in done.stderr + done.stdout


def test_nobody_is_followed_to_another_host(bmc, cert):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        other.settimeout(0)
        elsewhere = f"https://localhost:{other.getsockname()[1]}/redfish/v1"
        bmc.trouble["GET", f"{ROOT}/1"] = answer(308, Location=elsewhere)
        done = bmc.run(cert)
        assert done.returncode == 1 and f"it sends to {elsewhere}, where nobody is followed" in done.stderr
        for path in (elsewhere, "//localhost/redfish/v1", "/other", "/redfish/a b", 7):
            bmc.trouble["GET", f"{ROOT}/1"] = lambda h, p=path: h._send(200, {"SecureBoot": ref(p)})
            done = bmc.run(cert)
            assert done.returncode == 3 and "is no address on this controller" in done.stderr
        with pytest.raises(BlockingIOError):
            other.accept()


@pytest.mark.parametrize("content, said", [
    (b"<html>", "no JSON"), (b"[]", "no JSON object"), (b"[" * 100000, "no JSON"), (b" " * (5 << 20), "more than"),
    (b'{"Members": 7}', "is no collection"), (b'{"Members": [7]}', "is no address"),
    (b'{"Members": [], "Members@odata.nextLink": "/redfish/v1/Systems"}', "more than 1024 members or 64 pages")],
    ids=["html", "array", "deep", "large", "number", "member", "endless"])  # fmt: skip
def test_documents_that_are_none(bmc, cert, content, said):
    bmc.trouble["GET", ROOT] = lambda handler: handler._send(200, content)
    done = bmc.run(cert)
    assert done.returncode == 3 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_what_it_says_is_on_one_line(bmc, cert):
    bmc.trouble["GET", ROOT] = answer(500, "\x1b[2J\nkmodkeep: all is well")
    done = bmc.run(cert)
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 1
    # In place of HTTP, too.
    bmc.trouble["GET", ROOT] = lambda handler: handler.wfile.write(b"\x1b[2Jnothing of HTTP\r\n\r\n")
    done = bmc.run(cert)
    assert done.returncode == 3 and "[2Jnothing of HTTP (GET" in done.stderr, done.stderr
    assert "\x1b" not in done.stderr and done.stderr.count("\n") == 1


def test_controllers_without_such_lists(bmc, cert):
    bmc.trouble["GET", f"{ROOT}/1"] = lambda handler: handler._send(200, {"Id": "1"})
    done = bmc.run(cert)
    assert done.returncode == 1 and "has no SecureBoot" in done.stderr and "vendor's tools" in done.stderr


def test_only_over_tls_that_is_trusted(bmc, cert, tmp_path):
    other = make_pair(tmp_path, "other")[1]
    done = bmc.run(cert, "--ca", other)
    assert done.returncode == 3 and "its TLS certificate is not trusted" in done.stderr and not bmc.asked
    # The name counts, too.
    done = bmc.run(cert, url=bmc.url.replace("localhost", "127.0.0.1"))
    assert done.returncode == 3 and "not trusted" in done.stderr and not bmc.asked
    for url in (bmc.url.replace("https", "http"), "https://", "localhost", bmc.url.replace("//", "//a:b@"),
                "https://localhost:x", bmc.url + "?x=1"):  # fmt: skip
        assert bmc.run(cert, url=url).returncode == 2, url
    # A password in an address is neither taken nor repeated.
    done = bmc.run(cert, url=bmc.url.replace("//", "//:s3cret@"))
    assert done.returncode == 2 and "--credentials" in done.stderr and "s3cret" not in done.stderr
    done = bmc.run(cert, url="https://a..b")
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
    junk = tmp_path / "ca"
    junk.write_text("junk")
    done = bmc.run(cert, "--ca", junk)
    assert done.returncode == 1 and f"{junk} is not a certificate in PEM" in done.stderr
    assert not bmc.asked


def test_one_that_does_not_answer_is_left(bmc, cert, tmp_path):
    """Bounded for one answer and for all; the bounds are shortened here."""
    script = re.sub(r"(?m)^ALL_SECONDS = \d+$", "ALL_SECONDS = 2",
                    (TOP / "fleet/kmodkeep_fleet/redfish.py").read_text())  # fmt: skip
    package = tmp_path / "lib/kmodkeep_fleet"
    package.mkdir(parents=True)
    for file in (TOP / "fleet/kmodkeep_fleet").glob("*.py"):
        (package / file.name).write_text(script if file.name == "redfish.py" else file.read_text())
    program = package.parent / "fleet"
    program.write_text((TOP / "fleet/fleet").read_text())
    event = threading.Event()
    bmc.trouble["GET", ROOT] = lambda _: event.wait(100)
    done = subprocess.run(["/usr/bin/python3", "-I", program, "kmodkeep", "redfish", bmc.url, "--cert", cert, "--ca", bmc.ca,
                           "--credentials", bmc.credentials], capture_output=True, text=True, timeout=90)  # fmt: skip
    event.set()
    assert done.returncode == 3 and "not done within 2 seconds" in done.stderr, done.stderr


def test_nobody_listens(bmc, cert):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    done = bmc.run(cert, url=f"https://localhost:{port}")
    assert done.returncode == 3 and "Connection refused" in done.stderr


@pytest.mark.parametrize("text, mode, said", [
    ("user = a\npassword = b\n", 0o640, "others can read it"), ("user = a\n", 0o600, "it has no lines"),
    ("user = a:b\npassword = c\n", 0o600, "it has no lines"), ("x" * 9000, 0o600, "it has no lines")],
    ids=["mode", "half", "colon", "long"])  # fmt: skip
def test_credentials(bmc, cert, text, mode, said):
    bmc.credentials.write_text(text)
    bmc.credentials.chmod(mode)
    done = bmc.run(cert)
    assert done.returncode == 1 and said in done.stderr and not bmc.asked


def test_credentials_or_certificates_that_are_not_there(bmc, cert, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(bmc.credentials)
    os.mkfifo(tmp_path / "fifo", 0o600)  # nobody writes it, and nobody waits
    for path in (link, tmp_path / "none", tmp_path, tmp_path / "fifo"):
        bmc.credentials = path
        assert bmc.run(cert).returncode in (1, 3) and not bmc.asked
    junk = tmp_path / "junk"
    junk.write_text("junk")
    done = bmc.run(junk)
    assert done.returncode == 1 and "is not a certificate" in done.stderr
    assert bmc.run(tmp_path / "none").returncode == 3


def test_way_from_key_enroll(tmp_path):
    """It hands all words over; without the package of fleets it says what to install."""
    script = tmp_path / "key-enroll"
    script.write_text((TOP / "signing/key-enroll").read_text())
    script.chmod(0o755)
    words = [script, "/usr/sbin/kmodkeep", "--via", "redfish", "https://bmc", "--cert", "x"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and "Next: install kmodkeep-fleet" in done.stderr
    stand_in = tmp_path / "fleet"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.split() == ["/usr/sbin/kmodkeep", "redfish", "https://bmc", "--cert", "x"]
