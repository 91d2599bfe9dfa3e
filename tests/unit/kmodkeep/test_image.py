# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep doctor --image: an image that boots on other machines, as a folder and as a file."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.kmodkeep.host import PROGRAM, Pair
from tests.unit.kmodkeep.system import NEW, OLD, System

MIB = 1 << 20


@pytest.fixture
def system(tree):
    system = System(tree)
    shutil.rmtree(system.path / "proc")
    return system


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("pair"), "vendor")


def ask(system, *words, image=None):
    """Exit code and {(kernel, module): verdict}; the image is as it was."""
    before = system.digest()
    result = system.tree.run("doctor", "--json", "--image", image or system.path, *words, root=False)
    assert system.digest() == before
    if not result.out:
        return result.code, result.err
    doc = json.loads(result.out)
    assert (doc["place"], doc["running_kernel"]) == ("image", None)
    return result.code, {(one["kernel"], one["module"]): one["verdict"] for one in doc["findings"]}


def both(verdict):
    return {(NEW, "sample"): verdict, (OLD, "sample"): verdict}


def test_whether_it_loads_depends_on_where_it_boots(system, pair, tmp_path):
    """What is not said of these machines is unknown, and never good."""
    assert ask(system) == (3, both("unknown"))
    assert ask(system, "--no-secure-boot") == (0, both("ok"))
    assert ask(system, "--cert", pair.cert) == (1, both("unsigned"))
    for kernel in (OLD, NEW):
        system.install(kernel, sign=pair)
    assert ask(system) == (3, both("unknown"))
    assert ask(system, "--cert", pair.cert) == (0, both("ok"))
    other = Pair(tmp_path, "other")
    assert ask(system, "--cert", other.cert) == (1, both("untrusted-key"))
    assert ask(system, "--cert", other.cert, "--cert", pair.cert) == (0, both("ok"))
    assert ask(system, "--cert", tmp_path / "none.der")[0] == 3


def test_a_kernel_that_does_not_look_at_enrolled_keys(system, pair):
    """As with the list of a machine: a certificate given does not change what a kernel reads."""
    system.kernel(NEW, config="CONFIG_MODULES=y\n")
    system.install(NEW, sign=pair)
    code, found = ask(system, "--kernel", NEW, "--cert", pair.cert)
    assert (code, found) in ((1, {(NEW, "sample"): "untrusted-key"}), (3, {(NEW, "sample"): "unknown"}))


def test_every_kernel_counts(system):
    system.remove(OLD)
    assert ask(system, "--no-secure-boot") == (1, {(NEW, "sample"): "ok", (OLD, "sample"): "missing"})
    assert ask(system, "--no-secure-boot", "--kernel", NEW) == (0, {(NEW, "sample"): "ok"})


def test_the_machine_that_builds_it_does_not_count(system, pair):
    """Neither its firmware nor its kernel, nor that it builds in a container."""
    for mark in (".dockerenv", "run/.containerenv", "run/ostree-booted"):
        system.tree.put(mark)
    system.tree.put("proc/1/environ", "container=podman\0")
    system.running(NEW)
    system.tree.put("sys/module/sample/srcversion", "OTHER\n")
    system.tree.secure_boot(False)
    system.tree.enrol(pair.cert)
    assert ask(system) == (3, both("unknown"))
    assert ask(system, "--cert", pair.cert) == (1, both("unsigned"))
    system.remove(NEW)
    assert ask(system, "--no-secure-boot")[0] == 1


def test_without_a_kernel_nothing_is_good(system):
    for path in system.path.glob("boot/vmlinuz-*"):
        path.unlink()
    code, said = ask(system, "--no-secure-boot")
    assert code == 3 and "has no kernel with a boot image" in said


@pytest.mark.parametrize("words,said", [
    (["--cert", "x"], "are for --image"),
    (["--no-secure-boot"], "are for --image"),
    (["--image", "/", "--root", "/"], "exclude each other"),
    (["--image", "/", "--drivers"], "exclude each other"),
    (["--image", "/", "--cert", "x", "--no-secure-boot"], "exclude each other"),
])  # fmt: skip
def test_usage(tree, words, said):
    result = tree.run("doctor", *words, root=False)
    assert result.code == 2 and said in result.err


def test_no_such_image(tree):
    result = tree.run("doctor", "--image", tree.path / "none", root=False)
    assert result.code == 3 and "No such file" in result.err


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def tar(system, file):
    run("tar", "-C", system.path, "-czf", file, ".")


def squashfs(system, file):
    run("mksquashfs", system.path, file, "-quiet")


def ext(system, file):
    with open(file, "wb") as new:
        new.truncate(24 * MIB)
    run("mke2fs", "-q", "-t", "ext4", "-d", system.path, file)


def partitions(system, file, kind="uefi"):
    """One of KIND, with FAT and what a boot loader starts, and one of the system."""
    fat, root = file.with_suffix(".fat"), file.with_suffix(".root")
    system.tree.put("usr/lib/os-release", "ID=debian\n")
    for part in (fat, root):
        part.unlink(missing_ok=True)
    run("mkfs.vfat", "-C", fat, "4096")
    run("mmd", "-i", fat, "::EFI")
    run("mcopy", "-i", fat, "/etc/hostname", "::EFI/planted")
    ext(system, root)
    with open(file, "wb") as new:
        new.truncate(40 * MIB)
    table = f"label: gpt\nstart=2048, size=8192, type={kind}\nstart=16384, size=49152, type=linux\n"
    subprocess.run(["sfdisk", "-q", file], input=table, text=True, check=True, capture_output=True)
    for part, sector in ((fat, 2048), (root, 16384)):
        run("dd", f"if={part}", f"of={file}", f"seek={sector}", "conv=notrunc", "bs=512", "status=none")


def disk(system, file):
    (system.path / "boot/efi").mkdir()
    partitions(system, file)


@pytest.mark.parametrize("make", [tar, squashfs, ext, disk])
def test_a_file(system, make, tmp_path, monkeypatch):
    """The same is said of it as of the folder, and nothing of it stays behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    image = tmp_path / "image"
    make(system, image)
    assert ask(system, "--no-secure-boot", image=image) == (0, both("ok"))
    assert ask(system, image=image) == (3, both("unknown"))
    image.unlink()
    system.remove(OLD)
    shutil.rmtree(system.path / "boot/efi", ignore_errors=True)
    make(system, image)
    assert ask(system, "--no-secure-boot", image=image)[0] == 1
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("content,said", [
    (b"", "is neither tar, squashfs nor"),
    (b"QFI\xfb" + bytes(2048), "qemu-img convert"),
    (b"hsqs" + bytes(4096), "unsquashfs: "),
    (b"\x1f\x8b\x08" + bytes(64), "tar: "),
    (bytes(510) + b"\x55\xaa" + bytes(8192), "nor a raw disk|sfdisk: |no partition"),
    (bytes(1080) + b"\x53\xef" + bytes(64 << 10), "dumpe2fs: "),
], ids=["empty", "qcow2", "squashfs", "gzip", "table", "ext4"])  # fmt: skip
def test_a_file_that_is_none(system, tmp_path, content, said):
    image = tmp_path / "image"
    image.write_bytes(content)
    code, err = ask(system, "--no-secure-boot", image=image)
    assert code == 3 and str(image) in err
    assert any(one in err for one in said.split("|")), err


def test_a_file_system_that_is_not_whole(system, tmp_path):
    """debugfs would follow a link that has the name of a folder: such an image is not unpacked."""
    image = tmp_path / "image"
    ext(system, image)
    target = tmp_path / "outside"
    target.mkdir()
    for command in (f"symlink evil {target}", "mkdir other", "write /etc/hostname other/planted"):
        run("debugfs", "-w", "-R", command, image)
    run("tune2fs", "-L", "\x1b[2Jlabel", image)
    data = image.read_bytes()
    assert data.count(b"other\0\0\0") == 1
    image.write_bytes(data.replace(b"\x05\x02other\0\0\0", b"\x04\x02evil\0\0\0\0"))
    code, err = ask(system, "--no-secure-boot", image=image)
    assert code == 3 and "e2fsck: " in err and "label" in err and "\x1b" not in err, err
    assert not list(target.iterdir())


XBOOTLDR = "BC13C2FF-59E6-4262-A352-B275FD6F7172"


@pytest.mark.parametrize("kind", ["uefi", XBOOTLDR], ids=["efi", "xbootldr"])
@pytest.mark.parametrize("link", ["boot", "boot/efi", "boot/EFI", "efi/EFI"])
def test_a_link_where_a_partition_is_mounted(system, tmp_path, kind, link):
    """It leads nothing of that partition out of the folder."""
    target, image, place = tmp_path / "outside", tmp_path / "image", system.path / link
    target.mkdir()
    if link == "boot":
        shutil.rmtree(place)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)
    partitions(system, image, kind)
    code, _ = ask(system, "--no-secure-boot", image=image)
    assert code == (0 if (kind, link) == ("uefi", "efi/EFI") else 3)
    assert not list(target.iterdir())


@pytest.mark.parametrize("make", [tar, squashfs])
def test_read_only_folders_of_one_who_is_not_root(system, make):
    """Nothing of them stays behind, and the answer is the same."""
    system.tree.put("usr/lib/kept/file")
    (system.path / "usr/lib/kept").chmod(0o555)
    # Not within pytest's own folder, which is for one user.
    with tempfile.TemporaryDirectory(prefix="image-") as directory:
        scratch, image = Path(directory, "scratch"), Path(directory, "image")
        Path(directory).chmod(0o755)
        make(system, image)
        scratch.mkdir()
        scratch.chmod(0o777)
        other = {} if os.geteuid() else {"user": 65534, "group": 65534, "extra_groups": []}
        done = subprocess.run([PROGRAM, "doctor", "--image", image, "--no-secure-boot"],
                              env={"TMPDIR": str(scratch)}, capture_output=True, text=True,
                              timeout=120, **other)  # fmt: skip
        assert done.returncode == 0, done
        assert not list(scratch.iterdir())


@pytest.mark.parametrize("make", [tar, squashfs, ext, disk])
def test_an_image_that_is_larger_than_it_looks(system, make, tmp_path, monkeypatch):
    """It ends with a line, and nothing of it stays behind."""
    scratch, image = tmp_path / "scratch", tmp_path / "image"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    system.tree.put("usr/share/zeros", bytes(20 * MIB))
    make(system, image)
    for most in ("10", "0", "x", "9" * 20):
        monkeypatch.setenv("KMODKEEP_IMAGE_MAX", most)
        code, err = ask(system, "--no-secure-boot", image=image)
        said = f"more than {most} MiB are in it. Next: KMODKEEP_IMAGE_MAX=" if most in ("10", "0") else f"={most} is no number"
        assert code == 3 and said in err and err.count("\n") == 1, err
        assert not list(scratch.iterdir())
    monkeypatch.setenv("KMODKEEP_IMAGE_MAX", "100")
    assert ask(system, "--no-secure-boot", image=image) == (0, both("ok"))


def test_what_cannot_be_unpacked_cannot_be_told(system, tmp_path, monkeypatch):
    image = tmp_path / "image"
    tar(system, image)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    code, err = ask(system, "--no-secure-boot", image=image)
    assert code == 3 and "set TMPDIR" in err


def test_a_next_boot_that_nobody_knows_is_said(system):
    shutil.rmtree(system.path / "boot/grub")
    result = system.tree.run("doctor", "--image", system.path, "--no-secure-boot", "--next-boot", root=False)
    assert result.code == 3 and "next boot: unknown" in result.out
