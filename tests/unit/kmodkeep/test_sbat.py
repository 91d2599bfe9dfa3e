# SPDX-License-Identifier: GPL-2.0-or-later
"""SBAT: what shim refuses to start at the next boot is no safe boot, by the level that will hold then."""

import json
import struct

import pytest

from tests.lib import apt
from tests.lib.cache import cached
from tests.qemu import esp
from tests.unit.kmodkeep import test_firmware_ca as firmware
from tests.unit.kmodkeep.host import GLOBAL
from tests.unit.kmodkeep.system import NEW, OLD, System, bzimage

ca, host = firmware.ca, firmware.host

ROW = "{0},{1},Maker,package,1.0,https://maker.example"
ORIGINAL = "sbat,1,2021030218\n"
OF_2024 = "sbat,1,2024010900\nshim,4\ngrub,3\ngrub.debian,4\n"
OF_2025 = "sbat,1,2025021800\nshim,4\ngrub,5\n"
LATER = "sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2\n"
SHIM, GRUB, MOK_MANAGER, FALLBACK = (f"boot/efi/EFI/debian/{name}x64.efi" for name in ("shim", "grub", "mm", "fb"))


def csv(**generations):
    """The section of a program with these components."""
    names = {"sbat": 1, **generations}
    return "".join(ROW.format(name.replace("_", "."), number) + "\n" for name, number in names.items()).encode()


def image(*sections):
    """A program of EFI with sections (name, content[, virtual size[, relocations]])."""
    names, bodies, heads, place = b"", b"", [], 0x400
    for name, content, *more in ((".text", b"t" * 0x200), *sections):
        raw = content + bytes(-len(content) % 0x200)
        virtual, relocations = (*more, *(len(content), 0)[len(more):])  # fmt: skip
        if len(name) > 8:
            names, name = names + name.encode() + b"\0", f"/{4 + len(names)}"
        heads.append(struct.pack("<8sIIIIIIHHI", name.encode(), virtual, 0x1000 * (len(heads) + 1), len(raw),
                                 place if raw else 0, 0, 0, relocations, 0, 0x40000040))  # fmt: skip
        bodies, place = bodies + raw, place + len(raw)
    head = bytearray(0x400)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    struct.pack_into("<4sHHIIIHH", head, 0x80, b"PE\0\0", 0x8664, len(heads), 0, place if names else 0, 0, 0xF0, 0x22E)
    struct.pack_into("<H", head, 0x98, 0x20B)
    struct.pack_into("<II", head, 0x98 + 32, 0x1000, 0x200)
    struct.pack_into("<II", head, 0x98 + 56, 0x1000 * (len(heads) + 1), 0x400)
    struct.pack_into("<H", head, 0x98 + 68, 10)
    struct.pack_into("<I", head, 0x98 + 108, 16)
    head[0x188 : 0x188 + 40 * len(heads)] = b"".join(heads)
    table = struct.pack("<I", 4 + len(names)) + names if names else b""
    return bytes(head) + bodies + table + bytes(-len(table) % 8)


def sbatlevel(automatic, latest, form=0):
    """What shim brings: a number, two places, two texts."""
    first = automatic.encode() + b"\0"
    return struct.pack("<III", form, 8, 8 + len(first)) + first + latest.encode() + b"\0"


def shim_image(generation=4, automatic=ORIGINAL, latest=LATER, **names):
    return image((".vendor_cert", b"c"), (".sbatlevel", sbatlevel(automatic, latest)),
                 (".sbat", csv(shim=generation, **names)))  # fmt: skip


def grub_image(**names):
    return image((".sbat", csv(**names)))


@pytest.fixture
def boot(host, ca):
    """A host that boots through shim and GRUB, both signed, with the level that the firmware holds."""
    host.lists(["Owner"])

    def program(path, data):
        host.put(path, ca.signed("Owner", image=data))

    host.program = program
    host.level = lambda text: host.variable("SbatLevelRT", b"\6\0\0\0" + text.encode())
    host.policy = lambda number: host.variable("SbatPolicy", b"\7\0\0\0" + bytes([number]))
    host.level(OF_2024)
    program(SHIM, shim_image())
    program(GRUB, grub_image(grub=5, grub_debian=5))
    program(MOK_MANAGER, grub_image(shim=4))
    return host


def answer(boot):
    """How safe, the line, and what to do."""
    state = json.loads(boot.run("state").out)
    return state["safe"], state["line"], state["next_step"]


def safe(boot):
    return answer(boot)[0]


def stops(boot, *words, then=()):
    said, line, step = answer(boot)
    assert said == "no", line
    assert line.startswith("next boot stops: Secure Boot is on, and shim")
    for word in words:
        assert word in line, line
    for word in ("before the reboot", *then):
        assert word in step, step


def unknown(boot, *words):
    said, line, step = answer(boot)
    assert said == "unknown" and step, line
    for word in ("next boot: cannot tell", *words):
        assert word in line, line


def test_all_that_the_level_lets_start_is_safe(boot):
    assert safe(boot) == "yes"


def test_shim_that_the_held_level_revokes(boot):
    boot.program(SHIM, shim_image(3))
    stops(boot, "EFI/debian/shimx64.efi", "switches the machine off", "it has shim,3, and shim,4 is required",
          "level 2024010900, which the firmware holds", then=["shim-signed", "put back the one that started"])  # fmt: skip
    result = boot.run("status")
    assert result.code == 1 and "shim,4 is required" in " ".join(result.out.split())


def test_that_shim_was_told_not_to_check_does_not_spare_itself(boot):
    """It looks at itself before it reads that; at others it does not look then."""
    boot.variable("MokSBStateRT", b"\6\0\0\0\1")
    boot.program(GRUB, grub_image(grub=1))
    assert safe(boot) == "yes"
    boot.program(SHIM, shim_image(3))
    stops(boot, "shim,4 is required")


def test_boot_loader_that_the_held_level_revokes(boot):
    boot.program(GRUB, grub_image(grub=3, grub_debian=3))
    stops(boot, f"does not start the boot loader {boot.path}/{GRUB}", "it has grub.debian,3, and grub.debian,4 is required",
          then=["put back the one"])  # fmt: skip


def test_boot_loader_that_is_not_there(boot):
    """As after a package of GRUB was removed; some builds of shim start a program of another name."""
    (boot.path / GRUB).unlink()
    unknown(boot, "EFI/debian/shimx64.efi", "no GRUB is beside it")
    assert "grub-efi-amd64-signed" in answer(boot)[2]


def test_new_shim_raises_the_level_and_the_boot_loader_is_refused(boot):
    """The incident that most people had: shim was updated, and GRUB beside it was not."""
    boot.program(GRUB, grub_image(grub=4, grub_debian=4))
    assert safe(boot) == "yes"
    boot.program(SHIM, shim_image(automatic=OF_2025))
    stops(boot, "it has grub,4, and grub,5 is required", "level 2025021800, to which this shim raises it",
          then=["grub-efi-amd64-signed", "grub-install", "put back the shim that was there before"])  # fmt: skip
    boot.program(GRUB, grub_image(grub=5))
    assert safe(boot) == "yes"


def test_new_shim_would_revoke_itself(boot):
    boot.program(SHIM, shim_image(4, automatic="sbat,1,2030010100\nshim,9\n"))
    stops(boot, "it has shim,4, and shim,9 is required", "to which this shim raises it")


def test_policy_that_waits(boot):
    boot.program(GRUB, grub_image(grub=4, grub_debian=4))
    boot.program(SHIM, shim_image(automatic=ORIGINAL, latest=OF_2025))
    for number in (2, 3, 9):
        boot.policy(number)
        assert safe(boot) == "yes", number
    boot.policy(1)
    stops(boot, "grub,5 is required", "raises it at the next boot as SbatPolicy asks",
          then=["mokutil --set-sbat-policy previous"])  # fmt: skip
    # Where the automatic one refuses it as well, that would not help.
    boot.program(SHIM, shim_image(automatic=OF_2025, latest=LATER))
    stops(boot, "grub,5 is required")
    assert "previous" not in answer(boot)[2]
    # With Secure Boot on, a request to delete the level does nothing.
    boot.policy(3)
    stops(boot, "grub,5 is required")
    boot.variable("SbatPolicy", b"\7\0\0\0")
    unknown(boot, "SbatPolicy cannot be read")


def test_mok_manager_counts_when_a_request_waits(boot):
    boot.program(MOK_MANAGER, grub_image(shim=3))
    assert safe(boot) == "yes"
    for name in ("MokNew", "MokDel", "MokListTrustedNew"):
        variable = boot.variable(name, b"\7\0\0\0\1")
        stops(boot, "mmx64.efi", "shim,4 is required", then=["shim-helpers-amd64-signed"])
        variable.unlink()
    assert safe(boot) == "yes"


def test_request_without_mok_manager(boot):
    """"import_mok_state() failed: Not Found", also where shim was told not to check."""
    manager = boot.path / MOK_MANAGER
    manager.unlink()
    assert safe(boot) == "yes"
    variable = boot.variable("MokNew", b"\7\0\0\0\1")
    stops(boot, "a request waits for MokManager, which is not beside it",
          then=["shim-helpers-amd64-signed", "mokutil --revoke-import"])  # fmt: skip
    checks_not = boot.variable("MokSBStateRT", b"\6\0\0\0\1")
    stops(boot, "a request waits for MokManager")
    checks_not.unlink()
    variable.unlink()
    variable.mkdir()
    unknown(boot, "a request may wait for MokManager")
    variable.rmdir()
    assert safe(boot) == "yes"


def test_fallback_of_the_path_for_removable_disks(boot):
    boot.starts("\\EFI\\BOOT\\BOOTX64.EFI")
    for path, data in (("BOOTX64.EFI", shim_image()), ("grubx64.efi", grub_image(grub=5)),
                       ("fbx64.efi", grub_image(shim=4))):  # fmt: skip
        boot.program(f"boot/efi/EFI/BOOT/{path}", data)
    assert safe(boot) == "yes"
    boot.program("boot/efi/EFI/BOOT/fbx64.efi", grub_image(shim=1))
    stops(boot, "EFI/BOOT/fbx64.efi", "it has shim,1")
    # Elsewhere shim does not look at it.
    boot.starts("\\EFI\\debian\\shimx64.efi")
    boot.program(FALLBACK, grub_image(shim=1))
    assert safe(boot) == "yes"


def test_what_the_fallback_starts(boot):
    """A bare entry of a virtual machine: shim, its fallback, then the shim of the distribution and its GRUB."""
    boot.starts("\\EFI\\BOOT\\BOOTX64.EFI")
    for path, data in (("BOOTX64.EFI", shim_image()), ("fbx64.efi", grub_image(shim=4))):
        boot.program(f"boot/efi/EFI/BOOT/{path}", data)
    boot.program(GRUB, grub_image(grub=1))
    assert safe(boot) == "yes"
    boot.put("boot/efi/EFI/debian/BOOTX64.CSV", "shimx64.efi,debian,,\n".encode("utf-16"))
    stops(boot, "EFI/debian/grubx64.efi", "it has grub,1, and grub,3 is required")
    boot.program(GRUB, grub_image(grub=4, grub_debian=4))
    assert safe(boot) == "yes"
    # Either of them raises the level; the first one takes the request away.
    boot.policy(1)
    boot.program(SHIM, shim_image(latest=LATER))
    boot.program("boot/efi/EFI/BOOT/BOOTX64.EFI", shim_image(latest=OF_2024))
    assert safe(boot) == "yes"
    boot.program("boot/efi/EFI/BOOT/BOOTX64.EFI", shim_image(latest=OF_2025))
    stops(boot, "EFI/debian/grubx64.efi", "grub,5 is required")
    boot.policy(2)
    boot.program(SHIM, shim_image(automatic=OF_2025))
    stops(boot, "EFI/debian/grubx64.efi", "grub,5 is required", "this shim raises it")
    # Of two, either may be the one.
    boot.program("boot/efi/EFI/other/shimx64.efi", shim_image())
    boot.put("boot/efi/EFI/other/BOOT.CSV", "")
    unknown(boot, "EFI/debian/grubx64.efi", "grub,5 is required")
    boot.program(GRUB, grub_image(grub=5))
    unknown(boot, "EFI/other/shimx64.efi", "no GRUB is beside it")
    boot.program("boot/efi/EFI/other/grubx64.efi", grub_image(grub=5))
    assert safe(boot) == "yes"
    (boot.path / "boot/efi/EFI/other/shimx64.efi").unlink()
    unknown(boot, "the fallback beside shim", "is not known")


def test_revocations_before_the_fallback(boot):
    """Whether shim takes them is not known, whatever comes after it."""
    boot.starts("\\EFI\\BOOT\\BOOTX64.EFI")
    for path, data in (("BOOTX64.EFI", shim_image()), ("fbx64.efi", grub_image(shim=4))):
        boot.program(f"boot/efi/EFI/BOOT/{path}", data)
    boot.program(GRUB, grub_image(grub=4, grub_debian=4))
    boot.put("boot/efi/EFI/debian/BOOTX64.CSV", "")
    assert safe(boot) == "yes"
    boot.put("boot/efi/EFI/BOOT/revocations.efi", image((".sbata", OF_2025.encode()), (".sbatl", LATER.encode())))
    unknown(boot, "grub,5 is required", "if shim takes that")


def test_names_without_an_architecture(boot):
    """As SUSE has them: shim.efi, grub.efi, MokManager.efi and fallback.efi."""
    folder = "boot/efi/EFI/opensuse"
    boot.starts("\\EFI\\opensuse\\shim.efi")
    for name, data in (("shim", shim_image()), ("grub", grub_image(grub=5)), ("MokManager", grub_image(shim=4))):
        boot.program(f"{folder}/{name}.efi", data)
    variable = boot.variable("MokNew", b"\7\0\0\0\1")
    assert safe(boot) == "yes"
    boot.program(f"{folder}/MokManager.efi", grub_image(shim=1))
    stops(boot, "opensuse/MokManager.efi", "it has shim,1")
    variable.unlink()
    boot.program(f"{folder}/grub.efi", grub_image(grub=1))
    stops(boot, "opensuse/grub.efi", "it has grub,1, and grub,3 is required")
    boot.put(f"{folder}/grub.efi", grub_image(grub=5))
    said, line, _ = answer(boot)
    assert said == "unknown" and "opensuse/grub.efi" in line, line
    boot.program(f"{folder}/grub.efi", grub_image(grub=5))
    # shim.efi may also be a copy of shimx64.efi.
    (boot.path / folder / "grub.efi").rename(boot.path / folder / "grubx64.efi")
    assert safe(boot) == "yes"
    boot.program(f"{folder}/grubx64.efi", grub_image(grub=1))
    stops(boot, "opensuse/grubx64.efi", "it has grub,1")
    # The place of removable disks, with its fallback.
    boot.starts("\\EFI\\BOOT\\bootx64.efi")
    for name, data in (("bootx64", shim_image()), ("fallback", grub_image(shim=1)), ("grub", grub_image(grub=5))):
        boot.program(f"boot/efi/EFI/BOOT/{name}.efi", data)
    stops(boot, "EFI/BOOT/fallback.efi", "it has shim,1")


@pytest.mark.parametrize("options, file", [
    ("\\fwupdx64.efi", "debian/fwupdx64.efi"), ("fwupdx64.efi more words", "debian/fwupdx64.efi"),
    ("  \\EFI\\systemd\\systemd-bootx64.efi", "systemd/systemd-bootx64.efi"), ("quiet splash", "debian/grubx64.efi"),
], ids=str)  # fmt: skip
def test_what_the_options_of_the_entry_name(boot, options, file):
    path = "\\EFI\\debian\\shimx64.efi".encode("utf-16-le") + b"\0\0"
    node = struct.pack("<BBH", 4, 4, 4 + len(path)) + path + struct.pack("<BBH", 0x7F, 0xFF, 4)
    boot.variable("Boot0001", b"\7\0\0\0" + struct.pack("<IH", 1, len(node)) + b"d\0\0\0" + node
                  + options.encode("utf-16-le") + b"\0\0", GLOBAL)  # fmt: skip
    boot.program(f"boot/efi/EFI/{file}", image((".sbat", csv(grub=1, fwupd=1))))
    stops(boot, file, "it has grub,1, and grub,3 is required")
    # Without that file shim takes GRUB.
    (boot.path / "boot/efi/EFI" / file).unlink()
    boot.program(GRUB, grub_image(grub=2))
    stops(boot, "debian/grubx64.efi", "it has grub,2")


def test_unified_image_in_the_place_of_the_boot_loader(boot):
    boot.program(GRUB, image((".linux", b"kernel"), (".sbat", csv(linux=1, uki=1))))
    assert safe(boot) == "yes"
    boot.level(OF_2024 + "uki,2\n")
    stops(boot, "it has uki,1, and uki,2 is required")


def test_kernel_that_the_boot_loader_asks_shim_about(boot):
    """It may do without the section; with one it is compared."""
    system = System(boot)
    for kernel in (NEW, OLD):
        system.remove(kernel)
    (boot.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    path = f"boot/vmlinuz-{NEW}"
    for data in (bzimage(NEW), image((".data", b"kernel")), image((".sbat", csv(linux=1)))):
        boot.put(path, data)
        assert answer(boot)[0] == "yes"
    boot.level(OF_2024 + "linux,2\n")
    stops(boot, path, "does not let", "it has linux,1, and linux,2 is required", then=["another one from the menu"])


def test_section_that_shim_refuses(boot):
    """The table of what is in it is in test_rows.c."""
    good = csv(grub=5)
    for sections, why in (((), "it has no section .sbat"), (((".sbat", b""),), "it has no section .sbat"),
                          (((".sbat", good, 0x5000),), "it has no section .sbat"),
                          (((".sbat", good), (".sbat", good)), "there twice"),
                          (((".sbat", good, 10, 1),), "has relocations"),
                          (((".sbat", good + b"words\n"),), "is damaged")):  # fmt: skip
        boot.program(GRUB, image(*sections))
        stops(boot, "grubx64.efi", why, then=["grub-efi-amd64-signed"])


def test_what_not_every_shim_takes_alike_is_unknown(boot):
    for section in (csv(grub=65536), csv(grub=5) * 400):
        boot.program(GRUB, image((".sbat", section)))
        unknown(boot, "grubx64.efi", ".sbat")
    boot.program(GRUB, image(*[(".fill", b"x")] * 96, (".sbat", csv(grub=5))))
    unknown(boot, "grubx64.efi")


def test_level_that_is_not_known(boot):
    """No copy of it, or one that shim could not have read."""
    boot.level("sbat,1,2024010900\ngrub\n")
    unknown(boot, "SbatLevelRT is damaged")
    boot.level("").unlink()
    unknown(boot, "SbatLevelRT is not there")
    # The kernel keeps copies of its own where the firmware's variables are not to be seen.
    boot.put("sys/firmware/efi/mok-variables/SbatLevelRT", OF_2024)
    assert safe(boot) == "yes"
    boot.put("sys/firmware/efi/mok-variables/SbatLevelRT", LATER)
    boot.program(GRUB, grub_image(grub=4))
    stops(boot, "grub,5 is required")


def test_shims_own_level_that_is_not_understood(boot):
    good = sbatlevel(OF_2024, LATER)
    for data in (good[:8], sbatlevel(OF_2024, LATER, form=1), good[:4] + b"\xff\xff\xff\xff" + good[8:],
                 sbatlevel("sbat,1,2024010900\ngrub\n", LATER), struct.pack("<III", 0, 8, 20) + b"x" * 500):  # fmt: skip
        boot.program(SHIM, image((".sbatlevel", data), (".sbat", csv(shim=4))))
        unknown(boot, "its section .sbatlevel is not understood")
    # Long names are behind the symbols.
    whole = shim_image()
    boot.program(SHIM, whole[:0x8C] + struct.pack("<I", 0) + whole[0x90:])
    unknown(boot, "its section .sbatlevel is not understood")


def test_older_shims(boot):
    """15.3 to 15.6 bring no level to be read; before that they look at none."""
    boot.program(SHIM, image((".sbat", csv(shim=4))))
    assert safe(boot) == "yes"
    boot.policy(1)
    unknown(boot, "SbatPolicy asks for its latest")
    boot.policy(2)
    boot.program(GRUB, grub_image(grub=1))
    stops(boot, "grub,3 is required")
    boot.program(SHIM, image((".data", b"shim 15")))
    assert safe(boot) == "yes"
    # Not older: a part of it is missing.
    boot.program(SHIM, image((".sbatlevel", sbatlevel(ORIGINAL, LATER))))
    unknown(boot, "shimx64.efi", ".sbat cannot be read")


def test_revocations_beside_shim(boot):
    """Whether shim takes them is not known; what they do not refuse is as safe as before."""
    boot.program(GRUB, grub_image(grub=4, grub_debian=4))
    for name in ("revocations.efi", "revocations_sbat.efi"):
        path = f"boot/efi/EFI/debian/{name}"
        for sections, refused in ((((".sbata", OF_2024), (".sbatl", LATER)), False),
                                  (((".sbata", OF_2025), (".sbatl", LATER)), True),
                                  (((".sbata", OF_2025),), False)):  # fmt: skip
            boot.put(path, image(*((key, text.encode()) for key, text in sections)))
            if refused:
                unknown(boot, "grub,5 is required", f"level 2025021800 of {boot.path}/{path}, if shim takes that")
            else:
                assert safe(boot) == "yes"
        boot.put(path, image((".sbata", OF_2024.encode()), (".sbatl", OF_2025.encode())))
        boot.policy(1)
        boot.program(SHIM, shim_image(latest=OF_2024))
        unknown(boot, "grub,5 is required")
        boot.put(path, "no program")
        unknown(boot, name, "cannot be read")
        (boot.path / path).unlink()
        boot.policy(2)
    boot.put("boot/efi/EFI/debian/options.csv", "other.efi,\n".encode("utf-16-le"))
    unknown(boot, "options.csv")


def test_only_with_secure_boot_and_shim(boot, ca):
    boot.program(SHIM, shim_image(1))
    boot.program(GRUB, grub_image(grub=1))
    assert safe(boot) == "no"
    boot.secure_boot(False)
    assert safe(boot) == "yes"
    boot.secure_boot()
    # systemd-boot and GRUB, started by the firmware itself, compare nothing.
    boot.program(SHIM, image((".sdmagic", b"x"), (".sbat", csv(shim=1))))
    assert safe(boot) == "yes"
    boot.starts("\\EFI\\debian\\grubx64.efi")
    assert safe(boot) == "yes"
    # So it is of GRUB in the place of removable disks, as of a host with keys of its own.
    boot.program("boot/efi/EFI/BOOT/BOOTX64.EFI", grub_image(grub=1))
    boot.starts("\\EFI\\BOOT\\BOOTX64.EFI")
    level = boot.level(OF_2024)
    level.unlink()
    assert safe(boot) == "yes"
    boot.level(OF_2024)
    # Whatever shim is named, it is known by what it has.
    boot.program("boot/efi/EFI/debian/loader.efi", image((".vendor_cert", b"c"), (".sbat", csv(shim=1))))
    boot.starts("\\EFI\\debian\\loader.efi")
    stops(boot, "loader.efi", "it has shim,1")
    # Whether it is on cannot be read: then it may stop.
    boot.variable("SecureBoot", b"\6\0\0\0", GLOBAL)
    assert safe(boot) == "unknown"


@pytest.mark.parametrize("suite", ["bullseye", "bookworm", "trixie"])
def test_what_debian_signed(host, suite):
    """A host with its own shim, GRUB and MokManager is safe; with a level too high it is not."""
    folder = cached("unpacked", f"boot-{suite}", lambda path: [
        apt.extract(deb, path) for deb in apt.download(suite, list(esp.PACKAGES)).iterdir()])  # fmt: skip
    host.lists([firmware.CA_2011, firmware.CA_2023])
    for path, file in ((SHIM, esp.SHIM), (GRUB, esp.GRUB), (MOK_MANAGER, esp.MOK_MANAGER)):
        host.put(path, (folder / file).read_bytes())
    host.variable("MokNew", b"\7\0\0\0\1")

    def level(text):
        host.variable("SbatLevelRT", b"\6\0\0\0" + text.encode())

    for text, policy in ((ORIGINAL, 1), (OF_2024, 2), (OF_2025, 2), (LATER, 1)):
        level(text)
        host.variable("SbatPolicy", b"\7\0\0\0" + bytes([policy]))
        assert safe(host) == "yes", text
    for component, file in (("shim", SHIM), ("shim.debian", SHIM), ("grub", GRUB), ("grub.debian", GRUB)):
        level(f"sbat,1,2099010100\n{component},99\n")
        stops(host, file, f"{component},99 is required (level 2099010100, which the firmware holds)")


def test_real_shim_raises_the_level_above_the_boot_loader(host, ca):
    """Debian's shim 16.1 asks for grub,5 by itself."""
    host.lists([firmware.CA_2011, firmware.CA_2023])
    host.image(firmware.real(esp.SHIM))
    host.variable("SbatLevelRT", b"\6\0\0\0" + OF_2024.encode())
    host.put(GRUB, ca.signed("Owner", image=grub_image(grub=4, grub_debian=4)))
    stops(host, "it has grub,4, and grub,5 is required", "level 2025021800, to which this shim raises it")
    host.put(GRUB, ca.signed("Owner", image=grub_image(grub=5)))
    assert safe(host) == "yes"
