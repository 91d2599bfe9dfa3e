# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs in C and C++ against the library as its packages install it."""

import pytest

from tests.packaging.target import Target
from tests.packaging.variants import VERSION, all_packages, packages

# The oldest that the packages are for, and the one they are mostly on.
SUITES = ["bullseye", "bookworm"]

PROGRAM = r"""
#include <flightrec.h>
#include <linux/flightrec_crash.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct flightrec_recover *recover;
	struct flightrec *handle;
	int err = flightrec_open(&handle, "default", FLIGHTREC_OPEN_READ);

	printf("%s: %s\n", flightrec_version(), flightrec_explain(err));
	if (flightrec_recover_new(&recover))
		return 2;
	flightrec_recover_free(recover);
	return sizeof(struct flightrec_record) == 104 && sizeof(struct flightrec_block) == 128 ? 0 : 2;
}
"""

CASES = {
    "c": "gcc -std=c99 -Wall -Wextra -Wpedantic -Werror program.c -o program",
    "c++": "g++ -std=c++11 -Wall -Wextra -Werror -x c++ program.c -x none -o program",
}


@pytest.fixture(scope="module", params=SUITES)
def target(request):
    with Target(request.param) as clone:
        built = packages(clone.suite)
        clone.install([built["libflightrec0"], built["libflightrec-dev"], built["flightrec"]])
        clone.write("/work/program.c", PROGRAM)
        yield clone


@pytest.mark.parametrize("language", ["c", "c++"])
def test_compiles_and_runs(target, language):
    target.run(f"{CASES[language]} $(pkg-config --cflags --libs flightrec)", cwd="/work")
    output = target.run(["/work/program"]).stdout
    assert output == f'{VERSION}: the driver is not loaded. Next: modprobe flightrec\n'


def test_is_linked_to_the_packaged_library(target):
    needed = target.run("objdump -p /usr/bin/flightrec | grep NEEDED").stdout
    assert "libflightrec.so.0" in needed
    owner = target.run("dpkg -S $(readlink -f /usr/lib/*/libflightrec.so.0)").stdout
    assert owner.startswith("libflightrec0:amd64: ")
    assert target.run(["flightrec", "--version"]).stdout == f"flightrec {VERSION}\n"


def test_headers_stand_alone(target):
    for header in ("flightrec.h", "linux/flightrec.h", "linux/flightrec_crash.h"):
        target.run(f"echo '#include <{header}>' | gcc -Wall -Werror -fsyntax-only -x c -")


def test_manual_and_completion_are_there(target):
    listing = target.run("dpkg -L flightrec libflightrec-dev").stdout
    for name in ("man1/flightrec.1.gz", "man3/flightrec.3.gz", "man3/flightrec_recover.3.gz",
                 "bash-completion/completions/flightrec", "flightrec/examples/syslog-ng.conf",
                 "examples/go/flightrec.go", "examples/rust/flightrec.rs"):  # fmt: skip
        assert f"/{name}\n" in listing


def test_sources_for_go_and_rust_are_where_their_packages_are():
    """The oldest suite that has what the crate needs; compiled they are by tests/bindings."""
    names = ["golang-flightrec-dev", "librust-flightrec-dev"]
    with Target("bookworm") as clone:
        clone.install([all_packages(clone.suite)[name] for name in names])
        listing = clone.run(["dpkg", "-L", *names]).stdout
    assert "/usr/share/gocode/src/" in listing and "/usr/share/cargo/registry/" in listing
