# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of kmodkeep in C, each case of the cmocka programs, and the fuzzer."""

import json
import os
import re
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import HERE, OUT, siglist
from tests.unit.kmodkeep.system import bzimage, cpio, grub_cfg, grubenv, module_bytes, packed
from tests.unit.kmodkeep.test_firmware_ca import Authority
from tests.unit.kmodkeep.test_sbat import csv
from tests.unit.kmodkeep.test_sbat import image as sections

CASES = [
    (source.stem, case)
    for source in sorted(HERE.glob("test_*.c"))
    for case in re.findall(r"cmocka_unit_test\((\w+)\)", source.read_text())
]


@pytest.fixture(scope="module")
def outputs():
    """What each program printed, run once."""
    def run(program):
        done = subprocess.run([OUT / program], capture_output=True, text=True, timeout=300)
        return done.stdout + done.stderr

    programs = sorted({program for program, _ in CASES})
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(programs, pool.map(run, programs)))


@pytest.mark.parametrize("program,case", CASES)
def test_part(outputs, program, case):
    output = outputs[program]
    assert f"[       OK ] {case}\n" in output, output[-4000:]
    assert "Sanitizer" not in output and "runtime error" not in output, output[-4000:]


@pytest.fixture
def seeds(tmp_path, plain_module, tree, pair):
    """Well-formed inputs, so that the fuzzer starts behind the first checks."""
    directory = tmp_path / "seeds"
    directory.mkdir()
    module = directory / "module"
    shutil.copy(plain_module, module)
    tree.run("sign", "--key", pair.key, "--cert", pair.cert, module)
    signature = module.read_bytes()[plain_module.stat().st_size :]
    (directory / "message").write_bytes(signature[:-40])
    (directory / "list").write_bytes(siglist(pair.cert.read_bytes())[4:])
    return directory


def fuzz(name, runs, seeds, tmp_path):
    """Feed one fuzzer; also `make fuzz`, for as long as one likes."""
    build(OUT / name)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    done = subprocess.run(
        [OUT / name, f"-runs={runs}", "-seed=1", "-max_len=8192", "-max_total_time=60",
         corpus, seeds],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "DONE" in done.stderr, done.stderr[-4000:]


def test_fuzzed_parsers_of_modules(tmp_path, seeds):
    fuzz("fuzz_modsig", 30000, seeds, tmp_path)


def test_fuzzed_parsers_of_what_boots(tmp_path):
    directory = tmp_path / "seeds"
    directory.mkdir()
    archive = cpio({"a/b.ko": b"x" * 300})
    entry = b"title t\nversion 1\nlinux /vmlinuz-1\ndefault two*\n"
    status = b"linux-image-1\thalf-configured\nv4l2loopback-dkms\tunpacked\nbash\tinstalled\n"
    texts = [
        b"\0" + grub_cfg(["1", "2"]).encode(), b"\1" + grubenv(saved_entry="1").encode(),
        b"\2" + entry, b"\3" + archive, b"\3" + packed(archive, ["gzip", "-n"]),
        b"\3" + archive + packed(archive, ["zstd", "-q"]), b"\3" + packed(archive, ["xz"]),
        b"\4" + status,
        b"\7timeout: 5\ndefault_entry: 2\n${R}=root=/dev/x\n/+Arch\n//linux\nprotocol: linux\n"
        b"path: boot():/vmlinuz#0a\nmodule_path: boot():/initrd\ncmdline: quiet ${R}\n",
        b"\x80DEFAULT_ENTRY=1\n:Linux\nPROTOCOL=linux\nKERNEL_PATH=boot:///vmlinuz\n::Sub\nCMDLINE=x\n",
        b"\x08scanfor manual,internal\ndefault_selection \"Arch\"\nmenuentry \"Arch\" {\nvolume \"B\"\n"
        b"loader \\vmlinuz\noptions \"ro initrd=\\i\"\nsubmenuentry x {\n}\ndisabled\n}\n",
        b"\x09[pi5]\nkernel=kernel_2712.img\ninitramfs initramfs_2712 followkernel\n[all]\nos_prefix=a/\n",
        b"\x0adefault l0\nlabel l0\n\tmenu default\n\tlinux ../vmlinuz-1\n\tappend a initrd=/b,c initrd=/d\n",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        (directory / str(number)).write_bytes(text)
    fuzz("fuzz_boot", 60000 if os.environ.get("FULL") else 20000, directory, tmp_path)


def test_fuzzed_parsers_of_settings(tmp_path):
    directory = tmp_path / "seeds"
    directory.mkdir()
    drop_in = b"# x\nmodules = a b-c\ndkms = a\nsmoke_test = /a/b\ntimeout = 9\npolicy = warn\n"
    state = {"schema": 1, "boot_id": "x", "pin": {"kernel": "a", "entry": "b", "instead_of": "c",
             "since": 1}, "booted": [{"kernel": "a", "revocations": None}]}  # fmt: skip
    path = "\\EFI\\debian\\shimx64.efi\0".encode("utf-16-le")
    node = b"\4\4" + (len(path) + 4).to_bytes(2, "little") + path + b"\x7f\xff\4\0"
    option = b"\7\0\0\0\1\0\0\0" + len(node).to_bytes(2, "little") + b"d\0\0\0" + node
    module = module_bytes("6.1.0-31-amd64", settings="SMP modversions ", symbols=(("module_layout", 1), ("a", 2)))
    texts = [
        b"\0" + drop_in, b"\1prometheus = /a\npin_max_age = 3\n", b"\2" + json.dumps(state).encode(),
        b"\3CONFIG_MODULE_SIG_FORCE=y\nCONFIG_MODULE_SIG_HASH=\"sha256\"\n", b"\4" + option,
        b"\5" + module,
        b"\6" + b"# x\nk=\"/a\"'b'\\c\nl=${k}/$(d)`e`\nm=(1 2)\nexport n=$kernelver; o && p=1\nif q; then r+=1; fi\n",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        (directory / str(number)).write_bytes(text)
    fuzz("fuzz_settings", 10000, directory, tmp_path)


def test_fuzzed_parsers_of_the_files_of_a_host(tmp_path):
    directory = tmp_path / "seeds"
    directory.mkdir()
    folder = "usr/lib/modules/6.1.0-30-amd64"
    module = module_bytes("6.1.0-30-amd64", name="x", alias="pci:v1d2*")
    files = {"etc/modprobe.d/a.conf": b"/etc/b.conf", "etc/b.conf": b"blacklist y\n", "conf/modules": b"y\n",
             f"{folder}/modules.dep.bin": b"extra/x.ko:\0", f"{folder}/extra/x.ko": module,
             f"{folder}/extra/y.ko": module, "usr/lib/modprobe.d/e.conf": b""}  # fmt: skip
    for name in ("modules.builtin", "modules.order"):
        (tmp_path / "lib/modules/1.0").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"lib/modules/1.0/{name}").write_text("")
    (tmp_path / "lib/modules/1.0/sample.ko").write_bytes(module_bytes("1.0", alias="of:N*T*Ca,b-c"))
    subprocess.run(["depmod", "-b", tmp_path, "1.0"], check=True)
    index = (tmp_path / "lib/modules/1.0/modules.alias.bin").read_bytes()
    texts = [
        b"\0" + bzimage("6.1.0-30-amd64"), b"\1root=/dev/x module_blacklist=a,b modprobe.blacklist=c",
        b"\2" + cpio(files, links={"etc/modprobe.d/a.conf"}), b"\3BUILT_MODULE_NAME[0]=\"x\"\nDEST_MODULE_LOCATION[0]=/x\n",
        b"\4" + index + b"\nof:N*T*Ca,b-c", b"\4" + index + b"\nof:N*T*Ca,b",
    ]  # fmt: skip
    for number, text in enumerate(texts):
        (directory / str(number)).write_bytes(text)
    fuzz("fuzz_host", 5000, directory, tmp_path)


def test_fuzzed_parsers_of_signatures(tmp_path):
    directory = tmp_path / "seeds"
    directory.mkdir()
    ca = Authority(tmp_path)
    middle = ca.authority("Middle", "Owner")
    leaf = ca.leaf("leaf", middle)
    texts = [b"\0" + json.dumps({"schema": 1, "modules": []}).encode(), b"\1sequence digest\n",
             b"\4" + csv(grub=3) + b"sbat,1,2024010900\nshim,4\ngrub,3\n",
             b"\4" + struct.pack("<III", 0, 8, 27) + b"sbat,1,2024010900\n\0sbat,1,2025021800\ngrub,5\n\0" + csv(grub=3),
             b"\4" + sections((".sbatlevel", csv(grub=3)), (".sbat", csv(grub=3))),
             b"\3" + ca.signed("Owner"), b"\3" + ca.signed(leaf, "Owner", more=(middle,)), b"\3" + ca.signed()]  # fmt: skip
    for number, text in enumerate(texts):
        (directory / str(number)).write_bytes(text)
    fuzz("fuzz_signing", 10000, directory, tmp_path)
