# SPDX-License-Identifier: GPL-2.0-or-later
"""A certificate into the list db of a machine's firmware, through its management controller.

Redfish (DMTF DSP0266): the system, its SecureBoot, the database "db", its certificates. What
is there is looked at first and again afterwards. A controller is believed no more than its
TLS certificate says: it is asked within a time, for a bounded number of bounded documents,
and nothing that it names on another host is asked.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import stat
import sys
from urllib.parse import urlsplit

from .states import Usage

ANSWER_SECONDS = 30
ALL_SECONDS = 300
DOCUMENT_MAX = 4 << 20
MEMBERS_MAX = 1024
PAGES_MAX = 64
SERVICE = "/redfish/v1/Systems"
SECRET_MAX = 4096
CERTIFICATE_MAX = 65536


class Stop(Exception):
    """No further: CODE to end with, and a line for people."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def no(text):
    return Stop(1, text)


def unsure(text):
    return Stop(3, text)


def read_credentials(path):
    """(user, password) of a file with the lines "user = ..." and "password = ...", which only its owner can read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # nor does a FIFO have it wait
    with os.fdopen(fd, "rb") as file:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077 or state.st_uid not in (0, os.geteuid()):
            raise no(f"{path}: others can read it, or it is another user's. Next: chmod 600 {path}")
        text = file.read(SECRET_MAX + 1)
    values = {}
    for line in text.decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip()
    user, password = values.get("user"), values.get("password")
    if len(text) > SECRET_MAX or not user or not password or ":" in user:
        raise no(f"{path}: it has no lines \"user = NAME\" and \"password = WORD\"")
    return user, password


def read_certificate(path):
    """A certificate as DER, whichever form its file has."""
    with open(path, "rb") as file:
        content = file.read(CERTIFICATE_MAX)
    begin, end = content.find(b"-----BEGIN CERTIFICATE-----"), content.find(b"-----END CERTIFICATE-----")
    try:
        if 0 <= begin < end:
            content = ssl.PEM_cert_to_DER_cert(content[begin:end].decode("ascii") + "-----END CERTIFICATE-----")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content)
    except (ValueError, ssl.SSLError) as error:
        raise no(f"{path} is not a certificate") from error
    return content


class Controller:
    """A management controller at an https address; all requests go to that host alone."""

    def __init__(self, url, ca, credentials):
        try:
            parts = urlsplit(url)
            self.host, self.port, self.path = parts.hostname, parts.port or 443, parts.path.rstrip("/")
        except ValueError:
            parts = self.host = None
        if "@" in url:  # it may be a password, and is not repeated
            raise Usage("user and password are no part of an address. Next: --credentials FILE")
        if not self.host or parts.scheme != "https" or parts.query or parts.fragment:
            raise Usage(f"'{url}' is not https://HOST or https://HOST/redfish/v1/Systems/NAME")
        self.base = f"https://{parts.netloc}"
        try:
            self.context = ssl.create_default_context(cafile=ca)
        except ssl.SSLError as error:
            raise no(f"{ca} is not a certificate in PEM") from error
        secret = base64.b64encode(":".join(credentials).encode()).decode()
        self.headers = {"Authorization": f"Basic {secret}", "Accept": "application/json", "OData-Version": "4.0"}

    def _ask(self, method, path, body):
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=ANSWER_SECONDS, context=self.context)
        with contextlib.closing(connection):
            headers = dict(self.headers)
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Location"), answer.read(DOCUMENT_MAX + 1)

    def ask(self, method, path, body=None):
        """(status, document) of what was asked; the document is empty where there is none."""
        try:
            status, elsewhere, content = self._ask(method, path, body)
        except ssl.SSLCertVerificationError as error:
            raise unsure(f"{self.host}: its TLS certificate is not trusted: {error.verify_message}. Next: --ca FILE, "
                         "the certificate of who issued it") from error  # fmt: skip
        except TimeoutError as error:
            raise unsure(f"{self.host}: no answer within {ANSWER_SECONDS} seconds ({method} {path})") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Of a host name that cannot be one, or with words of the controller in it.
            said = _plain(str(error).strip()) or type(error).__name__
            raise unsure(f"{self.host}: {said} ({method} {path})") from error
        self._judge(status, elsewhere, f"{method} {path}", content)
        if len(content) > DOCUMENT_MAX:
            raise unsure(f"{self.host}: more than {DOCUMENT_MAX} bytes ({method} {path})")
        if method != "GET":
            return status, {}
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise unsure(f"{self.host}: no JSON ({method} {path})") from error
        if not isinstance(document, dict):
            raise unsure(f"{self.host}: no JSON object ({method} {path})")
        return status, document

    def _judge(self, status, elsewhere, what, content):
        if 200 <= status < 300:
            return
        said = _message_of(content)
        where = f"{self.host}: {status}{': ' + said if said else ''} ({what})"
        if 300 <= status < 400:
            raise no(f"{where}: it sends to {_plain(elsewhere or 'nowhere')}, where nobody is followed. "
                     "Next: name that address, if it is right")  # fmt: skip
        if status in (401, 403):
            raise no(f"{where}: user or password are wrong, or may not do this")
        if status == 404:
            raise no(f"{where}: there is no such thing. Next: look at the address; where the controller has no "
                     "SecureBootDatabases, use the vendor's tools")  # fmt: skip
        if status == 412:
            raise no(f"{where}: it was changed by somebody else meanwhile. Next: again")
        if status >= 500:
            raise unsure(f"{where}: the controller failed. Next: again later")
        raise no(where)

    def get(self, path):
        return self.ask("GET", path)[1]


def _plain(text):
    """What a controller says, on one line of a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _message_of(content):
    """The text of an error of Redfish, or nothing."""
    try:
        error = json.loads(content)["error"]
        info = error.get("@Message.ExtendedInfo") or [error]
        return _plain(str(info[0].get("Message") or info[0].get("message") or ""))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ""


def link(document, name, what):
    """The path that DOCUMENT has for NAME, on the same host."""
    value = document.get(name)
    path = value.get("@odata.id") if isinstance(value, dict) else None
    if path is None:
        raise no(f"{what} has no {name}. Next: use the vendor's tools, or key enroll on the host itself")
    return local(path, what)


def local(path, what):
    if not isinstance(path, str) or not path.startswith("/redfish/") or not path.isascii() or not path.isprintable() \
            or " " in path:  # fmt: skip
        raise unsure(f"{what}: '{_plain(str(path))}' is no address on this controller")
    return path


def members(controller, path):
    """The paths of a collection's members, over all its pages."""
    found, pages = [], 0
    while path:
        document = controller.get(path)
        list_of = document.get("Members")
        if not isinstance(list_of, list):
            raise unsure(f"{path} is no collection")
        for one in list_of:
            found.append(local(one.get("@odata.id") if isinstance(one, dict) else None, path))
        pages += 1
        if len(found) > MEMBERS_MAX or pages > PAGES_MAX:
            raise unsure(f"{path} has more than {MEMBERS_MAX} members or {PAGES_MAX} pages")
        path = document.get("Members@odata.nextLink")
        if path is not None:
            path = local(path, "the next page")
    return found


def find_system(controller):
    """The path of the system: the one named, else the only one that there is."""
    if controller.path not in ("", "/redfish/v1", SERVICE):
        return local(controller.path, "the address")
    systems = members(controller, SERVICE)
    if len(systems) != 1:
        raise no(f"{controller.host} has {len(systems)} systems. Next: name one of them: "
                 f"{', '.join(controller.base + path for path in systems[:8])}")  # fmt: skip
    return systems[0]


def find_list(controller, system):
    """The collection of the certificates in db."""
    secure_boot = controller.get(link(controller.get(system), "SecureBoot", system))
    for path in members(controller, link(secure_boot, "SecureBootDatabases", "its SecureBoot")):
        database = controller.get(path)
        if database.get("DatabaseId", database.get("Id")) == "db":
            return link(database, "Certificates", path)
    raise no(f"{system} has no list db among its SecureBootDatabases. Next: use the vendor's tools")


def pem_of(der):
    return ssl.DER_cert_to_PEM_cert(der)


def has(controller, collection, der):
    """Is the certificate in it? One in a form that is not known is another."""
    for path in members(controller, collection):
        text = controller.get(path).get("CertificateString")
        try:
            if isinstance(text, str) and ssl.PEM_cert_to_DER_cert(text.strip()) == der:
                return True
        except ValueError:
            continue
    return False


def enrol(controller, der, name, dry_run):
    collection = find_list(controller, find_system(controller))
    if has(controller, collection, der):
        print(f"kmodkeep: {name} is in db of {controller.host} already")
        return 0
    if dry_run:
        print(f"kmodkeep: would add {name} to {collection} of {controller.host}")
        return 0
    body = json.dumps({"CertificateString": pem_of(der), "CertificateType": "PEM"})
    status, _ = controller.ask("POST", collection, body)
    if has(controller, collection, der):
        print(f"kmodkeep: {name} is in db of {controller.host}. Next: reboot the machine, then on it: "
              "kmodkeep key status")  # fmt: skip
        return 0
    raise unsure(f"{controller.host} took {name} ({status}), and does not list it yet. Next: reboot the machine, "
                 "then again: what is there is left alone")  # fmt: skip


def add_options(verb):
    verb.add_argument("url", help="https://HOST, or https://HOST/redfish/v1/Systems/NAME of one of several")
    verb.add_argument("--cert", required=True, help="the certificate, DER or PEM")
    verb.add_argument("--credentials", required=True,
                      help='a file with mode 0600 and the lines "user = ..." and "password = ..."')  # fmt: skip
    verb.add_argument("--ca", help="who issued the controller's TLS certificate (PEM; default: the system's)")
    verb.add_argument("--dry-run", action="store_true", help="only say what would be added")


def _too_long(*_):
    raise unsure(f"not done within {ALL_SECONDS} seconds. Next: again: what is there is left alone")


def run(options):
    try:
        der = read_certificate(options.cert)
        controller = Controller(options.url, options.ca, read_credentials(options.credentials))
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(ALL_SECONDS)
        try:
            return enrol(controller, der, options.cert, options.dry_run)
        finally:
            signal.alarm(0)
    except Stop as stop:
        print(f"kmodkeep: {stop}", file=sys.stderr)
        return stop.code
