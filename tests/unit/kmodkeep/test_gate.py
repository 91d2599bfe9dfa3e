# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep gate: which gate files a host believes, and what it makes of them."""

import fcntl
import hashlib
import http.server
import json
import os
import pty
import resource
import subprocess
import termios
import threading
import time

import pytest

from tests.unit.fleet import test_pull
from tests.unit.fleet.hosts import put, state
from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import MACHINE, OUT, PROGRAM, certificate

NAME = "kernel-7"
DIGEST = hashlib.sha256(f"kmodkeep fleet {MACHINE}".encode()).hexdigest()[:32]


def ring(rollout=NAME):
    return int.from_bytes(hashlib.sha256(f"kmodkeep ring {rollout} {DIGEST}".encode()).digest()[:4], "big") % 10000


def out_of_time(directory, name, start, end):
    """The same, valid from START to END, seconds from now."""
    key, request, cert = (directory / f"{name}.{end}" for end in ("key", "csr", "pem"))
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", f"/CN={name}", "-keyout", key, "-out", request], check=True, capture_output=True)  # fmt: skip
    (directory / "index.txt").write_text("")
    (directory / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={directory}/index.txt\nnew_certs_dir={directory}\ndefault_md=sha256\n"
        "policy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n")  # fmt: skip
    times = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + s)) for s in (start, end)]
    subprocess.run(["openssl", "ca", "-batch", "-selfsign", "-notext", "-config", directory / "ca.cnf", "-keyfile", key,
                    "-in", request, "-out", cert, "-startdate", times[0], "-enddate", times[1]],
                   check=True, capture_output=True)  # fmt: skip
    return key, cert


def sign(text, key, cert, *more):
    command = ["openssl", "cms", "-sign", "-nodetach", "-binary", "-md", "sha256", "-signer", cert, "-inkey", key,
               "-outform", "PEM", *more]  # fmt: skip
    return subprocess.run(command, input=text.encode(), check=True, capture_output=True).stdout


def text(**changes):
    now = int(time.time())
    values = {"rollout": NAME, "issued": now, "expires": now + 3600, "share": 10000, "decision": "go-on",
              "packages": "linux-image-amd64 sample-dkms", **changes}  # fmt: skip
    lines = ["kmodkeep-gate 1", *[f"{key} = {value}" for key, value in values.items() if value is not None]]
    return "\n".join([*lines, ""])


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("gate"), "fleet")


class Gate:
    """A host that follows a gate, and where that is published."""

    def __init__(self, tree, keys, path):
        self.tree, self.keys, self.published = tree, keys, path / "published"
        tree.put("etc/kmodkeep/gate.pem", keys[1].read_bytes())
        self.settings()

    def settings(self, address=None, more=""):
        address = address or self.published.as_uri()
        self.tree.put("etc/kmodkeep/guard.conf", f"gate = {address}\nprometheus = /var/kmodkeep.prom\n{more}")

    def publish(self, *more, data=None, **changes):
        # A second that the one before cannot have had, for "newer than".
        before = self.published.stat().st_mtime if self.published.exists() else 0
        self.published.write_bytes(sign(text(**changes), *self.keys, *more) if data is None else data)
        os.utime(self.published, (before + 1, before + 1) if before else (time.time() - 1000,) * 2)

    def fetch(self):
        return self.tree.run("gate", "--fetch")

    def record(self):
        return json.loads((self.tree.path / "var/lib/kmodkeep/gate/record.json").read_text())

    def refused(self, word, message):
        """It says why, others are told, and what was there before stays."""
        before = self.kept()
        result = self.fetch()
        assert result.code == 3 and message in result.err and len(result.err.splitlines()) == 1, result.text
        record = self.record()
        assert (record["verdict"], record["reason"]) == ("refused", word), record
        metrics = (self.tree.path / "var/kmodkeep-gate.prom").read_text()
        assert f'kmodkeep_gate{{verdict="refused",reason="{word}"}} 1\n' in metrics
        assert self.kept() == before
        assert not (self.tree.path / "var/lib/kmodkeep/gate/file.new").exists()

    def kept(self):
        path = self.tree.path / "var/lib/kmodkeep/gate/file"
        return path.read_bytes() if path.exists() else None


@pytest.fixture
def gate(tree, keys, tmp_path):
    return Gate(tree, keys, tmp_path)


def test_it_may(gate):
    gate.publish()
    result = gate.fetch()
    assert result.code == 0 and not result.err, result.text
    assert result.out == f"update: roll-out {NAME}, 10000 of 10000 hosts may, this one is number {ring()}\n"
    shell = gate.tree.run("gate", "--shell").out.splitlines()
    assert shell == ["verdict=update", f"rollout={NAME}", "packages=linux-image-amd64 sample-dkms", "reboot=no"]
    gate.settings(more="gate_reboot = yes\n")
    assert "reboot=yes" in gate.tree.run("gate", "--shell").out


def test_versions(gate):
    """Of each package the lowest that counts as updated, as dpkg writes it."""
    gate.publish(packages="linux-image-amd64=1:6.1.2-1~bpo12+1 g++ sample:i386=2")
    result = gate.fetch()
    assert result.code == 0, result.text
    assert "packages=linux-image-amd64=1:6.1.2-1~bpo12+1 g++ sample:i386=2\n" in gate.tree.run("gate", "--shell").out


def test_nobody_is_asked_for_a_password(gate):
    """Of a file that says it is encrypted, at a terminal: it would wait there, with the lock."""
    gate.publish()
    text = gate.published.read_bytes().replace(
        b"CMS-----\n", b"CMS-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC," + b"0" * 32 + b"\n\n", 1)  # fmt: skip
    gate.publish(data=text)
    terminal, inside = pty.openpty()
    with os.fdopen(terminal), subprocess.Popen(
            [PROGRAM, "gate", "--fetch", "--root", gate.tree.path], stdin=inside, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as process:  # fmt: skip
        os.close(inside)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 3 and "it is cut or damaged" in said, said


def test_the_order_of_hosts(gate):
    """Those below the share may, and the order is another one for each roll-out."""
    gate.publish(share=ring())
    assert gate.fetch().code == 1 and gate.record()["verdict"] == "waits"
    gate.publish(share=ring() + 1, issued=int(time.time()) + 1)
    assert gate.fetch().code == 0
    assert ring("a") != ring("b")


def test_none_may_at_first(gate):
    gate.publish(share=0)
    assert gate.fetch().code == 1


@pytest.mark.parametrize("decision", ["stop", "go-back"])
def test_one_that_has_not_begun_does_nothing_when_it_stops(gate, decision):
    gate.publish(decision=decision)
    assert gate.fetch().code == 1 and gate.record()["verdict"] == "stopped"


@pytest.mark.parametrize("step, decision, code, verdict", [
    ("begun", "go-on", 0, "update"), ("begun", "stop", 1, "stopped"), ("begun", "go-back", 0, "go-back"),
    ("updated", "go-on", 1, "updated"), ("updated", "stop", 1, "updated"), ("updated", "go-back", 0, "go-back"),
    ("failed", "go-on", 1, "failed"), ("failed", "go-back", 0, "go-back"), ("left-out", "go-on", 0, "update"),
    ("left-out", "go-back", 1, "stopped"), ("gone-back", "go-back", 1, "gone-back"),
])  # fmt: skip
def test_one_that_has_begun(gate, step, decision, code, verdict):
    gate.publish()
    assert gate.fetch().code == 0
    assert gate.tree.run("gate", "--mark", step, NAME).code == 0
    gate.publish(decision=decision, issued=int(time.time()) + 1, share=0)
    assert gate.fetch().code == code and gate.record()["verdict"] == verdict
    assert (gate.record()["step"], gate.record()["step_of"]) == (step, NAME)


def test_a_step_has_the_boot_in_which_it_was_made(gate):
    gate.tree.boot(1)
    gate.publish()
    gate.fetch()
    assert gate.tree.run("gate", "--mark", "updated", NAME).code == 0
    gate.tree.boot(2)
    gate.fetch()
    assert gate.record()["step_boot"] == "boot-1"


def test_another_rollout_after_it(gate):
    gate.publish()
    gate.fetch()
    gate.tree.run("gate", "--mark", "updated", NAME)
    gate.publish(rollout="kernel-8", issued=int(time.time()) + 1)
    assert gate.fetch().code == 0


def test_marks_that_make_no_sense(gate):
    gate.publish()
    gate.fetch()
    assert gate.tree.run("gate", "--mark", "sideways", NAME).code == 2
    assert "not the roll-out that this host knows of" in gate.tree.run("gate", "--mark", "begun", "other").err
    assert gate.tree.run("gate", "--mark", "begun").code == 2
    assert gate.record()["step"] is None


def test_unsigned(gate):
    gate.publish(data=text().encode())
    gate.refused("unsigned", "it is not signed")


def test_nothing_in_it(gate):
    gate.publish(data=b"")
    gate.refused("unsigned", "it is not signed")


def test_signed_by_somebody_else(gate, tmp_path):
    """Also where the certificate is in the file, and has the same name."""
    gate.publish(data=sign(text(), *certificate(tmp_path, "fleet")))
    gate.refused("wrong-key", "no certificate of this host has signed it")


def test_the_text_was_changed(gate):
    data = sign(text(share=5), *gate.keys, "-outform", "DER")
    forged = data.replace(b"share = 5\n", b"share = 9\n")
    assert forged != data
    command = ["openssl", "cms", "-cmsout", "-inform", "DER", "-outform", "PEM"]
    gate.publish(data=subprocess.run(command, input=forged, check=True, capture_output=True).stdout)
    gate.refused("wrong-key", "it was changed since")


def test_a_signature_without_the_text(gate):
    command = ["openssl", "cms", "-sign", "-binary", "-signer", gate.keys[1], "-inkey", gate.keys[0], "-outform", "PEM"]
    gate.publish(data=subprocess.run(command, input=text().encode(), check=True, capture_output=True).stdout)
    gate.refused("wrong-key", "no certificate of this host has signed it")


def test_cut(gate):
    gate.publish()
    gate.publish(data=gate.published.read_bytes()[:-80])
    gate.refused("cut", "it is cut or damaged")


def test_huge(gate):
    gate.publish(data=b"x" * 70000)
    gate.refused("huge", "it has more than 65536 bytes")


def test_expired(gate):
    gate.publish(issued=int(time.time()) - 7200, expires=int(time.time()) - 60)
    gate.refused("expired", "it expired 6")


def test_it_expires_while_it_is_kept(gate):
    # A busy machine may need longer to fetch it than it lives.
    for seconds in (1, 8, 64):
        expires = int(time.time()) + seconds
        gate.publish(expires=expires)
        if gate.fetch().code == 0:
            break
    while time.time() < expires + 1:
        time.sleep(0.1)
    result = gate.tree.run("gate")
    assert result.code == 3 and "it expired" in result.err


def test_from_the_future(gate):
    """Or this host's clock is behind."""
    gate.publish(issued=int(time.time()) + 4000, expires=int(time.time()) + 9000)
    gate.refused("from-the-future", "is this host's clock wrong, or theirs?")


def test_replayed(gate):
    """An older one stays refused when the newer one is no longer there."""
    gate.publish(issued=int(time.time()) - 100)
    old = gate.published.read_bytes()
    assert gate.fetch().code == 0
    gate.publish(decision="stop")
    assert gate.fetch().code == 1
    gate.publish(data=old)
    gate.refused("older", "seconds older than one that was here before")
    (gate.tree.path / "var/lib/kmodkeep/gate/file").unlink()
    gate.refused("older", "seconds older than one that was here before")
    gate.publish(decision="stop", issued=int(time.time()) + 1)
    assert gate.fetch().code == 1 and gate.record()["verdict"] == "stopped"


def test_two_of_the_same_second(gate):
    now = int(time.time())
    gate.publish(issued=now)
    assert gate.fetch().code == 0
    gate.publish(issued=now, share=3)
    gate.refused("twice", "made in the same second")


def test_the_certificate_has_expired(gate, tmp_path):
    gate.keys = out_of_time(tmp_path, "old", -9000, -60)
    gate.tree.put("etc/kmodkeep/gate.pem", gate.keys[1].read_bytes())
    gate.publish()
    gate.refused("certificate-expired", "has expired. Next: give this host the new one")


def test_the_certificate_is_not_valid_yet(gate, tmp_path):
    gate.keys = out_of_time(tmp_path, "new", 9000, 90000)
    gate.tree.put("etc/kmodkeep/gate.pem", gate.keys[1].read_bytes())
    gate.publish()
    gate.refused("certificate-not-yet", "is this host's clock wrong?")


def test_two_certificates_while_one_is_replaced(gate, tmp_path):
    other = certificate(tmp_path, "next")
    gate.tree.put("etc/kmodkeep/gate.pem", gate.keys[1].read_bytes() + other[1].read_bytes())
    gate.publish()
    assert gate.fetch().code == 0
    gate.keys = other
    gate.publish(issued=int(time.time()) + 1)
    assert gate.fetch().code == 0


def test_a_certificate_that_was_revoked(gate, tmp_path):
    """It was taken from the host: what it signed before counts no more either."""
    gate.publish()
    assert gate.fetch().code == 0
    gate.tree.put("etc/kmodkeep/gate.pem", certificate(tmp_path, "next")[1].read_bytes())
    gate.refused("wrong-key", "no certificate of this host has signed it")


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_no_certificate(gate, content):
    gate.publish()
    path = gate.tree.path / "etc/kmodkeep/gate.pem"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    gate.refused("no-certificate", "certificate")


@pytest.mark.parametrize("lines", [
    text().replace("kmodkeep-gate 1", "kmodkeep-gate 2"), text().replace("kmodkeep-gate 1\n", ""), "\n"],
    ids=["later", "none", "empty"])  # fmt: skip
def test_another_schema(gate, lines):
    gate.publish(data=sign(lines, *gate.keys))
    gate.refused("other-schema", "it does not begin with 'kmodkeep-gate 1'")


@pytest.mark.parametrize("changes", [
    {"share": 10001}, {"share": "-1"}, {"share": "1e3"}, {"share": ""}, {"issued": "soon"}, {"issued": "9" * 30},
    {"decision": "maybe"}, {"packages": "--reinstall"}, {"packages": "a -o x"}, {"packages": "kmodkeep-"},
    {"packages": "a="}, {"packages": "a=1=2"}, {"packages": "a-=1"}, {"packages": "=1"}, {"packages": "a=-o"},
    {"packages": "a\n\nshare = 1"}, {"packages": "a;b"}, {"packages": ""}, {"packages": "a "}, {"packages": "a" * 5000}, {"rollout": "../x"},
    {"rollout": "a b"}, {"rollout": "a" * 65}, {"more": "x"}, {"share": None}, {"packages": "a\npackages = b"},
    {"packages": "a\tb"}, {"rollout": "a\0b"},
], ids=str)  # fmt: skip
def test_lines_that_make_no_sense(gate, changes):
    gate.publish(**changes)
    gate.refused("malformed", "refused: it")


def test_nobody_answers(gate):
    gate.publish()
    assert gate.fetch().code == 0
    gate.settings("http://127.0.0.1:9/gate")
    gate.refused("unreachable", "http://127.0.0.1:9/gate: curl: (7)")


def test_no_machine_id(gate):
    gate.tree.put("etc/machine-id", "uninitialized\n")
    gate.publish()
    result = gate.fetch()
    assert result.code == 3 and "this host has no machine ID" in result.err


def test_no_gate(tree):
    result = tree.run("gate")
    assert result.code == 3 and "this host follows none" in result.err
    assert not (tree.path / "var/lib/kmodkeep/gate").exists()


def test_an_address_that_is_none(gate):
    gate.settings("--upload-file")
    result = gate.fetch()
    assert result.code == 3 and "gate must begin with http://" in result.err


def test_the_record_cannot_be_written(gate):
    """What is not remembered is not done."""
    gate.publish()
    gate.tree.put("var/lib/kmodkeep/gate/record.json/x")
    result = gate.fetch()
    assert result.code == 3 and "record.json" in result.err and not result.out


def test_a_damaged_record_is_none(gate):
    gate.publish()
    gate.tree.put("var/lib/kmodkeep/gate/record.json", "{")
    assert gate.fetch().code == 0 and gate.record()["issued"] > 0


def test_the_fleet_is_told(gate):
    gate.publish(data=b"x")
    gate.fetch()
    found = json.loads(gate.tree.run("state").out)["gate"]
    assert (found["verdict"], found["reason"], found["schema"]) == ("refused", "unsigned", 1)


def test_it_reads_what_kmodkeep_fleet_publishes(tree, keys, tmp_path):
    """Both know the same place of this host."""
    publisher = test_pull.Publisher(tmp_path, keys)
    put(publisher.states, state("zz", machine=DIGEST))
    publisher.begin()
    tree.put("etc/kmodkeep/gate.pem", keys[1].read_bytes())
    tree.put("etc/kmodkeep/guard.conf", f"gate = {publisher.out.as_uri()}\n")
    result = tree.run("gate", "--fetch")
    assert result.out.endswith(f" this one is number {ring()}\n"), result.text
    assert result.code == (0 if ring() < int(publisher.published()["share"]) else 1)


class Server(http.server.SimpleHTTPRequestHandler):
    """Counts the bytes of answers, as they go over the line."""

    answers = []

    def setup(self):
        super().setup()
        self.wfile = Counted(self.wfile)

    def finish(self):
        Server.answers.append(self.wfile.count)
        super().finish()

    def log_message(self, *_):
        pass


class Counted:
    """A file that counts what is written into it."""

    def __init__(self, file):
        self.file, self.count = file, 0

    def write(self, data):
        self.count += len(data)
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture(scope="session")
def program():
    """As hosts have it: without sanitizers."""
    build("plain")
    return OUT / "plain/usr/sbin/kmodkeep"


def test_what_an_hour_costs(gate, program, tmp_path):
    """When nothing changed: at most 50 ms of processor and 4 KiB of traffic, its packets' heads included."""
    gate.publish(share=0)
    handler = lambda *words: Server(*words, directory=tmp_path)  # noqa: E731  # a class with an argument
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        gate.settings(f"http://127.0.0.1:{server.server_port}/published")
        command = [program, "gate", "--fetch", "--root", gate.tree.path]
        assert subprocess.run(command, capture_output=True).returncode == 1
        before, Server.answers[:] = resource.getrusage(resource.RUSAGE_CHILDREN), []
        for _ in range(10):
            assert subprocess.run(command, capture_output=True).returncode == 1
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        server.shutdown()
    spent = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 10
    assert spent <= 0.050, spent
    # Ten packets of TCP at most, 66 bytes of heads each; a question has less than 300 bytes.
    assert len(Server.answers) == 10 and max(Server.answers) + 300 + 10 * 66 <= 4096, Server.answers
