# SPDX-License-Identifier: GPL-2.0-or-later
"""Each suite's dkms hands its builds to kmodkeep, and leaves other drivers alone.

A driver with the two hooks and one without them are built by the real dkms in
a root of each suite, with kmodkeep's package installed.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lib import roots

TOP = Path(__file__).parents[2]
# One suite for each version of dkms; sid has that of trixie.
SUITES = [s for s in roots.HEADERS if s != "sid" or os.environ.get("FULL")]
HOOKS = ("dkms-post-build", "dkms-pre-install")
MACHINE = "0123456789abcdef0123456789abcdef"
CERT = "/var/lib/kmodkeep/keys/signing.der"

SOURCE = """#include <linux/module.h>
static int __init start(void) { return 0; }
static void __exit stop(void) { }
module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("nothing");
"""


def add_driver(clone, name, hooks):
    """The source of a driver with two modules, registered with dkms."""
    source = clone.path / f"usr/src/{name}-1.0"
    source.mkdir()
    lines = [f'PACKAGE_NAME="{name}"', 'PACKAGE_VERSION="1.0"', 'CLEAN="true"']
    for number, module in enumerate((name, f"{name}_more")):
        (source / f"{module}.c").write_text(SOURCE)
        lines.append(f'BUILT_MODULE_NAME[{number}]="{module}"')
        lines.append(f'DEST_MODULE_LOCATION[{number}]="/updates"')
    (source / "Makefile").write_text(f"obj-m := {name}.o {name}_more.o\n")
    if hooks:
        # As in the driver of this repository, whose scripts these are.
        lines += [f'{key}="{script} ${{kernelver}} ${{arch}}"' for key, script in
                  zip(("POST_BUILD", "PRE_INSTALL"), HOOKS)]  # fmt: skip
        for script in HOOKS:
            shutil.copy2(TOP / "src" / script, source)
    (source / "dkms.conf").write_text("\n".join([*lines, ""]))
    clone.run(["dkms", "add", f"{name}/1.0"])


class Host:
    """A clone with kmodkeep, a driver "hooked" and a driver "plain"."""

    def __init__(self, clone, suite):
        self.clone = clone
        self.suite = suite
        self.kernel = roots.release(suite, roots.HEADERS[suite][0])
        self.configuration = self.read_configuration()

    def read_configuration(self):
        return self.clone.run("find /etc/dkms /etc/modprobe.d -type f -exec sha256sum {} +").stdout

    def give_key(self):
        """A key as `key create` makes it; in a chroot it makes none by itself."""
        (self.clone.path / "etc/machine-id").write_text(MACHINE + "\n")
        (self.clone.path / "image/etc").mkdir(parents=True)
        (self.clone.path / "image/etc/machine-id").write_text(MACHINE + "\n")
        self.clone.run(["kmodkeep", "key", "create", "--root", "/image"])
        self.clone.run("mkdir -p /var/lib/kmodkeep")
        self.clone.run("cp -a /image/var/lib/kmodkeep/keys /var/lib/kmodkeep/")

    def dkms(self, verb, name, check=True):
        return self.clone.run(["dkms", verb, f"{name}/1.0", "-k", self.kernel], check=check)

    def installed(self, name):
        found = self.clone.run(
            f"find /lib/modules/{self.kernel}/updates -name '{name}*.ko*'"
        ).stdout.split()
        assert len(found) == 2, found
        return found

    def built(self, name):
        return self.clone.run(
            f"find /var/lib/dkms/{name}/1.0/{self.kernel} -name '{name}*.ko*'"
        ).stdout.split()

    def signer(self, path):
        return self.clone.run(["modinfo", "-F", "signer", path]).stdout.strip()

    def log(self, name):
        """What the build wrote: dkms 3.2 keeps it from the terminal."""
        return self.clone.run(f"cat /var/lib/dkms/{name}/1.0/{self.kernel}/*/log/make.log").stdout


@pytest.fixture(scope="module", params=SUITES)
def host(request, tmp_path_factory):
    suite = request.param
    command = [TOP / "debian/build-packages", "--output", tmp_path_factory.mktemp("debs"), suite]
    debs = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    with roots.Clone(suite) as clone:
        [deb] = [path for path in debs if "/kmodkeep_" in path]
        shutil.copy(deb, clone.path / "tmp")
        clone.run("apt-get install -qy --no-install-recommends /tmp/kmodkeep_*.deb")
        add_driver(clone, "hooked", hooks=True)
        add_driver(clone, "plain", hooks=False)
        yield Host(clone, suite)


def test_without_a_key_of_its_own(host):
    """dkms's own key is adopted, where it has one: nothing is signed twice."""
    text = host.dkms("build", "hooked").stdout + host.log("hooked")
    built = host.built("hooked")
    assert len(built) == 2
    for path in built:
        if host.suite == "bullseye":  # its dkms signs nothing
            assert host.signer(path) == "" and "this host has no signing key" in text
        else:
            assert host.signer(path) == "DKMS module signing key"
            assert "already signed by 'DKMS module signing key'" in text
    # "unbuild" came with dkms 3: forgetting the driver works with each.
    host.clone.run("dkms remove hooked/1.0 --all && dkms add hooked/1.0")


def test_signed_once_with_the_hosts_key(host):
    host.give_key()
    text = host.dkms("install", "hooked").stdout + host.log("hooked")
    assert text.count("signed by 'kmodkeep ") >= 2
    for path in host.installed("hooked"):
        assert host.signer(path).startswith("kmodkeep ")
        verdict = host.clone.run(
            ["kmodkeep", "verify", "--kernel", host.kernel, "--cert", CERT, path]
        ).stdout
        assert ": ok: signed by 'kmodkeep " in verdict
        packed = {".xz": "xz -dc", ".zst": "zstd -dc", ".gz": "gzip -dc"}
        reader = next((packed[s] for s in packed if path.endswith(s)), "cat")
        command = f"{reader} {path} | LC_ALL=C grep -ac '~Module signature appended~'"
        magic = host.clone.run(command).stdout
        assert magic.strip() == "1"


def test_other_drivers_are_left_alone(host):
    host.dkms("install", "plain")
    wanted = "" if host.suite == "bullseye" else "DKMS module signing key"
    for path in host.installed("plain"):
        assert host.signer(path) == wanted
    assert host.read_configuration() == host.configuration


def test_changed_after_the_build_is_not_installed(host):
    host.clone.run(f"dkms uninstall hooked/1.0 -k {host.kernel}")
    [path] = [path for path in host.built("hooked") if "/hooked.ko" in path]
    host.clone.run(
        f"""case {path} in *.xz) xz -d {path} ;; esac
        printf X | dd of={path.removesuffix(".xz")} bs=1 seek=100 conv=notrunc 2>&1
        case {path} in *.xz) xz {path.removesuffix(".xz")} ;; esac"""
    )
    result = host.dkms("install", "hooked", check=False)
    assert result.returncode == 101
    assert "hooked.ko" in result.stdout and ": tampered: " in result.stdout
    assert "Next: rebuild it" in result.stdout
    left = host.clone.run(f"find /lib/modules/{host.kernel}/updates -name 'hooked*'").stdout
    assert not left
