# SPDX-License-Identifier: GPL-2.0-or-later
"""Many hosts on this machine: network namespaces with overlays over one root that is only read.

Real are sshd, apt, dpkg, Python, kmodkeep and the network between them. Simulated are the
kernel, its package, the build of the driver, the firmware and the boot (tests/fleet/host),
so this tries what a fleet does, and not what a kernel does.
"""

import contextlib
import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fleet import base
from tests.lib.apt import download
from tests.lib.cache import locked, say
from tests.packaging.variants import packages
from tests.unit.kmodkeep.host import Tree, certificate
from tests.unit.kmodkeep.system import NEW, OLD, System, grub_cfg, grubenv, without_initrds

HERE = Path(__file__).parent / "host"
NETWORK = ipaddress.ip_network("10.77.0.0/16")
CONTROLLER = NETWORK[1]
PORT = 8080
PACKAGE = "linux-image-sim"
NEW_PACKAGE = f"linux-image-{NEW}"
TROUBLES = ["build-broken", "disk-full", "vanishes", "hostile-state", "cut-state", "wrong-clock", "clone", "clone"]

CONTROL = """Package: {package}
Version: {version}
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: {depends}
Description: a kernel of the lab, simulated
"""
# What dkms and update-grub do after a kernel has come; the module is built already.
POSTINST = f"""#!/bin/sh
set -e
for kernel in {OLD} {NEW}; do
    [ -e /usr/share/sim/$kernel ] || continue
    cp /usr/share/sim/$kernel/grub.cfg /boot/grub/grub.cfg
    mkdir -p /lib/modules/$kernel/updates/dkms
    [ $kernel = {OLD} ] || [ ! -e /etc/sim-build-broken ] || continue
    module=/lib/modules/$kernel/updates/dkms/sample.ko
    [ ! -e $module ] || continue
    cp /usr/share/sim/$kernel/sample.ko $module
    [ ! -e /etc/sim-signer.key ] || kmodkeep sign --key /etc/sim-signer.key --cert /etc/sim-signer.der $module
    depmod $kernel
done
"""
# As GRUB's own, for a block that has nothing else.
SET_DEFAULT = """#!/bin/sh
{ printf '# GRUB Environment Block\\nsaved_entry=%s\\n' "$2"; head -c 1024 /dev/zero | tr '\\0' '#'; } |
    head -c 1024 >"${1#--boot-directory=}/grub/grubenv"
"""


# For "FILE unset saved_entry".
EDITENV = """#!/bin/sh
{ echo '# GRUB Environment Block'; head -c 1024 /dev/zero | tr '\\0' '#'; } | head -c 1024 >"$1"
"""


def run(*words, **kwargs):
    kwargs = {"capture_output": True, "text": True, "timeout": 600, **kwargs}
    done = subprocess.run([str(word) for word in words], **kwargs)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def remove_stale():
    """What labs have left whose process was killed; the hosts ended with it."""

    def dead(found):
        return found and not Path("/proc", found[1]).exists()

    with locked("fleet-labs"):
        for line in run("ip", "netns", "list").splitlines():
            if dead(re.match(r"fl([0-9]+)-[0-9]+\b", line)):
                run("ip", "netns", "del", line.split()[0])
        for path in Path(tempfile.gettempdir()).glob("fleet-lab-*"):
            if dead(re.match(r"fleet-lab-([0-9]+)-", path.name)):
                if (path / "root").is_mount():
                    run("umount", path / "root")
                shutil.rmtree(path)


def kernel_package(path, name, version, kernel, depends="", menu=()):
    """A package of the simulated KERNEL; with it the boot menu has the kernels MENU, the first of which boots next."""
    system = System(Tree(path / f"tree-{name}-{version}"))
    root = path / f"package-{name}-{version}"
    (root / "usr/share/sim" / kernel).mkdir(parents=True)
    shutil.move(system.module_file(kernel), root / "usr/share/sim" / kernel)
    shutil.copytree(system.path / "lib/modules" / kernel, root / "usr/lib/modules" / kernel)
    for file in ("vmlinuz", "config"):
        (root / "boot").mkdir(exist_ok=True)
        shutil.copy(system.path / f"boot/{file}-{kernel}", root / f"boot/{file}-{kernel}")
    # Without an initramfs: no /sys of such a host tells what its root needs from one.
    (root / "usr/share/sim" / kernel / "grub.cfg").write_text(without_initrds(grub_cfg(menu or [kernel])))
    if name == PACKAGE:
        shutil.copytree(system.path / "usr/lib/kmodkeep", root / "usr/lib/kmodkeep")
    (root / "DEBIAN").mkdir()
    control = CONTROL.format(package=name, version=version, depends=depends)
    (root / "DEBIAN/control").write_text(control.replace("Depends: \n", ""))
    (root / "DEBIAN/postinst").write_text(POSTINST)
    (root / "DEBIAN/postinst").chmod(0o755)
    deb = path / f"{name}_{version}_all.deb"
    run("dpkg-deb", "--root-owner-group", "-b", root, deb)
    return deb


class Repository:
    """What the controller serves: a signed flat repository, and beside it the gate file."""

    def __init__(self, path):
        self.path, self.home = path / "www", path / "gnupg"
        self.path.mkdir()
        self.home.mkdir(mode=0o700)
        self._gpg("--quick-gen-key", "--passphrase", "", "lab", "rsa2048", "sign", "never")
        self.key = self._gpg("--armor", "--export")

    def _gpg(self, *words):
        return run("gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", *words)

    def publish(self, *debs, valid_until=None):
        """VALID_UNTIL: as Release files have it; None: for ever."""
        for deb in debs:
            shutil.copy(deb, self.path)
        (self.path / "Packages").write_text(run("apt-ftparchive", "packages", ".", cwd=self.path))
        release = run("apt-ftparchive", "-o", "APT::FTPArchive::Release::Suite=lab", "release", ".", cwd=self.path)
        (self.path / "Release").write_text((f"Valid-Until: {valid_until}\n" if valid_until else "") + release)
        self._gpg("--clearsign", "--output", self.path / "InRelease", self.path / "Release")
        (self.path / "Release").unlink()

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "gpg-agent"], check=False)


class Host:
    """One host; its files are seen below root."""

    def __init__(self, lab, number, trouble):
        self.lab, self.name, self.trouble = lab, f"h{number:03}", trouble
        self.address, self.net = NETWORK[256 + number], f"{lab.prefix}{number}"
        self.connection = f"ansible_host={self.address}"
        self.process = self.init = None

    def start(self, layers):
        """It does not outlive this process, however that ends."""
        words = [HERE / "start-host", self.name, layers, self.trouble]
        self.log = open(self.lab.path / f"{self.name}.log", "wb")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.net, "unshare", "-m", "-u", "-p", "--kill-child",
             *map(str, words)], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, "TMPDIR": str(self.lab.path)})  # fmt: skip

    def is_up(self):
        """sshd is process 1 of the namespace when all is in place."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name}: {(self.lab.path / f'{self.name}.log').read_text()}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children:
            return False
        self.init = int(children[0])
        return b"sshd" in Path(f"/proc/{self.init}/cmdline").read_bytes() and b"Server listening" in Path(self.log.name).read_bytes()

    @property
    def root(self):
        return Path(f"/proc/{self.init}/root")

    @property
    def alive(self):
        return self.process.poll() is None

    def command(self, *words):
        """What runs WORDS as a process of the host."""
        command = ["nsenter", "-t", self.init, "-m", "-u", "-p", "-n", "-r", "-w", "env", "-i", "HOME=/root", "LC_ALL=C.UTF-8",
                   "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words]  # fmt: skip
        return list(map(str, command))

    def run(self, *words, check=True, timeout=600):
        """What came of them."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{self.name}: {done.stdout}{done.stderr}"
        return done

    def end(self):
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
            self.log.close()


class Lab:
    """A controller in a namespace of its own, and HOSTS hosts, the last of which have TROUBLES."""

    def __init__(self, hosts, troubles=()):
        remove_stale()
        self.path = Path(tempfile.mkdtemp(prefix=f"fleet-lab-{os.getpid()}-"))
        self.prefix = f"fl{os.getpid()}-"
        troubles = ["none"] * (hosts - len(troubles)) + list(troubles)
        self.hosts = [Host(self, number, trouble) for number, trouble in enumerate(troubles, 1)]
        self.controller = f"{self.prefix}0"
        self.server = self.repository = None

    def __enter__(self):
        try:
            self._prepare()
            started = time.monotonic()
            self._network()
            self._start()
            self.seconds = time.monotonic() - started
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            host.end()
        if self.server:
            self.server.kill()
            self.server.wait(60)
        if self.repository:
            self.repository.close()
        names = run("ip", "netns", "list")
        for name in [line.split()[0] for line in names.splitlines() if line.startswith(self.prefix)]:
            run("ip", "netns", "del", name)
        shutil.rmtree(self.path)

    def _prepare(self):
        """What all hosts have above the cached root, as one more layer."""
        self.repository = Repository(self.path)
        self.old = kernel_package(self.path, PACKAGE, 1, OLD)
        # As Debian's metapackage brings it: beside the old one, where it stays.
        self.new = kernel_package(self.path, PACKAGE, 2, OLD, depends=NEW_PACKAGE)
        shutil.copy(kernel_package(self.path, NEW_PACKAGE, 1, NEW, menu=[NEW, OLD]), self.repository.path)
        self.repository.publish(self.old)
        self.gate_key, self.gate_certificate = certificate(self.path, "gate")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path / "key")
        layer, root, work = (self.path / name for name in ("layer", "root", "work"))
        for path in (layer, root, work):
            path.mkdir()
        run("mount", "-t", "overlay", "-o", f"lowerdir={base.root()},upperdir={layer},workdir={work}", "overlay", root)
        try:
            self._fill(root)
        finally:
            run("umount", root)
        self.layers = f"{layer}:{base.root()}"

    def _fill(self, root):
        def put(name, text, mode=0o644):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)

        debs = [*download(base.SUITE, ["libjson-c5"]).iterdir(), packages(base.SUITE)["kmodkeep"], self.old]
        for deb in debs:
            shutil.copy(deb, root / "tmp")
        put("boot/grub/grubenv", grubenv())
        run("chroot", root, "dpkg", "--force-unsafe-io", "-i", *[f"/tmp/{deb.name}" for deb in debs],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
        put("usr/sbin/grub-set-default", SET_DEFAULT, 0o755)
        put("usr/bin/grub-editenv", EDITENV, 0o755)
        put("root/.ssh/authorized_keys", (self.path / "key.pub").read_text(), 0o600)
        # Only its own repository, of which python3-apt wants to find the directories.
        shutil.rmtree(root / "var/lib/apt/lists")
        (root / "var/lib/apt/lists/partial").mkdir(parents=True)
        for path in (root / "etc/apt/sources.list.d").iterdir():
            path.unlink()
        put("etc/apt/sources.list", f"deb [signed-by=/etc/apt/lab.asc] http://{CONTROLLER}:{PORT} ./\n")
        put("etc/apt/lab.asc", self.repository.key)
        # A cache of the test: speed counts, not a power cut; and no rights are given up for it.
        # And as hosts have it, whatever this machine's own apt minds.
        put("etc/apt/apt.conf.d/zz-lab", 'APT::Sandbox::User "root";\nAcquire::Check-Valid-Until "true";\nAcquire::Check-Date "true";\n')
        put("etc/dpkg/dpkg.cfg.d/lab", "force-unsafe-io\n")
        put("etc/kmodkeep/guard.conf", f"gate = http://{CONTROLLER}:{PORT}/gate\ngate_reboot = yes\n"
                                       "prometheus = /var/lib/prometheus/node-exporter/kmodkeep.prom\n")  # fmt: skip
        shutil.copy(self.gate_certificate, root / "etc/kmodkeep/gate.pem")
        run("gcc", "-O2", "-shared", "-fPIC", "-o", root / "usr/lib/sim_host.so", HERE / "sim_host.c")
        put("etc/ld.so.preload", "/usr/lib/sim_host.so\n")
        shutil.copy(HERE / "sim-reboot", root / "usr/sbin/sim-reboot")
        put("usr/sbin/shutdown", "#!/bin/sh\nexec /usr/sbin/sim-reboot\n", 0o755)

    def _network(self):
        lines = [f"netns add {self.controller}"] + [f"netns add {host.net}" for host in self.hosts]
        run("ip", "-batch", "-", input="\n".join(lines) + "\n")
        lines = ["link set lo up", "link add br0 type bridge", "link set br0 up", f"address add {CONTROLLER}/16 dev br0"]
        for number, host in enumerate(self.hosts):
            lines += [f"link add v{number} type veth peer name eth0 netns {host.net}", f"link set v{number} master br0 up"]
        run("ip", "-n", self.controller, "-batch", "-", input="\n".join(lines) + "\n")
        for host in self.hosts:
            run("ip", "-n", host.net, "-batch", "-", input=f"link set lo up\naddress add {host.address}/16 dev eth0\nlink set eth0 up\n")
        self.server = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.on_controller(), sys.executable, "-m", "http.server", "-d", self.repository.path,
                                        str(PORT)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def _start(self):
        for host in self.hosts:
            host.start(self.layers)
        waiting, until = list(self.hosts), time.monotonic() + 600
        while waiting:
            assert time.monotonic() < until, f"{waiting[0].name} does not come up"
            waiting = [host for host in waiting if not host.is_up()]
            time.sleep(0.1)
        say(f"{len(self.hosts)} hosts are up")

    def on_controller(self, *words):
        """The command that runs WORDS on the controller."""
        return ["ip", "netns", "exec", self.controller, *map(str, words)]

    def memory(self):
        """MiB of the hosts' own processes and of what they have written."""
        kib = 0
        for host in self.hosts:
            if host.alive:
                kib += int(Path(f"/proc/{host.init}/smaps_rollup").read_text().split("Pss:")[1].split()[0])
                disk = os.statvfs(host.root / "var")
                kib += (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024
        return kib / 1024
