# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of writers: by the paths that each runtime makes, and the names in its files."""

import json
import os
import pwd
import re
import shutil

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import OUT, build, flightrec

ROOT = OUT / "root"
HOST = ROOT / "host"
A, B, C, D, E, F = (digit * 64 for digit in "abcdef")
SHORT = A[:12]
POD = "7f3cb5a1-0d2e-4a6b-9c1d-5e8f7a6b4c3d"
POD_ = POD.replace("-", "_")
STATIC = "9c8e1f0a2b3c4d5e6f708192a3b4c5d6"
ME = os.geteuid()
MINE, OTHER = f"/user.slice/user-{ME}.slice/user@{ME}.service", "/user.slice/user-4242.slice/user@4242.service"

# The path of a group, what made it, and the container: runtime, id, name.
PATHS = [
    # docker with systemd's driver and with its own, and rootless
    (f"/system.slice/docker-{A}.scope", ("docker", A, "web")),
    (f"/docker/{A}", ("docker", A, "web")),
    (f"/docker/{A}/system.slice/cron.service", ("docker", A, "web")),
    (f"/docker/{B}", ("docker", B, None)),
    (f"{MINE}/user.slice/docker-{D}.scope", ("docker", D, "mine")),
    # In a container of docker another docker, or who says so: the outer one counts.
    (f"/docker/{B}/docker/{A}", ("docker", B, None)),
    (f"/system.slice/docker-{B}.scope/system.slice/docker-{A}.scope", ("docker", B, None)),
    ("/system.slice/docker.service", None),
    ("/system.slice/docker.socket", None),
    (f"/system.slice/docker-{A[:63]}.scope", None),
    (f"/system.slice/docker-{A.upper()}.scope", None),
    # docker --cgroup-parent: nothing says which runtime it is
    (f"/some/parent/{A}", ("unknown", A, "web")),
    # podman of root with systemd's driver, in a pod, with its own, and of a Quadlet
    (f"/machine.slice/libpod-{C}.scope", ("podman", C, "db")),
    (f"/machine.slice/libpod-{C}.scope/container", ("podman", C, "db")),
    (f"/machine.slice/machine-libpod_pod_{E}.slice/libpod-{C}.scope/container", ("podman", C, "db")),
    (f"/libpod_parent/libpod-{C}", ("podman", C, "db")),
    (f"/system.slice/db.service/libpod-payload-{C}", ("podman", C, "db")),
    (f"/machine.slice/libpod-{B}.scope/container", ("podman", B, None)),
    # What looks after a container is not in it.
    (f"/machine.slice/libpod-conmon-{C}.scope", None),
    ("/libpod_parent/conmon", None),
    ("/system.slice/db.service/runtime", None),
    # rootless: the user's own files alone are asked
    (f"{MINE}/user.slice/libpod-{E}.scope/container", ("podman", E, "own")),
    (f"{MINE}/app.slice/web.service/libpod-payload-{E}", ("podman", E, "own")),
    (f"{OTHER}/user.slice/libpod-{E}.scope/container", ("podman", E, None)),
    (f"{OTHER}/user.slice/user-libpod_pod_{F}.slice/libpod-{C}.scope/container", ("podman", C, None)),
    (f"{OTHER}/docker-{A}.scope", ("docker", A, None)),
    # Kubernetes: containerd and CRI-O, systemd's driver and cgroupfs, each class of service
    (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/cri-containerd-{A}.scope",
     ("containerd", A, "shop/cart-0/app")),
    (f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-{A}.scope",
     ("cri-o", A, "shop/cart-0/app")),
    (f"/kubepods.slice/kubepods-pod{POD_}.slice/crio-{A}.scope/container", ("cri-o", A, "shop/cart-0/app")),
    (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
     f"kubelet-kubepods-burstable-pod{POD_}.slice/cri-containerd-{A}.scope", ("containerd", A, "shop/cart-0/app")),
    (f"/kubepods/burstable/pod{POD}/{A}", ("kubernetes", A, "shop/cart-0/app")),
    (f"/kubepods/pod{POD}/{A}/init.scope", ("kubernetes", A, "shop/cart-0/app")),
    (f"/kubepods/besteffort/pod{POD}/crio-{A}", ("cri-o", A, "shop/cart-0/app")),
    (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/docker-{A}.scope",
     ("docker", A, "shop/cart-0/app")),
    # The one that holds the pod together has no log; the pod has a folder.
    (f"/kubepods/burstable/pod{POD}/{F}", ("kubernetes", F, "shop/cart-0")),
    (f"/kubepods/pod{STATIC}/{F}", ("kubernetes", F, "kube-system/etcd-n1")),
    (f"/kubepods/pod{POD[:-1]}/{F}", ("kubernetes", F, None)),
    (f"/kubepods.slice/kubepods-pod{POD_}.slice/crio-conmon-{A}.scope", None),
    (f"/kubepods.slice/kubepods-pod{POD_}.slice", None),
    # In a node of kind, which is a container of docker
    (f"/docker/{A}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{POD_}.slice/cri-containerd-{F}.scope",
     ("docker", A, "web")),
    # containerd: nerdctl, and ctr with an id of that form
    (f"/system.slice/nerdctl-{B}.scope", ("containerd", B, None)),
    (f"/default/{B}", ("unknown", B, None)),
    # machinectl: a unit of systemd-nspawn, and one that was started by hand
    ("/machine.slice/systemd-nspawn@web.service/payload", ("systemd-nspawn", None, "web")),
    ("/machine.slice/systemd-nspawn@web\\x2d1.service/payload/system.slice/x.service", ("systemd-nspawn", None, "web-1")),
    ("/machine.slice/machine-debian\\x2dtest.scope/payload", ("machine", None, "debian-test")),
    ("/machine.slice/machine-a\\x1b.scope", None),
    ("/machine.slice/machine-a\\x2.scope", None),
    ("/system.slice/machine-a.scope", None),
    ("/machine.slice/machine-.scope", None),
    # LXC from 4 on, one of a user, and up to 3
    ("/lxc.payload.web", ("lxc", None, "web")),
    ("/lxc.payload.web-1/system.slice/cron.service", ("lxc", None, "web-1")),
    (f"{OTHER}/app.slice/lxc-web.scope/lxc.payload.web", ("lxc", None, "web")),
    ("/lxc/101/ns", ("lxc", None, "101")),
    ("/lxc.payload/old", ("lxc", None, "old")),
    ("/lxc.monitor.web", None),
    ("/lxc.payload.", None),
    ("/lxc/a b", None),
    # no container
    ("/", None),
    ("/system.slice/web.service", None),
    (f"{MINE}/app.slice", None),
]  # fmt: skip


def put(path, text):
    path = HOST / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def of_docker(name, id):
    return json.dumps({"StreamConfig": {}, "State": {"Running": True}, "ID": id, "Name": f"/{name}"})


@pytest.fixture
def host():
    """Files as the runtimes leave them."""
    build()
    shutil.rmtree(HOST, ignore_errors=True)
    put(f"var/lib/docker/containers/{A}/config.v2.json", of_docker("web", A))
    put("var/lib/containers/storage/overlay-containers/containers.json",
        json.dumps([{"id": F, "names": []}, {"id": C, "names": ["db"], "layer": B, "metadata": "{}"}]))
    home = pwd.getpwuid(ME).pw_dir.lstrip("/")
    put(f"{home}/.local/share/docker/containers/{D}/config.v2.json", of_docker("mine", D))
    put(f"{home}/.local/share/containers/storage/overlay-containers/containers.json",
        json.dumps([{"id": E, "names": ["own"]}]))  # fmt: skip
    put(f"var/log/containers/cart-0_shop_app-{A}.log", "")
    put(f"var/log/pods/shop_cart-0_{POD}/app/0.log", "")
    put(f"var/log/pods/kube-system_etcd-n1_{STATIC}/etcd/0.log", "")
    yield HOST
    shutil.rmtree(HOST)


def record_paths(channel, paths):
    """For each of PATHS a record, "0" and so on, and the one with which the driver names its group."""
    first = 0x9_0000_0000
    channel([crash.Record(b"%d" % n, seq=n + 1, cgroup=first + n, boot_ns=n + 1) for n in range(len(paths))])
    channel([crash.Record(f"cgroup id={first + n} path={path}".encode(), seq=n + 1, origin=1)
             for n, path in enumerate(paths)], "kernel")  # fmt: skip


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_path_is_that_of_its_container(host, channel):
    record_paths(channel, [path for path, _ in PATHS])
    lines = lines_of(flightrec("read", "--json", valgrind=True))
    assert [line["cgroup_path"] for line in lines] == [path for path, _ in PATHS]
    got = [tuple(map(line.get, ("container_runtime", "container_id", "container"))) for line in lines]
    assert got == [expected or (None, None, None) for _, expected in PATHS]


def test_people_see_the_name_or_what_is_known(host, channel):
    record_paths(channel, [f"/docker/{A}", f"/docker/{B}", f"{OTHER}/user.slice/libpod-{E}.scope", "/lxc/101",
                           f"{MINE}/user.slice/docker-{D}.scope", "/system.slice"])  # fmt: skip
    done = flightrec("read", "-r", "--time", "boot")
    words = [re.search(r"\]( in (.*))?: \d$", line)[2] for line in done.stdout.splitlines()[::-1]]
    assert words == ["web", f"docker {B[:12]}", f"podman {E[:12]} of uid 4242", "101", f"mine of uid {ME}", None]


def test_export_has_the_fields_of_the_journal(host, channel):
    record_paths(channel, [f"/docker/{A}", "/lxc/101"])
    docker, lxc = flightrec("read", "-o", "export").stdout.strip().split("\n\n")
    wanted = {f"CONTAINER_ID={SHORT}", f"CONTAINER_ID_FULL={A}", "CONTAINER_NAME=web"}
    assert wanted <= set(docker.splitlines())
    assert "CONTAINER_NAME=101" in lxc.splitlines() and "CONTAINER_ID=" not in lxc


NOT_KNOWN = "left out: 1 of containers whose names are not known"


@pytest.mark.parametrize("wanted,expected,complaint", [
    (["web"], ["0"], True), ([SHORT], ["0"], True), ([A], ["0"], True), ([B[:12]], ["1"], False),
    ([A[:11]], [], True), (["we"], [], True), (["101", "web"], ["0", "2"], True),
    (["shop/cart-0"], ["3"], True), (["shop/cart-0/app"], ["3"], True), (["shop/cart"], [], True),
])  # fmt: skip
def test_chosen_by_name_or_id(host, channel, wanted, expected, complaint):
    record_paths(channel, [f"/docker/{A}", f"/docker/{B}", "/lxc/101", f"/kubepods/pod{POD}/{A}"])
    options = [option for name in wanted for option in ("--container", name)]
    done = flightrec("read", "-o", "cat", *options)
    got = [text for text in done.stdout.splitlines() if text != "3" or wanted[0].startswith("shop")]
    assert got == expected and (NOT_KNOWN in done.stderr) == complaint


@pytest.mark.parametrize("value", ["", "/", "/web", "web/"])
def test_what_is_no_name_is_refused(value):
    done = flightrec("read", "--container", value)
    assert done.returncode == 2 and f'"{value}" is not the name of a container' in done.stderr


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


# Whoever may write these files must not say more than a name, nor hold up or end who reads.
@pytest.mark.parametrize("spoil", [
    make_pipe,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"[" * 100_000),
    lambda path: path.write_bytes(b"\xff\0{"),
    lambda path: path.write_text("null"),
    lambda path: path.write_text('{"Name": 7, "ID": []}'),
    lambda path: path.write_text(of_docker("web", B)),
    lambda path: path.write_text(of_docker("a\x1b[31m\n", A)),
    lambda path: path.write_text(of_docker("a" * 256, A)),
    lambda path: path.write_text(of_docker("../web", A)),
    lambda path: path.write_text(json.dumps([7, {"id": A}, {"id": A, "names": [7]}])),
    lambda path: os.truncate(path, 17 << 20),
    lambda path: (path.unlink(), path.mkdir()),
])  # fmt: skip
def test_a_name_that_makes_no_sense_is_none(host, channel, spoil):
    spoil(host / f"var/lib/docker/containers/{A}/config.v2.json")
    record_paths(channel, [f"/docker/{A}"])
    (line,) = lines_of(flightrec("read", "--json"))
    assert (line["container_id"], line.get("container")) == (A, None)


@pytest.mark.parametrize("name", ["cart-0_shop_", "_shop_app", "cart 0_shop_app", "cart-0_app", "a_b_c_d"])
def test_a_log_with_another_name_names_no_container(host, channel, name):
    (host / f"var/log/containers/cart-0_shop_app-{A}.log").rename(host / f"var/log/containers/{name}-{A}.log")
    record_paths(channel, [f"/kubepods/pod{STATIC}/{A}"])
    (line,) = lines_of(flightrec("read", "--json"))
    assert line["container"] == "kube-system/etcd-n1"


def clean():
    for name in ("state", "crash", "metrics", "motd"):
        shutil.rmtree(ROOT / name, ignore_errors=True)


def test_a_boot_before_keeps_the_names(host):
    """They are recorded with it: later the runtime removes its files, or gives a name anew."""
    clean()
    (ROOT / "crash/1").mkdir(parents=True)
    # The last is of a user who has made a group with the id of another one's container.
    paths = {1: f"/docker/{A}", 2: f"/docker/{B}", 3: "/lxc/101", 4: "/system.slice/x.service", 5: f"{OTHER}/docker-{A}.scope"}
    app = [crash.Record(b"%d" % n, seq=n, boot_ns=n, wall_ns=10**18, cgroup=n) for n in paths]
    kernel = [crash.Record(f"cgroup id={n} path={path}".encode(), seq=n, boot_ns=9, wall_ns=10**18, origin=1)
              for n, path in paths.items()]  # fmt: skip
    blocks = [*crash.Channel("app").fill(app).blocks, *crash.Channel("kernel", instance=9).fill(kernel).blocks]
    (ROOT / "crash/1/vmcore").write_bytes(crash.image(blocks, mib=1))
    assert flightrec("collect", valgrind=True).returncode == 0
    put(f"var/lib/docker/containers/{A}/config.v2.json", of_docker("another", A))
    put(f"var/lib/docker/containers/{B}/config.v2.json", of_docker("late", B))
    read = ["read", "-b", "-1", "-c", "app"]
    lines = lines_of(flightrec(*read, "--json"))
    assert [line.get("container") for line in lines] == ["web", "late", "101", None, None]
    assert flightrec(*read, "-o", "cat", "--container", "web").stdout == "1\n"
    assert [line.count(" in web: ") for line in flightrec(*read).stdout.splitlines()[:2]] == [1, 0]
    for options in ([], ["--html"]):
        text = flightrec("report", *options).stdout
        assert " in web" in text and " in late" in text and " in 101" in text
    (report,) = (ROOT / "state/boots").glob("*/report.txt")
    assert f" in docker {B[:12]}: 2" in report.read_text()
    # Looked at again, with the files gone.
    shutil.rmtree(host / "var")
    kernel[0] = crash.Record(b"more", seq=len(paths) + 1, boot_ns=10, wall_ns=10**18, origin=1)
    blocks += crash.Channel("kernel", instance=9).fill(kernel[:1]).blocks
    (ROOT / "crash/1/vmcore").write_bytes(crash.image(blocks, mib=1))
    assert flightrec("collect").returncode == 0
    assert lines_of(flightrec(*read, "--json"))[0]["container"] == "web"
    clean()
