# SPDX-License-Identifier: GPL-2.0-or-later
"""What the sanitizers find in a program that is made and run as those under test are."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.conftest import QUICK, looks_for_leaks

HERE = Path(__file__).parent

FAULTY = """
#include <stdlib.h>

__attribute__((noinline)) static void leak(void)
{
	char *volatile p = malloc(10);

	p[0] = 1;
	p = NULL;
}

/* Nothing of what was on the stack stays there. */
__attribute__((noinline)) static void forget(int n)
{
	volatile char bytes[4096];

	for (int i = 0; i < 4096; i++)
		bytes[i] = n;
	if (n)
		forget(n - 1);
}

int main(int argc, char **argv)
{
	static volatile int most = 0x7fffffff;
	char *volatile p = malloc(10);

	(void)argv;
	if (argc == 1) {
		leak();
		forget(3);
	} else if (argc == 2) {
		most++;
	}
	free(p);
	return argc == 3 ? p[3] : 0;
}
"""


def flags(folder):
    """As the Makefile of FOLDER compiles and links."""
    text = (HERE / folder / "Makefile").read_text()
    return [word for name in ("SANITIZE", "QUICK")
            for word in re.search(rf"^{name} *:= (.*)$", text, re.M)[1].split()]  # fmt: skip


@pytest.fixture(scope="module", params=["kmodkeep", "lib"])
def faulty(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("faulty") / "faulty"
    subprocess.run(["gcc", "-w", "-O1", "-g", *flags(request.param), "-x", "c", "-o", path, "-"], input=FAULTY, text=True,
                   check=True)  # fmt: skip
    return path


@pytest.mark.parametrize("words,options,found", [
    ((), "", "LeakSanitizer"), ((), QUICK, None), (("x",), QUICK, "signed integer overflow"),
    (("x", "y"), QUICK, "heap-use-after-free"), (("x", "y"), "", "heap-use-after-free"),
])  # fmt: skip
def test_found(faulty, words, options, found):
    done = subprocess.run([faulty, *words], capture_output=True, text=True, env={**os.environ, "ASAN_OPTIONS": options})
    assert (found in done.stderr and done.returncode) if found else done.returncode == 0, done.stderr


def test_a_quarter_looks_for_leaks(monkeypatch):
    monkeypatch.delenv("FULL", raising=False)
    assert 200 <= sum(looks_for_leaks(f"test_{n}") for n in range(1000)) <= 300
    monkeypatch.setenv("FULL", "1")
    assert all(looks_for_leaks(f"test_{n}") for n in range(10))
