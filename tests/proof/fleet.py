# SPDX-License-Identifier: GPL-2.0-or-later
"""Two full guests of Debian 12 with Secure Boot, which a controller reaches by ssh, and the driver that they have.

The driver is tests/guest/modules/guest-trouble.c.  Its package comes in two versions, from a signed
repository that the controller serves: one that is good, and one whose build breaks.
"""

import concurrent.futures
import functools
import http.server
import socket
import threading
import uuid

from tests.fleet.lab import Repository
from tests.lib import apt
from tests.lib.cache import cache_dir, cached, digest
from tests.lib.clone import ThrowAwayRoot
from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import kernel
from tests.proof.guest import PATIENCE
from tests.proof.system import APT, _base, kmodkeep_deb, run_logged, write
from tests.qemu import image, variables
from tests.qemu.esp import run
from tests.qemu.secureboot import OVERLAY, SecureBootGuest
from tests.secureboot import cells

SUITE, KERNEL = "bookworm", "6.1"
MORE = ["openssh-server", "python3", "python3-apt"]
NETWORK = "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n"
RECIPE = 1  # raise it when the disk must be made anew though its packages are the same

DRIVER = "guest-trouble"
MODULE = f"/lib/modules/{{}}/updates/{DRIVER}.ko"
DROP_IN = f"modules = {DRIVER}\nload = yes\nsmoke_test = /usr/lib/{DRIVER}/smoke\n"
SMOKE = "#!/bin/sh\nhead -c 1 /proc/guest-trouble\n"
DEPMOD = "#!/bin/sh\nset -e\ndepmod {}\n"
# As dh_dkms makes it; what dkms does then is its own.
BUILD = f"#!/bin/sh\nset -e\n/usr/lib/dkms/common.postinst {DRIVER} {{}}\n"
UNBUILD = f"#!/bin/sh\nset -e\ndkms remove -m {DRIVER} -v {{}} --all || :\n"
DKMS = f'PACKAGE_NAME="{DRIVER}"\nPACKAGE_VERSION="{{}}"\nBUILT_MODULE_NAME[0]="{DRIVER}"\nDEST_MODULE_LOCATION[0]="/updates"\nAUTOINSTALL="yes"\n'
GOOD, BROKEN = "1.0", "2.0"


def disk():
    """The disk of a host that has its kernel, dkms and sshd, but neither kmodkeep nor the driver."""
    needs = run("dpkg-deb", "--field", kmodkeep_deb(SUITE), "Depends").decode().strip()
    base = _base(SUITE)

    def make(directory):
        directory.mkdir(parents=True)
        log = cache_dir("logs") / f"{directory.name.removeprefix('.partial-')}.log"
        log.write_text("")
        with ThrowAwayRoot(base, f"fleet-{SUITE}") as root:
            (root.path / "etc/apt/sources.list").write_text(apt.sources_list(SUITE))
            run_logged(root, log, [*APT, "update"])
            run_logged(root, log, [*APT, "install", *MORE, "grub2-common"])
            run_logged(root, log, [*APT, "satisfy", needs])
            (root.path / "etc/systemd/network/80-dhcp.network").write_text(NETWORK)
            run_logged(root, log, ["systemctl", "enable", "systemd-networkd", "ssh"])
            root_uuid = str(uuid.uuid4())
            image.settle(root.path, root_uuid)
            write(directory / "disk.img", root, root_uuid)

    key = digest(RECIPE, base.name, MORE, NETWORK, needs)
    return cached("image", f"fleet-{SUITE}-{key}", make) / "disk.img"


def deb(directory, version, files, postinst, prerm="#!/bin/sh\n"):
    """A package of the driver with FILES {path: content}; its path."""
    top = directory / f"{DRIVER}-{version}"
    control = (f"Package: {DRIVER}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\n"
               "Depends: kmod\nDescription: trouble on request\n")  # fmt: skip
    for path, content in {"DEBIAN/control": control, "DEBIAN/postinst": postinst, "DEBIAN/prerm": prerm, **files}.items():
        path = top / path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o755 if path.read_bytes().startswith(b"#!") else 0o644)
    package = directory / f"{DRIVER}_{version}_amd64.deb"
    run("dpkg-deb", "--root-owner-group", "-b", top, package)
    return package


def drivers(directory, key):
    """{version: its package}; the good one's module is signed by KEY."""
    release = kernel(KERNEL).release
    module = build_guest_modules(KERNEL)[DRIVER].read_bytes()
    signed = cells.appended(module, cells.cms(module, [key]))

    def files(more=""):
        return {f"usr/lib/kmodkeep/drivers.d/{DRIVER}.conf": DROP_IN + more, f"usr/lib/{DRIVER}/smoke": SMOKE}

    source = f"usr/src/{DRIVER}-{BROKEN}"
    broken = {f"{source}/dkms.conf": DKMS.format(BROKEN), f"{source}/Kbuild": f"obj-m += {DRIVER}.o\n",
              f"{source}/{DRIVER}.c": "#error this version does not build\n"}  # fmt: skip
    return {
        GOOD: deb(directory, GOOD, {**files(), MODULE.format(release): signed}, DEPMOD.format(release)),
        BROKEN: deb(directory, BROKEN, {**files(f"dkms = {DRIVER}\n"), **broken}, BUILD.format(BROKEN), UNBUILD.format(BROKEN)),
    }


class Host:
    """One guest; who stands behind PORT of this machine."""

    def __init__(self, name, workdir, key):
        self.name, self.workdir = name, workdir
        self.workdir.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.connection = f"ansible_host=127.0.0.1 ansible_port={self.port}"
        overlay = self.workdir / "disk.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk(), overlay)
        net = ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=net,romfile="]
        self.guest = SecureBootGuest([(overlay, OVERLAY)], self.workdir, name=f"fleet-{name}", memory="1G", cpus=1, more=net)
        variables.add(self.workdir / "efivars.fd", "MokList", variables.signature_list(variables.X509, [key.der]))

    def run(self, command):
        """What COMMAND says, which must succeed; all is in the logs."""
        result = self.guest.run(command, PATIENCE)
        with open(self.workdir / "commands.log", "a", encoding="utf-8") as log:
            log.write(f"\n# {command}\n{result.output}# exit status {result.status}\n")
        return result.check().output

    def version(self):
        return self.run(f"dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' {DRIVER}")

    def boot_id(self):
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()


class Fleet:
    """The hosts h1, which is the canary, and h2, with the good driver; as a context manager. What they say stays in LOGS."""

    def __init__(self, path, logs):
        self.path = path
        key = cells.make_key(path, "good")
        self.debs = drivers(path, key)
        self.repository = Repository(path)
        handler = functools.partial(Silent, directory=self.repository.path)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.hosts = [Host(name, logs / name, key) for name in ("h1", "h2")]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path / "key")
        self.repository.publish(kmodkeep_deb(SUITE), self.debs[GOOD])
        try:
            for host in self.hosts:
                host.guest.start()
            with concurrent.futures.ThreadPoolExecutor(len(self.hosts)) as pool:
                list(pool.map(self._install, self.hosts))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            host.guest.kill()
            (host.workdir / "disk.qcow2").unlink()
        self.server.shutdown()
        self.repository.close()

    def _install(self, host):
        """What an administrator does once; GRUB keeps its default, or nothing could hold a kernel."""
        host.guest.wait_booted()
        key = (self.path / "key.pub").read_text().strip()
        source = f"deb [signed-by=/etc/apt/keyrings/fleet.asc] http://10.0.2.2:{self.server.server_port} ./"
        host.run(f"hostnamectl set-hostname {host.name}; mkdir -p -m 700 /root/.ssh; echo '{key}' >/root/.ssh/authorized_keys; "
                 f"mkdir -p /etc/apt/keyrings; cat >/etc/apt/keyrings/fleet.asc <<'E'\n{self.repository.key}E\n"
                 f"echo '{source}' >/etc/apt/sources.list.d/fleet.list; "
                 "sed -i 's/^GRUB_DEFAULT=.*/GRUB_DEFAULT=saved/' /etc/default/grub; update-grub")  # fmt: skip
        host.run(f"export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q -y install kmodkeep {DRIVER}")
        host.run(f"modprobe {DRIVER} && kmodkeep smoke {DRIVER} && kmodkeep guard")

    def publish(self, version):
        """The good driver and VERSION are what the repository has."""
        for other in self.debs.values():
            (self.repository.path / other.name).unlink(missing_ok=True)
        self.repository.publish(self.debs[GOOD], self.debs[version])

    @staticmethod
    def on_controller(*words):
        return [str(word) for word in words]


class Silent(http.server.SimpleHTTPRequestHandler):
    """Says nothing on the terminal."""

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    print(disk())
