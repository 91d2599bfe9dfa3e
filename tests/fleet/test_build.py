# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules built in clean roots: real drivers, two builders that agree, and sources that mean harm.

FULL=1 also builds for Debian 13 with kernel 7.3, whose modules have BTF, in roots of their own.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from fleet.kmodkeep_fleet.roots import Inside
from tests.fleet.standins import FLEET, MAINTAINER, Kernel, System
from tests.lib import apt, roots
from tests.lib.cache import cache_dir
from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import PROGRAM

TOP = Path(__file__).resolve().parents[2]
FULL = os.environ.get("FULL") == "1"
KERNELS = {"6.1": "bookworm", **({"7.3": "trixie"} if FULL else {})}

DKMS_CONF = """PACKAGE_NAME="sample"
PACKAGE_VERSION="1.0"
BUILT_MODULE_NAME[0]="sample"
DEST_MODULE_LOCATION[0]="/updates"
MAKE[0]="make -C ${kernel_source_dir} M=${dkms_tree}/sample/1.0/build modules"
CLEAN="true"
AUTOINSTALL="yes"
"""
SAMPLE_C = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n'


class Bench:
    """Builds for one kernel, with roots of the cache."""

    def __init__(self, kernel, directory, suite=None, flavour="amd64"):
        self.suite = suite or KERNELS[kernel]
        self.directory = directory
        self.release = roots.newest_release(kernel, apt.package_names(self.suite, "linux-headers-")).replace("amd64", flavour)
        self.word = f"{self.suite}:{self.release}"
        self.sources = directory / "sources.list"
        self.sources.write_text(apt.sources_list(self.suite))
        self.count = 0

    def run(self, source, *options, prefix=(), word=None, cache=None, out=None, **more):
        """(what came of it, the folder of the kernel)."""
        self.count += 1
        out = out or self.directory / f"out-{self.count}"
        command = [*prefix, *self.command(source, out, *options, word=word, cache=cache)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, **more)
        return done, out / self.release

    def command(self, source, out, *options, word=None, cache=None):
        lines = [part for line in apt.acquire_options() for part in ("--apt-option", line)]
        return [*FLEET, "build", "--cache", cache or cache_dir("fleet"), "--sources", self.sources, *lines,
                "--out", out, *options, source, word or self.word]  # fmt: skip

    def build(self, source, *options, **more):
        """The folder of modules, and its manifest."""
        done, folder = self.run(source, *options, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder, json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module", params=KERNELS)
def bench(request, tmp_path_factory):
    return Bench(request.param, tmp_path_factory.mktemp("build"))


@pytest.fixture
def flightrec(tmp_path):
    """The source as debian/rules installs it."""
    shutil.copytree(TOP / "src", tmp_path / "flightrec", symlinks=True)
    shutil.copy(TOP / "dkms.conf", tmp_path / "flightrec")
    for left in (tmp_path / "flightrec").rglob("*"):
        if left.suffix in (".o", ".ko", ".cmd", ".mod") or left.name.endswith(".mod.c"):
            left.unlink()
    return tmp_path / "flightrec"


def sample(path, code=SAMPLE_C, conf="", makefile="obj-m := sample.o\n"):
    path.mkdir()
    (path / "dkms.conf").write_text(DKMS_CONF + conf)
    (path / "sample.c").write_text(code)
    (path / "Makefile").write_text(makefile)
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.ko")}


def test_two_builders_agree(bench, flightrec, tmp_path):
    first, one = bench.build(flightrec, "--builder", "a")
    # The same files, in another order, of another user, elsewhere and later.
    other = tmp_path / "elsewhere/driver"
    other.mkdir(parents=True)
    for path in sorted(flightrec.rglob("*"), reverse=True):
        target = other / path.relative_to(flightrec)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, target)
            target.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
            os.chown(target, 12345, 12345)
    prefix = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere; umask 077; exec taskset -c 0 "$@"', "sh"]
    cache = tmp_path / "cache" if FULL else None
    second, two = bench.build(other, "--builder", "b", "--jobs", "1", prefix=prefix, cwd=tmp_path, cache=cache,
                              env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "nobody"})  # fmt: skip
    assert sorted(contents(first)) == ["flightrec-events.ko", "flightrec.ko"]
    for name, data in contents(first).items():
        assert data == contents(second)[name], f"{name} differs"
        assert b"/var/lib/dkms" not in data, f"{name} has the path of its build"
        assert (b".BTF" in data) == (bench.suite == "trixie")
    check_manifest(one, first, bench.release)
    assert (one.pop("builder"), two.pop("builder")) == ("a", "b")
    assert one == two


def check_manifest(manifest, folder, release):
    """It says what is there, in the form that the signer reads."""
    jsonschema.validate(manifest, json.loads((TOP / "docs/manifest.schema.json").read_text()))
    assert manifest["kernel"] == release and manifest["driver"] == "flightrec"
    assert manifest["inputs"][f"linux-headers-{release}"] == manifest["kernel_package_version"]
    for one in manifest["modules"]:
        for field in ("name", "vermagic", "srcversion"):
            said = subprocess.run(["modinfo", "-F", field, folder / one["file"]], capture_output=True, text=True).stdout
            assert said.rstrip("\n") == (one[field] or ""), field
        assert not subprocess.run(["modinfo", "-F", "signer", folder / one["file"]], capture_output=True).stdout
        assert one["size"] == (folder / one["file"]).stat().st_size


DRIVERS = {"v4l2loopback-dkms": ["v4l2loopback.ko"]}
if FULL:
    DRIVERS["xtables-addons-dkms"] = ["xt_ACCOUNT.ko", "xt_psd.ko"]  # 23 modules


@pytest.mark.parametrize("package", DRIVERS)
def test_drivers_of_the_archive(bench, tmp_path, package):
    (deb,) = apt.download(bench.suite, [package]).iterdir()
    apt.extract(deb, tmp_path)
    (source,) = (tmp_path / "usr/src").iterdir()
    folder, manifest = bench.build(source)
    assert set(DRIVERS[package]) <= set(contents(folder)) == {one["file"] for one in manifest["modules"]}


def keeper():
    """kmodkeep, as the unit tests build it."""
    build()
    return PROGRAM


def as_an_image(host, release, program, keys):
    """Would the modules load where it boots?  The archive's own kernel may not be signed yet."""
    (kernel,) = apt.download("bookworm", [f"linux-image-{release}-unsigned"]).iterdir()
    apt.extract(kernel, keys / "kernel")
    for path in (f"lib/modules/{release}", "boot"):
        shutil.copytree(keys / "kernel" / path, host.path / path, symlinks=True, dirs_exist_ok=True)
    host.run(["depmod", release])
    sign = 'openssl x509 -in cert.der -out cert.pem; sbsign --key key.pem --cert cert.pem --output "$1" "$1"'
    subprocess.run(["sh", "-ec", sign, "sh", host.path / f"boot/vmlinuz-{release}"], check=True, capture_output=True, cwd=keys)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-outform", "DER",
                    "-out", keys / "nobody.der", "-subj", "/CN=nobody", "-days", "2"], check=True, capture_output=True)  # fmt: skip
    for certificate, code, verdict in (("cert.der", 0, "ok"), ("nobody.der", 1, "untrusted-key")):
        done = subprocess.run([program, "doctor", "--image", host.path, "--kernel", release, "--module", "flightrec",
                               "--cert", keys / certificate], capture_output=True, text=True, timeout=300)  # fmt: skip
        assert done.returncode == code and f"{release}: flightrec: {verdict}: " in done.stdout, done.stdout + done.stderr


def test_from_the_source_to_a_host(bench, flightrec, tmp_path):
    """Built, signed elsewhere, packaged, installed by apt: the way that docs/fleet.md shows."""
    folder, manifest = bench.build(flightrec, "--builder", "a")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**manifest, "builder": "b"}))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-outform", "DER",
                    "-out", "cert.der", "-subj", "/CN=test", "-days", "2", "-addext", "keyUsage=digitalSignature",
                    "-addext", "extendedKeyUsage=codeSigning"], check=True, capture_output=True, cwd=tmp_path)  # fmt: skip
    program = keeper()
    for words in (
        ["sign", "--agrees", other, "--for", "test", "--key", "key.pem", "--cert", "cert.der", "--log", "log",
         "--output", "signatures", folder / "manifest.json"],
        ["join", "--signatures", "signatures", "--cert", "cert.der", "--output", "signed", folder / "manifest.json"],
    ):  # fmt: skip
        done = subprocess.run([program, "manifest", *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(folder / "manifest.json", tmp_path / "signed")
    kernel = Kernel(0, manifest["kernel_package_version"])
    kernel.release = bench.release
    with System("bookworm") as host:
        host.put_kmodkeep()
        host.put_kernel(kernel, dependants=False)
        subprocess.run([*FLEET, "package", "--maintainer", MAINTAINER, "--out", host.repo, tmp_path / "signed"], check=True)
        host.update()
        host.apt("apt-get", "install", "flightrec-modules")
        assert host.kernel() == kernel.version
        for name in ("flightrec", "flightrec_events"):
            module = host.run(["modinfo", "-k", bench.release, "-F", "filename", name]).stdout.strip()
            data = (host.path / module.lstrip("/")).read_bytes()
            assert data.endswith(b"~Module signature appended~\n") and "/updates/prebuilt/" in module
        depended = host.run(["modprobe", "--show-depends", "-S", bench.release, "flightrec-events"]).stdout
        assert "/flightrec.ko" in depended
        # Of later kernels an image has several packages.
        if bench.suite == "bookworm":
            as_an_image(host, bench.release, program, tmp_path)


if FULL:  # another root
    def test_for_another_architecture(flightrec, tmp_path):
        """Built here, for arm64."""
        bench = Bench("6.12", tmp_path, "trixie", "arm64")
        folder, manifest = bench.build(flightrec)
        assert sorted(contents(folder)) == ["flightrec-events.ko", "flightrec.ko"] and manifest["architecture"] == "arm64"
        check_manifest(manifest, folder, bench.release)
        assert "AArch64" in subprocess.run(["readelf", "-h", folder / "flightrec.ko"], capture_output=True, text=True).stdout
        subprocess.run([*FLEET, "package", "--unsigned", "--maintainer", MAINTAINER, "--out", tmp_path / "debs", folder], check=True)
        (deb,) = (tmp_path / "debs").glob(f"flightrec-modules-{bench.release}_*_arm64.deb")
        assert f"linux-image-{bench.release} (= " in subprocess.run(["dpkg-deb", "-f", deb, "Depends"], capture_output=True, text=True).stdout
        assert len(list((tmp_path / "debs").glob("flightrec-modules_*_arm64.deb"))) == 1


def test_a_source_that_does_not_compile(bench, tmp_path):
    source = sample(tmp_path / "sample", code=SAMPLE_C + "#error this kernel is too new\nint f(void) { return g(); }\n")
    done, folder = bench.run(source)
    assert done.returncode == 1 and not folder.exists()
    assert re.search(r"does-not-build: sample\.c:3:2: error: #error this kernel is too new$", done.stdout, re.M), done.stdout


def test_a_kernel_that_dkms_conf_excludes(bench, tmp_path):
    done, _ = bench.run(sample(tmp_path / "sample", conf='BUILD_EXCLUSIVE_KERNEL="^2\\.4"\n'))
    assert done.returncode == 1 and "not-for-this-kernel" in done.stdout, done.stdout + done.stderr


def test_a_build_that_failed_leaves_what_was_built_before(bench, tmp_path):
    source = sample(tmp_path / "sample")
    out = tmp_path / "out"
    bench.build(source, out=out)
    before = contents(out / bench.release)
    assert list(before) == ["sample.ko"]
    (source / "sample.c").write_text("#error broken\n")
    done, _ = bench.run(source, out=out)
    assert done.returncode == 1 and contents(out / bench.release) == before
    assert [path.name for path in out.iterdir()] == [bench.release]


# Run when dkms.conf is sourced.  Each line is tried, and says so where it succeeds.
HARM = """
exec 9>>/tmp/harm
(echo >/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo network >&9
mknod /tmp/disk b 8 0 2>/dev/null && echo mknod >&9
mount -t tmpfs tmpfs /mnt 2>/dev/null && echo mount >&9
(echo x >/proc/sys/kernel/domainname) 2>/dev/null && echo sysctl >&9
chroot / true 2>/dev/null && echo chroot >&9
for device in /dev/*; do case $device in */null|*/zero|*/full|*/random|*/urandom|*/fd|*/shm) ;; *) echo "$device" >&9 ;; esac; done
[ "$(ulimit -f)" = unlimited ] && echo size >&9
kill -0 {pid} 2>/dev/null && echo process >&9
[ -e {file} ] && echo file >&9
echo tried >&9
"""


def test_a_source_that_means_harm(bench, tmp_path):
    secret = tmp_path / "secret"
    secret.touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        conf = HARM.format(port=server.getsockname()[1], pid=os.getpid(), file=secret)
        source = sample(tmp_path / "sample", conf=conf + 'POST_BUILD="show"\n')
        (source / "show").write_text("#!/bin/sh\nsed 's/^/harm: /' /tmp/harm\n")
        (source / "show").chmod(0o755)
        folder, _ = bench.build(source)
    said = set(re.findall(r"^harm: (.*)$", (folder / "build.log").read_text(), re.M))
    assert said == {"tried"}


RESULTS = {
    "a link to a file of this machine": "ln -s /etc/passwd /result/other.ko",
    "a name that leads elsewhere": "mkdir -p /result/a; cp /bin/true /result/a/b.ko",
    "no module": "cp /bin/true /result/true.ko",
    "another kind of file": "echo hello >/result/notes.txt",
}


if not FULL:
    del RESULTS["a name that leads elsewhere"], RESULTS["another kind of file"]


@pytest.mark.parametrize("command", RESULTS.values(), ids=RESULTS)
def test_what_comes_out_is_not_believed(bench, tmp_path, command):
    source = sample(tmp_path / "sample", conf='POST_BUILD="put"\n')
    (source / "put").write_text(f"#!/bin/sh\n{command}\n")
    (source / "put").chmod(0o755)
    done, folder = bench.run(source)
    assert done.returncode == 3 and "cannot-tell" in done.stdout and not folder.exists(), done.stdout + done.stderr


def test_a_build_without_end(bench, tmp_path):
    source = sample(tmp_path / "sample", conf="sleep 1000000 & sleep 1000000\n")
    done, _ = bench.run(source, "--timeout", "5")
    assert done.returncode == 3 and "took more than 5 s" in done.stdout, done.stdout + done.stderr


def processes(word):
    """Those that have WORD in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append(path)
    return found


def wait_until(true):
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_builder_that_is_killed(bench, tmp_path):
    """What it built ends with it, also what went into the background; what it left goes at the next build."""
    seconds = f"1000000.{os.getpid()}"
    source = sample(tmp_path / "sample", conf=f"(setsid sleep {seconds} &)\nsleep {seconds}\n")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "roots").symlink_to(cache_dir("fleet") / "roots")
    command = bench.command(source, tmp_path / "out", cache=cache)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as builder:
        wait_until(lambda: len(processes(f"sleep\0{seconds}")) == 2)
        builder.kill()
    wait_until(lambda: not processes(f"sleep\0{seconds}"))
    (left,) = (cache / "scratch").glob("build-*")
    with Inside(tmp_path, cache / "scratch") as one, Inside(tmp_path, cache / "scratch"):
        assert one.path.exists() and not left.exists()


def test_radar(bench, tmp_path):
    """Drivers against a kernel, once; a second run builds what has changed."""
    good = sample(tmp_path / "good")
    bad = sample(tmp_path / "bad", code=SAMPLE_C + "#error not for <this> kernel\n")
    none = sample(tmp_path / "none", conf='BUILD_EXCLUSIVE_KERNEL="^2\\.4"\n')
    lines = [part for line in apt.acquire_options() for part in ("--apt-option", line)]
    shutil.rmtree(cache_dir("fleet") / "radar", ignore_errors=True)

    def radar():
        command = [*FLEET, "radar", "--cache", cache_dir("fleet"), "--sources", bench.sources, *lines,
                   "--kernel", bench.word, "--html", tmp_path / "page.html", good, bad, none]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        found = {one["driver"]: one["kernels"][bench.word] for one in json.loads(done.stdout)["drivers"]}
        return done, {name: one["verdict"] for name, one in found.items()}, found

    done, verdicts, found = radar()
    assert verdicts == {"good": "builds", "bad": "does-not-build", "none": "not-for-this-kernel"}, done.stderr
    assert done.returncode == 1 and "3/3 none" in done.stderr and "(known)" not in done.stderr
    assert found["good"]["machine"] == os.uname().machine
    assert found["bad"]["error"] == "sample.c:3:2: error: #error not for <this> kernel"
    page = (tmp_path / "page.html").read_text()
    assert "not for &lt;this&gt; kernel" in page and "<this>" not in page and bench.word in page
    (bad / "sample.c").write_text(SAMPLE_C + "/* repaired */\n")
    done, verdicts, _ = radar()
    assert verdicts["bad"] == "builds" and done.returncode == 0 and done.stderr.count("(known)") == 2


if FULL:  # a root is made up to its last step
    def test_a_kernel_that_is_no_longer_in_the_archive(bench, tmp_path):
        done, _ = bench.run(sample(tmp_path / "sample"), word=f"{bench.word}=1.2.3-4")
        assert done.returncode == 3 and "has no such headers" in done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (["x"], "is no kernel"), (["bookworm:6.1=1/2"], "is no kernel"), (["../x:6.1"], "is no kernel"),
])  # fmt: skip
def test_words_that_are_no_kernels(tmp_path, words, said):
    source = sample(tmp_path / "sample")
    done = subprocess.run([*FLEET, "build", "--out", tmp_path / "out", source, *words], capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr
