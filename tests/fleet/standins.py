# SPDX-License-Identifier: GPL-2.0-or-later
"""A system with apt, and a repository whose kernels and drivers are stand-ins.

The kernels have the names, versions and dependencies of Debian's, and no content: what apt does
about them depends on nothing else.  The driver's packages are made by "kmodkeep fleet package".
"""

import hashlib
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

from tests.lib import apt, roots
from tests.lib.cache import cached, digest
from tests.lib.clone import ThrowAwayRoot

TOP = Path(__file__).resolve().parents[2]
FLEET = [TOP / "fleet/fleet", "kmodkeep"]
MAINTAINER = "Driver Team <team@drivers.example>"
PACKAGES = ["apt-utils", "kmod", "python3-apt", "unattended-upgrades"]
META = "sample-modules"


class Kernel:
    """A version of the kernel's packages; NUMBER is that of its ABI."""

    def __init__(self, number, version):
        self.release = f"99.1.0-{number}-amd64"
        self.version = version


FIRST, SECOND, THIRD = Kernel(1, "99.1.1-1"), Kernel(2, "99.1.2-1"), Kernel(3, "99.1.3-1")
DEPENDANTS = [f"dependant-{number}" for number in range(1, 7)]


def root(suite):
    def make(path):
        apt.update(suite)
        roots.mmdebstrap(suite, PACKAGES, path)

    return cached("roots", f"apt-{suite}-{digest(PACKAGES, apt.SUITES[suite])}", make)


def module(path, release, name="sample", size=0):
    """A file that depmod takes for a module; SIZE: so many bytes more."""
    text = f'.section .modinfo,"a"\n.asciz "name={name}"\n.asciz "vermagic={release} SMP "\n.asciz "license=GPL"\n' + f".zero {size}\n" * bool(size)
    subprocess.run(["gcc", "-c", "-x", "assembler", "-o", path, "-"], input=text.encode(), check=True)


def build_folder(path, kernel, driver="sample", more=()):
    """What "kmodkeep fleet build" leaves, of a module that is a stand-in, and of larger ones called MORE."""
    path.mkdir(parents=True, exist_ok=True)
    modules = []
    for one in (driver, *more):
        name = one.replace("-", "_")
        module(path / f"{one}.ko", kernel.release, name, 4096 if one in more else 0)
        data = (path / f"{one}.ko").read_bytes()
        modules.append({"file": f"{one}.ko", "name": name, "vermagic": f"{kernel.release} SMP ", "srcversion": None,
                        "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})  # fmt: skip
    manifest = {
        "schema": 1, "kernel": kernel.release, "kernel_package": f"linux-image-{kernel.release}",
        "kernel_package_version": kernel.version, "signature_hash": "sha256", "compiler": "none", "pahole": None,
        "builder": "test", "driver": driver, "driver_version": "1.0", "architecture": "amd64", "modules": modules,
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


class System(ThrowAwayRoot):
    """A throw-away system, whose only repository is its /repo."""

    def __init__(self, suite, options=()):
        super().__init__(root(suite), f"apt-{suite}")
        self.options = list(options)

    def __enter__(self):
        super().__enter__()
        self.repo = self.path / "repo"
        self.repo.mkdir()
        shutil.rmtree(self.path / "etc/apt/sources.list.d", ignore_errors=True)
        (self.path / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")
        (self.path / "etc/apt/apt.conf.d/99test").write_text(
            'Unattended-Upgrade::Origins-Pattern { "origin=Test"; };\n' + "".join(f"{line};\n" for line in self.options)
        )
        for name in ("etc/kmodkeep", "metrics"):
            (self.path / name).mkdir()
        (self.path / "etc/kmodkeep/guard.conf").write_text("prometheus = /metrics/kmodkeep.prom\n")
        for name in ("50unattended-upgrades", "20auto-upgrades"):
            (self.path / "etc/apt/apt.conf.d" / name).unlink(missing_ok=True)
        return self

    # --- the repository

    def put(self, name, version, depends="", files=(), architecture="amd64"):
        """A package NAME into the repository."""
        top = self.path / "package"
        (top / "DEBIAN").mkdir(parents=True)
        text = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Test <t@t.example>\n"
        (top / "DEBIAN/control").write_text(
            text + (f"Depends: {depends}\n" if depends else "") + f"Description: stand-in of {name}\n"
        )
        for path, source in files:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            if source is None:
                (top / path).touch()
            else:
                shutil.copy(source, top / path)
        file = f"{name}_{version}_{architecture}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", top, self.repo / file], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        shutil.rmtree(top)

    def put_kmodkeep(self):
        """The parts of kmodkeep that matter here, where debian/rules puts them."""
        self.put("kmodkeep", "99", files=[
            ("usr/lib/kmodkeep/kernel-hold", TOP / "system/kernel-hold"),
            ("etc/apt/apt.conf.d/90kmodkeep", TOP / "system/kmodkeep.apt.conf"),
        ])  # fmt: skip

    def put_kernel(self, kernel, dependants=True):
        image, headers = f"linux-image-{kernel.release}", f"linux-headers-{kernel.release}"
        self.put(image, kernel.version, files=[(f"lib/modules/{kernel.release}/modules.builtin", None),
                                               (f"lib/modules/{kernel.release}/modules.order", None),
                                               (f"boot/vmlinuz-{kernel.release}", None)])  # fmt: skip
        self.put(headers, kernel.version)
        self.put("linux-image-amd64", kernel.version, f"{image} (= {kernel.version})")
        self.put("linux-headers-amd64", kernel.version, f"{headers} (= {kernel.version})")
        for name in DEPENDANTS if dependants else ():
            self.put(name, kernel.version, f"linux-image-amd64 (>= {kernel.version})")

    def put_modules(self, *kernels, driver="sample", without=(), more=(), signer="", options=()):
        """The driver's packages for KERNELS; not those whose name begins with one of WITHOUT.

        MORE: other modules of it. SIGNER: what takes the place of a signature.
        """
        folders = [build_folder(self.path / f"built/{driver}/{one.release}", one, driver, more) for one in kernels]
        for file in (file for folder in folders for file in folder.glob("*.ko") if signer):
            signature = signer.encode() + struct.pack(">5B3xI", 0, 0, 2, 0, 0, len(signer)) + b"~Module signature appended~\n"
            file.write_bytes(file.read_bytes() + signature)
        command = [*FLEET, "package", "--unsigned", *options, "--maintainer", MAINTAINER, "--out", self.path / "made", *folders]
        subprocess.run(command, check=True, capture_output=True)
        for file in (self.path / "made").iterdir():
            if not any(file.name.startswith(name) for name in without):
                shutil.copy(file, self.repo)
        shutil.rmtree(self.path / "made")

    def publish(self):
        self.run("cd /repo && apt-ftparchive packages . >Packages"
                 " && apt-ftparchive -o APT::FTPArchive::Release::Origin=Test release . >.new && mv .new Release")  # fmt: skip

    # --- what is done there

    def apt(self, *words, check=True):
        """apt-get or apt WORDS, without questions; what it printed."""
        program, *rest = words
        return self.run([program, "-y", "-o", "Dpkg::Use-Pty=0", *rest], check=check).stdout

    def update(self):
        self.publish()
        return self.apt("apt-get", "update")

    def install_first(self):
        """The first kernel, its driver, and what depends on the kernel."""
        self.put_kmodkeep()
        self.put_kernel(FIRST)
        self.put_modules(FIRST)
        self.put("other", "1")
        self.update()
        self.apt("apt-get", "install", "linux-image-amd64", "linux-headers-amd64", META, "kmodkeep", "other", *DEPENDANTS)

    # --- what is seen there

    def versions(self):
        """package -> version, of what is installed and configured."""
        text = self.run(["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"]).stdout
        return {name: version for name, version, status in re.findall(r"^(\S+) (\S+) (\S+) *$", text, re.M)
                if status == "ii"}  # fmt: skip

    def kernel(self):
        return self.versions().get("linux-image-amd64")

    def pins(self):
        file = self.path / "etc/apt/preferences.d/kmodkeep-kernel"
        text = file.read_text() if file.exists() else ""
        return dict(re.findall(r"^Package: (\S+)\nPin: version (\S+)$", text, re.M))

    def waits(self):
        return self.run(["/usr/lib/kmodkeep/kernel-hold", "show"]).stdout
