# SPDX-License-Identifier: GPL-2.0-only
"""The parts of kmodkeep in C, each case of the cmocka programs, and the fuzzer."""

import re
import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.host import HERE, OUT, siglist
from tests.unit.kmodkeep.system import cpio, grub_cfg, grubenv, packed

CASES = [
    (source.stem, case)
    for source in sorted(HERE.glob("test_*.c"))
    for case in re.findall(r"cmocka_unit_test\((\w+)\)", source.read_text())
]


@pytest.fixture(scope="module")
def outputs():
    """What each program printed, run once."""
    programs = sorted({program for program, _ in CASES})
    outputs = {}
    for program in programs:
        done = subprocess.run([OUT / program], capture_output=True, text=True, timeout=300)
        outputs[program] = done.stdout + done.stderr
    return outputs


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
    if not shutil.which("clang"):
        pytest.skip("no clang: the fuzzer needs its libFuzzer")
    subprocess.run(["make", "-C", HERE, OUT / name], check=True, capture_output=True, timeout=300)
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
    ]  # fmt: skip
    for number, text in enumerate(texts):
        (directory / str(number)).write_bytes(text)
    fuzz("fuzz_boot", 60000, directory, tmp_path)
