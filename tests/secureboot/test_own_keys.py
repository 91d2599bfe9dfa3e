# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with keys of its own in the firmware, without shim: what each kernel makes of a key in db.

As the users of sbctl have it: PK, KEK and db are the owner's, and the firmware starts a
signed unified image, systemd's stub with the distribution's kernel in it, from the path for
removable disks.  The kernel finds the key in its .platform ring.  Whether modules are
trusted by it is asked of the kernel, and of kmodkeep before; and the key that kmodkeep made
is not asked to be enrolled by a menu that would never come.

Boots by firmware take long under emulation, so only FULL=1 has it done, or K=6.1,6.12,
which chooses the kernels.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.lib import apt
from tests.lib.cache import cached
from tests.qemu import esp
from tests.qemu.direct import PATIENCE
from tests.qemu.secureboot import BOOT_TIMEOUT, FIXED, VARIABLES
from tests.qemu.smallguest import small_guest
from tests.secureboot import cells
from tests.secureboot.chain import SLOW, _packages
from tests.secureboot.test_table import _module
from tests.unit.kmodkeep.test_varstore import virt_firmware

SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    ["6.1", "6.12"] if os.environ.get("FULL") else [])  # fmt: skip

EMPTY = VARIABLES.with_name("OVMF_VARS_4M.fd")
OWNER = "00000000-0000-0000-0000-000000000001"
COMMAND_LINE = f"console=ttyS0,115200 rdinit=/init panic=-1 {PATIENCE}"
FAT = ("vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8")
LOAD = "insmod /modules/{}.ko; code=$?; rmmod table 2>/dev/null; exit $code"
RINGS = ".builtin_trusted_keys", ".secondary_trusted_keys", ".machine", ".platform"


def tools():
    """systemd's stub, and keyctl."""
    def unpack(directory):
        for name in ("systemd-boot-efi", "keyutils"):
            for deb in apt.download("bookworm", [name]).glob("*.deb"):
                apt.extract(deb, directory)

    return cached("own-keys", "bookworm", unpack)


def unified_image(workdir, target, archive):
    """The stub with the kernel and its initramfs in sections of their own, behind the stub's."""
    stub = tools() / "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
    (workdir / "cmdline").write_text(COMMAND_LINE)
    (workdir / "uname").write_text(target.release)
    headers = subprocess.run(["objdump", "-h", stub], check=True, capture_output=True, text=True).stdout
    ends = [int(size, 16) + int(at, 16) for size, at in
            re.findall(r"^ +\d+ \S+ +([0-9a-f]{8}) +([0-9a-f]{16})", headers, re.MULTILINE)]  # fmt: skip
    at, words = max(ends), []
    for name, path in (("uname", workdir / "uname"), ("cmdline", workdir / "cmdline"),
                       ("linux", target.vmlinuz), ("initrd", archive)):  # fmt: skip
        at = (at + 0xFFFF) & ~0xFFFF
        words += ["--add-section", f".{name}={path}", "--change-section-vma", f".{name}={at:#x}"]
        at += path.stat().st_size
    image = workdir / "unified.efi"
    subprocess.run(["objcopy", *words, stub, image], check=True)
    return image


class Story:
    """The record of one boot on kernel NAME."""

    def __init__(self, name, workdir):
        self.name, self.workdir = name, workdir
        self.keys = {n: cells.make_key(workdir, n) for n in ("any-usage", "good", "unknown")}
        self.loads, self.said, self.rings = {}, {}, {}

    def run(self):
        module = _module(self.name, self.workdir)
        files = {f"modules/{name}.ko": cells.appended(module, cells.cms(module, [key]))
                 for name, key in self.keys.items()}  # fmt: skip
        files["modules/unsigned.ko"] = files["modules/own.ko"] = module
        files["keys/any-usage.der"] = self.keys["any-usage"].der
        files["usr/bin/keyctl"] = tools() / "bin/keyctl"
        guest = small_guest(self.name, self.workdir, _packages(self.workdir / "debs"), files=files,
                            more_stock=FAT, boot=self.boot_disk)  # fmt: skip
        self.firmware_keys()
        with guest:
            self.guest = guest
            guest.wait_shell(BOOT_TIMEOUT)
            guest.check("mkdir -p /boot/efi; mount -t vfat -o ro /dev/vda1 /boot/efi")
            self.see()
        return self

    def boot_disk(self, workdir, target, archive):
        image, key = unified_image(workdir, target, archive), self.keys["any-usage"]
        subprocess.run(["sbsign", "--key", key.key, "--cert", key.cert, "--output", image, image],
                       check=True, capture_output=True)  # fmt: skip
        disk, size = workdir / "boot.img", image.stat().st_size // esp.MIB + 40
        esp.partition(disk, size + 2, size)
        esp.write(disk, size, {"EFI/BOOT/BOOTX64.EFI": image.read_bytes()})
        image.unlink()
        return disk, FIXED

    def firmware_keys(self):
        """The owner's lists alone, with two keys in db: one for any code, one for modules only."""
        where = virt_firmware()
        store = self.workdir / "efivars.fd"
        shutil.copyfile(EMPTY, store)
        owner = self.keys["any-usage"].cert
        subprocess.run(
            ["/usr/bin/python3", where / "usr/bin/virt-fw-vars", "--inplace", store, "--set-pk", OWNER, owner,
             "--add-kek", OWNER, owner, "--add-db", OWNER, owner, "--add-db", OWNER, self.keys["good"].cert,
             "--secure-boot"], check=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": where / "usr/lib/python3/dist-packages"})  # fmt: skip

    def see(self):
        run, check = self.guest.run, self.guest.check
        check("kmodkeep key create", SLOW)
        check("kmodkeep sign /modules/own.ko", SLOW)
        names = [*self.keys, "own", "unsigned"]
        paths = " ".join(f"/modules/{name}.ko" for name in names)
        document = json.loads(run(f"kmodkeep verify --json {paths}", SLOW).output)
        self.predicted = {name: result for name, result in zip(names, document["results"])}
        self.loads = {name: run(LOAD.format(name), SLOW).status == 0 for name in names}
        for ring in RINGS:
            self.rings[ring] = run(f"keyctl list %:{ring}", SLOW).output
        self.said["db key"] = run("kmodkeep key status --cert /keys/any-usage.der", SLOW)
        self.said["own key"] = run("kmodkeep key status", SLOW)
        self.said["enroll"] = run("echo bcdefghijk | kmodkeep key enroll --password-stdin", SLOW)
        self.said["requests"] = run("ls /sys/firmware/efi/efivars/", SLOW)


if SELECTED:

    @pytest.fixture(scope="module", params=SELECTED)
    def story(request, tmp_path_factory):
        return Story(request.param, tmp_path_factory.mktemp(f"own-keys-{request.param}-")).run()

    def test_keys_of_db_are_in_the_platform_ring_alone(story):
        for name in ("any-usage", "good"):
            found = [ring for ring, keys in story.rings.items() if f"table {name}" in keys]
            assert found == [".platform"], (name, story.rings)

    def test_modules_load_by_a_key_of_db_and_by_no_other(story):
        assert story.loads == {"any-usage": True, "good": True, "unknown": False, "own": False, "unsigned": False}

    def test_kmodkeep_said_so_before(story):
        verdicts = {name: result["verdict"] for name, result in story.predicted.items()}
        assert verdicts == {"any-usage": "ok", "good": "ok", "unknown": "untrusted-key", "own": "untrusted-key",
                            "unsigned": "unsigned"}  # fmt: skip
        assert "Enrolment:    enrolled" in story.said["db key"].output, story.said["db key"].output

    def test_no_menu_is_promised_that_would_not_come(story):
        for text in (story.predicted["own"]["next_step"], story.said["own key"].output):
            assert "boots without shim" in text and "Enroll MOK" not in text, text
        assert story.said["enroll"].status == 1 and "boots without shim" in story.said["enroll"].output
        assert "MokNew" not in story.said["requests"].output
