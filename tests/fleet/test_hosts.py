# SPDX-License-Identifier: GPL-2.0-or-later
"""Roll-outs to hosts that are there: real sshd, apt and kmodkeep in namespaces (see lab.py).

HOSTS=200 chooses how many; with FULL=1 it is 200. What they cost is printed, and left in
build/results/fleet-hosts.json.
"""

import concurrent.futures
import hashlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.fleet import lab as labs
from tests.fleet.controller import Ansible, version
from tests.fleet.lab import PACKAGE, Lab
from tests.lib.cache import locked
from tests.unit.fleet.hosts import PROGRAM, TOP
from tests.unit.kmodkeep.host import Pair, Tree
from tests.unit.kmodkeep.system import NEW, OLD
from tests.unit.kmodkeep.test_firmware_ca import CERT_SHA256, hash_list, tbs

HOSTS = int(os.environ.get("HOSTS") or (200 if os.environ.get("FULL") else 6))
TROUBLES = labs.TROUBLES if HOSTS >= 20 else ["build-broken", "vanishes", "hostile-state", "disk-full"]
RESULTS = TOP / "build/results/fleet-hosts.json"

# What becomes of a host in a roll-out by Ansible.
FATE = {"none": "done", "build-broken": "failed", "disk-full": "failed", "vanishes": "failed", "hostile-state": "left-out",
        "cut-state": "left-out", "wrong-clock": "left-out", "clone": "left-out"}  # fmt: skip


def keep(**figures):
    """For docs/fleet.md."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with locked("fleet-hosts"):  # of two workers
        old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        new = {**(old if old.get("hosts") == HOSTS else {}), "hosts": HOSTS, **figures}
        RESULTS.write_text(json.dumps(new, indent=1))
    print(json.dumps(new), flush=True)


def spent():
    """Seconds of processor of what has ended below this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Firmware(Tree):
    """The variables of a host of the lab, whose other files are its own."""

    def __init__(self, path):
        self.path, self.firmware = path, None


def test_what_a_killed_lab_has_left_is_removed():
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    left = [f"fl{pid}-9999" for pid in (gone.pid, os.getpid())]
    with labs.locked("fleet-labs"):  # or another lab that begins removes it half made
        folders = [Path(tempfile.mkdtemp(prefix=f"fleet-lab-{pid}-")) for pid in (gone.pid, os.getpid())]
        for name in left:
            labs.run("ip", "netns", "add", name)
        (folders[0] / "root").mkdir()
        labs.run("mount", "-t", "tmpfs", "tmpfs", folders[0] / "root")
    try:
        labs.remove_stale()
        assert [name in labs.run("ip", "netns", "list").split() for name in left] == [False, True]
        assert [folder.exists() for folder in folders] == [False, True]
    finally:
        labs.run("ip", "netns", "del", left[1])
        folders[1].rmdir()


def test_a_rollout_by_ansible():
    """Every host is accounted for, whatever is wrong with it."""
    with Lab(HOSTS, TROUBLES) as lab:
        keep(started_seconds=round(lab.seconds, 1), memory_mib_idle=round(lab.memory()))
        lab.repository.publish(lab.old, lab.new)
        ansible = Ansible(lab)
        began, before = time.monotonic(), spent()
        done = ansible.rollout(rollout_allow=str(len(TROUBLES)), rollout_allow_unwell=str(len(TROUBLES)))
        keep(ansible_seconds=round(time.monotonic() - began), ansible_processor_seconds=round(spent() - before),
             memory_mib_after=round(lab.memory()))  # fmt: skip
        record = ansible.record()
        assert record["state"] == "finished", done.stdout[-6000:] + done.stderr
        assert record["hosts"] == {host.name: FATE[host.trouble] for host in lab.hosts}, done.stdout[-6000:]
        for host in lab.hosts:
            if host.alive:
                assert version(host) == ("2" if FATE[host.trouble] == "done" or host.trouble == "build-broken" else "1"), host.name
        (ansible.path / "names").write_text("".join(f"{host.name}\n" for host in lab.hosts))
        page = subprocess.run([PROGRAM, "kmodkeep", "report", "--hosts", ansible.path / "names", ansible.path / "rollout/now"],
                              capture_output=True, text=True, timeout=600).stdout  # fmt: skip
        assert f"would lose sample: missing on kernel {NEW}" in page and "\x1b" not in page, page


def went_back(host):
    """The old kernel runs, and will; the newer one is there, and does not boot."""
    assert version(host) == "1" and host.run("uname", "-r").stdout.strip() == OLD
    assert (host.root / f"boot/vmlinuz-{NEW}").exists()
    assert f"held by hand on kernel {OLD} instead of {NEW}" in host.run("kmodkeep", "pin").stdout


def test_a_bad_one_goes_back_at_the_canary_by_ansible():
    with Lab(3) as lab:
        (lab.hosts[0].root / "etc/sim-build-broken").touch()
        lab.repository.publish(lab.old, lab.new)
        ansible = Ansible(lab)
        done = ansible.rollout()
        assert done.returncode != 0 and f"The gate says go-back: loses-driver: {lab.hosts[0].name} (sample: missing" in done.stdout, done.stdout
        assert (ansible.record()["state"], ansible.record()["hosts"]) == ("gone-back", {lab.hosts[0].name: "failed"}), done.stdout
        went_back(lab.hosts[0])
        back = json.loads((ansible.path / f"rollout/back/{lab.hosts[0].name}.json").read_text())
        assert (back["safe"], back["running_kernel"], back["pin"]["held"]) == ("yes", OLD, True)
        assert all(version(host) == "1" and not (host.root / f"boot/vmlinuz-{NEW}").exists() for host in lab.hosts[1:])


def stopped_at_the_canary(lab, why):
    """A roll-out by Ansible goes back for WHY; the others were not touched, and the page has the reason."""
    lab.repository.publish(lab.old, lab.new)
    ansible, canary = Ansible(lab), lab.hosts[0]
    done = ansible.rollout()
    assert done.returncode != 0 and f"The gate says go-back: {why}" in done.stdout, done.stdout[-6000:]
    assert (ansible.record()["state"], ansible.record()["hosts"]) == ("gone-back", {canary.name: "failed"}), done.stdout[-6000:]
    went_back(canary)
    back = json.loads((ansible.directory / f"back/{canary.name}.json").read_text())
    assert (back["safe"], back["running_kernel"], back["pin"]["held"]) == ("yes", OLD, True), back
    assert all(version(host) == "1" and not (host.root / f"boot/vmlinuz-{NEW}").exists() for host in lab.hosts[1:])
    page = subprocess.run([PROGRAM, "kmodkeep", "report", ansible.directory / "now"], capture_output=True, text=True, timeout=600).stdout
    assert canary.name in page, page
    return page


def test_a_module_that_oopses_in_its_smoke_test_goes_back_at_the_canary():
    """The next boot is safe, by all that files tell; only the smoke test sees it."""
    with Lab(3) as lab:
        for host in lab.hosts:
            (host.root / "etc/sim-oopses").write_text(f"{NEW}\n")
        page = stopped_at_the_canary(lab, f"smoke-failed: {lab.hosts[0].name} (sample: module sample was refused although nothing was found wrong")
        assert "the smoke test of sample failed" in page, page


REVOKED = [("taken-out", "loses-driver: {} (sample: untrusted-key on"), ("listed", "cannot-tell: {} (")]


@pytest.mark.parametrize("how, why", REVOKED if os.environ.get("FULL") else REVOKED[:1])
def test_a_revoked_key_goes_back_at_the_canary(how, why):
    """The old kernel's module is signed by a key that is trusted, the new one's by one that was: it is
    no more in shim's list, or the list of what is revoked has its hash, which Debian's kernels may mind."""
    with Lab(3) as lab:
        good, revoked = (Pair(lab.path, name) for name in ("good", "revoked"))
        for host in lab.hosts:
            tree = Firmware(host.root)
            tree.secure_boot()
            tree.enrol(good.cert, *[revoked.cert] * (how == "listed"))
            entry = hashlib.sha256(tbs(revoked.cert.read_bytes())).digest() + bytes(16)
            tree.variable("MokListXRT", b"\7\0\0\0" + hash_list(CERT_SHA256, entry))
            good.copy_to(host.root / "root/good.key", host.root / "root/good.der")
            host.run("kmodkeep", "sign", "--key", "/root/good.key", "--cert", "/root/good.der", f"/lib/modules/{OLD}/updates/dkms/sample.ko")
            revoked.copy_to(host.root / "etc/sim-signer.key", host.root / "etc/sim-signer.der")
            state = json.loads(host.run("kmodkeep", "state").stdout)
            assert (state["safe"], state["secure_boot"]) == ("yes", "on"), state
        page = stopped_at_the_canary(lab, why.format(lab.hosts[0].name))
        assert ("untrusted-key" if how == "taken-out" else "revocation list") in page, page


def boot_id(host):
    return host.run("cat", "/proc/sys/kernel/random/boot_id").stdout


def test_the_controller_is_killed_and_the_rollout_resumed():
    """No lock is left, not by a connection of ssh that is kept either; who is done is not touched again."""
    with Lab(3) as lab:
        lab.repository.publish(lab.old, lab.new)
        ansible, names = Ansible(lab), [host.name for host in lab.hosts]
        command = ansible.command(rollout_batches=["1", "100%"], rollout_packages=[f"{PACKAGE}=2"])
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                              env=ansible.environment, start_new_session=True) as running:  # fmt: skip
            try:
                end = time.monotonic() + 900
                while not (ansible.directory / "rollout.json").exists() or "updating" not in [
                        ansible.record()["hosts"].get(name) for name in names[1:]]:  # fmt: skip
                    assert running.poll() is None and time.monotonic() < end, ansible.record()
                    time.sleep(0.1)
            finally:
                os.killpg(running.pid, 9)
        assert (ansible.record()["state"], ansible.record()["hosts"]) == (
            "running", {names[0]: "done", names[1]: "updating", names[2]: "updating"})  # fmt: skip
        canary = boot_id(lab.hosts[0])
        done = ansible.rollout("--resume", rollout_batches=["1", "100%"], rollout_packages=[f"{PACKAGE}=2"])
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        assert (ansible.record()["state"], ansible.record()["hosts"]) == ("finished", dict.fromkeys(names, "done"))
        for host in lab.hosts:
            assert (version(host), host.run("uname", "-r").stdout.strip()) == ("2", NEW), host.name
        assert boot_id(lab.hosts[0]) == canary


def test_an_old_index_is_no_success_by_ansible():
    """Signed, valid still, and from before the update: apt has nothing to do, and says that all is well."""
    with Lab(1) as lab:
        lab.repository.publish(lab.old)
        ansible, host = Ansible(lab), lab.hosts[0]
        done = ansible.rollout(rollout_packages=[f"{PACKAGE}=2"])
        assert done.returncode != 0 and f"The gate says go-back: update-failed: {host.name} (Install apt's packages in the version" in done.stdout, done.stdout
        assert (ansible.record()["state"], ansible.record()["hosts"], version(host)) == ("gone-back", {host.name: "failed"}, "1")
        assert json.loads((ansible.directory / f"before/{host.name}.versions").read_text()) == [f"{PACKAGE}=1"]


# ---- without a controller


class Pull:
    """Who publishes the gate file, and gathers the states: here by copying, for others by what they have."""

    def __init__(self, lab):
        self.lab, self.path, self.states = lab, lab.path / "pull", lab.path / "states"
        self.states.mkdir()
        self.each(lambda host: host.run("kmodkeep", "state", "--write", check=False))
        self.gather()

    def each(self, what):
        """What came of WHAT, done to each host that lives."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return list(pool.map(what, [host for host in self.lab.hosts if host.alive]))

    def gather(self):
        for host in self.lab.hosts:
            path = host.root / "var/lib/kmodkeep/host.json"
            if host.alive and path.exists():
                shutil.copyfile(path, self.states / f"{host.name}.json")

    def publish(self, *words):
        command = [PROGRAM, "kmodkeep", "pull", "--dir", self.path, *words, self.states]
        return subprocess.run(command, capture_output=True, text=True, timeout=600)

    def begin(self):
        done = self.publish("--begin", "kernel", "--packages", PACKAGE, "--out", self.lab.repository.path / "gate", "--certificate",
                            self.lab.gate_certificate, "--key", self.lab.gate_key, "--settle", "0", "--quorum", "50",
                            "--allow", "0" if len(self.lab.hosts) < 6 else str(len(TROUBLES)))  # fmt: skip
        assert done.returncode == 0, done.stderr

    def round(self):
        """An hour: each host asks, and then the states are looked at."""
        said = self.each(lambda host: (host.name, host.run("kmodkeep", "pull", check=False)))
        self.gather()
        return dict(said), self.publish()


def traffic(host):
    """Bytes that went over the wire of HOST, both ways."""
    line = next(line for line in open(f"/proc/{host.init}/net/dev", encoding="ascii") if "eth0:" in line)
    fields = line.split(":")[1].split()
    return int(fields[0]) + int(fields[8])


def test_a_rollout_without_a_controller():
    """The same, each host for itself; then an hour in which nothing happens costs next to nothing."""
    with Lab(HOSTS, TROUBLES) as lab:
        pull = Pull(lab)
        lab.repository.publish(lab.old, lab.new)
        began, before = time.monotonic(), spent()
        pull.begin()
        for rounds in range(1, 9):
            said, done = pull.round()
            if "is finished" in done.stdout:
                break
        assert "is finished" in done.stdout and done.returncode == 0, done.stdout + done.stderr
        keep(pull_seconds=round(time.monotonic() - began), pull_rounds=rounds, pull_processor_seconds=round(spent() - before))
        for host in lab.hosts:
            if host.alive and host.trouble in ("none", "clone"):
                assert version(host) == "2", (host.name, said[host.name])
        assert f"of {HOSTS} hosts " in done.stdout and f"loses-driver: {host_with(lab, 'build-broken').name}" in done.stdout, done.stdout
        hour, wire = what_an_hour_costs([host for host in lab.hosts if host.trouble == "none"][:20])
        keep(hour_processor_ms=round(hour * 1000, 1), hour_bytes=wire)
        assert hour <= 0.050 and wire <= 4096, (hour, wire)


def what_an_hour_costs(hosts):
    """Seconds of processor, and the most bytes, of one that asks and has nothing to do."""
    for host in hosts:
        host.run("kmodkeep", "pull")
    before, wire = spent(), []
    for host in hosts:
        # At once: what the others send to all is not of this host.
        old = traffic(host)
        host.run("kmodkeep", "pull")
        wire.append(traffic(host) - old)
    return (spent() - before) / len(hosts), max(wire)


def host_with(lab, trouble):
    return next(host for host in lab.hosts if host.trouble == trouble)


def test_a_bad_one_goes_back_at_the_canary_without_a_controller():
    with Lab(3) as lab:
        pull = Pull(lab)
        lab.repository.publish(lab.old, lab.new)
        pull.begin()
        canary = min(lab.hosts, key=lambda host: json.loads(gate_record(host, fetch=True))["ring"])
        (canary.root / "etc/sim-build-broken").touch()
        _, done = pull.round()
        assert done.returncode == 1 and f"loses-driver: {canary.name} (sample: missing on {NEW})" in done.stdout, done.stdout
        assert version(canary) == "2" and all(version(host) == "1" for host in lab.hosts if host is not canary)
        said, done = pull.round()
        assert version(canary) == "1" and json.loads(gate_record(canary))["step"] == "gone-back", said[canary.name]
        state = json.loads((pull.states / f"{canary.name}.json").read_text())
        went_back(canary)
        assert (state["safe"], state["next_kernel"], state["running_kernel"]) == ("yes", OLD, OLD)
        # What is on the way is not believed: an older file, from when all might.
        assert all(said[host.name].returncode == 0 and version(host) == "1" for host in lab.hosts)


@pytest.mark.parametrize("trouble", ["stale", "tampered"])
def test_metadata_that_apt_does_not_believe(trouble):
    """Nothing is installed, the host says so, and the roll-out stops."""
    with Lab(1) as lab:
        host, pull = lab.hosts[0], Pull(lab)
        lab.repository.publish(lab.old, lab.new, valid_until="Sat, 01 Jan 2022 00:00:00 UTC" if trouble == "stale" else None)
        if trouble == "tampered":
            index = lab.repository.path / "InRelease"
            index.write_text(index.read_text().replace("Suite: lab", "Suite: bad"))
        pull.begin()
        said, done = pull.round()
        assert said[host.name].returncode == 1 and "kmodkeep: pull: the update failed. Next: " in said[host.name].stderr
        assert version(host) == "1" and json.loads(gate_record(host))["step"] == "failed"
        assert done.returncode == 1 and f"update-failed: {host.name}" in done.stdout, done.stdout


def gate_record(host, fetch=False):
    host.run("kmodkeep", "gate", *["--fetch"] * fetch, check=False)
    return (host.root / "var/lib/kmodkeep/gate/record.json").read_text()


@pytest.mark.parametrize("point", ["begun", "updated"])
def test_killed_in_the_middle(point):
    """The next run goes on: a host that was cut while apt worked is updated, and one cut behind it is marked."""
    with Lab(1) as lab:
        host, pull = lab.hosts[0], Pull(lab)
        lab.repository.publish(lab.old, lab.new)
        pull.begin()
        # The mark that it waits for is never made: the program is ended in its place.
        real = host.root / "usr/sbin/kmodkeep"
        shutil.copy(real, host.root / "usr/sbin/kmodkeep.real")
        real.unlink()
        real.write_text(f'#!/bin/sh\n[ "$1 ${{3-}}" != "gate {point}" ] || [ "$2" != --mark ] || {{ '
                        + ('/usr/sbin/kmodkeep.real "$@"; ' if point == "begun" else "") + 'kill -9 $PPID; exit 1; }\n'
                        'exec /usr/sbin/kmodkeep.real "$@"\n')  # fmt: skip
        real.chmod(0o755)
        script = host.root / "usr/lib/kmodkeep/pull"
        done = host.run(f"/{script.relative_to(host.root)}", "/usr/sbin/kmodkeep", check=False)
        assert done.returncode != 0 and version(host) == ("1" if point == "begun" else "2"), done
        (host.root / "usr/sbin/kmodkeep.real").rename(real)
        host.run("kmodkeep", "pull")
        assert version(host) == "2" and json.loads(gate_record(host))["step"] == "updated"
        assert (host.root / "var/lib/kmodkeep/gate/versions.kernel").read_text() == f"{PACKAGE}=1\n"
