# SPDX-License-Identifier: GPL-2.0-only
"""The parts of kmodkeep in C, each case of the cmocka programs, and the fuzzer."""

import re
import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.host import HERE, OUT, siglist

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


def test_fuzzed_parsers(tmp_path, seeds):
    """Also `make fuzz`, for as long as one likes."""
    if not shutil.which("clang"):
        pytest.skip("no clang: the fuzzer needs its libFuzzer")
    subprocess.run(
        ["make", "-C", HERE, OUT / "fuzz_modsig"], check=True, capture_output=True, timeout=300
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    done = subprocess.run(
        [OUT / "fuzz_modsig", "-runs=30000", "-seed=1", "-max_len=8192", corpus, seeds],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "DONE" in done.stderr, done.stderr[-4000:]
