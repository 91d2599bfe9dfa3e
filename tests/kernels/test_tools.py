# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec(1) on real channels, and each example of each of its manual pages.

One guest runs tests/guest/timeline.sh and the examples as they are printed. A page that
gets a new example needs nothing here, unless the example needs something to be there.
"""

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.kernels.test_driver import FLAGS
from tests.lib.guestmodules import build_guest_modules
from tests.lib.initramfs import libraries
from tests.lib.scratch import scratch
from tests.lib.tool import build_flightrec, flightrec_tool
from tests.qemu.direct import run_direct
from tests.unit.lib import crashdata

TOP = Path(__file__).parents[2]
GUEST = TOP / "tests/guest"
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else ["6.1"]
# FULL=1 has it done a hundred times, which takes half a minute.
KILLS = 100 if os.environ.get("FULL") else 15

SCRIPT = rf"""
. /tests/tools.sh
. /tests/timeline.sh
chmod 755 /usr/lib/flightrec/*
mkfifo /run/flood.fifo
load_driver() {{
	modprobe flightrec channels=default,small,my size_kb=1024,128,128 quota=67108864
}}
check load load_driver
check merges-channels timeline_merges_channels
check filters timeline_filters
check follows-several timeline_follows_several
check puts-a-loss-in-its-place timeline_puts_a_loss_in_its_place
check survives-sigkill timeline_survives_sigkill {KILLS}
check cursor-of-another-load timeline_cursor_of_another_load
check cursor-into-a-pipe timeline_cursor_into_a_pipe
check filtered-is-not-lost timeline_filtered_is_not_lost
check filtered-with-a-cursor timeline_filtered_with_a_cursor
check files-are-no-channels files_are_no_channels
check files-are-moved files_are_moved_when_the_driver_comes
"""
CASES = re.findall(r"^check (\S+)", SCRIPT, re.M)

# Examples that need a machine of their own, and the test that runs them there.
ELSEWHERE = {
    "modprobe efi_pstore pstore_disable=0": "tests/secureboot/test_pstore.py",
}

# Those that go on until they are ended.
ENDLESS = re.compile(r"flightrec read -f|--follow|--watch")


def examples(page):
    """The blocks of commands under EXAMPLES of a manual PAGE, as they are printed."""
    command = ["man", "-E", "UTF-8", "-l", "-Tutf8", TOP / "man" / page]
    environment = {**os.environ, "MANWIDTH": "400", "LC_ALL": "C.UTF-8", "GROFF_NO_SGR": "1"}
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    text = re.sub(r".\x08", "", text)
    section = re.search(r"^EXAMPLES\n(.*?)^[A-Z]", text, re.M | re.S)
    source = (TOP / "man" / page).read_text()
    source = re.search(r"^\.SH EXAMPLES\n(.*?)(?=^\.SH )", source, re.M | re.S)
    blocks = re.findall(r"^\.nf\n(.*?)^\.fi", source[1] if source else "", re.M | re.S)
    lines = [line.strip() for line in section[1].splitlines()] if section else []
    unescape = [("\\-", "-"), ("\\(aq", "'"), ("\\e", "\\"), ("\\(dq", '"')]
    found = []
    for block in blocks:
        for old, new in unescape:
            block = block.replace(old, new)
        found.append(block)
        for line in block.splitlines():
            assert line.strip() in lines, f"{page} prints another line than {line!r}"
    return found


PAGES = sorted(path.name for path in (TOP / "man").glob("flightrec*"))


def shell_examples():
    """[(name, command)] of all pages but those in C and units."""
    found = []
    for page in PAGES:
        for block in examples(page):
            if page.endswith(".3") or block.startswith("["):
                continue
            for line in block.splitlines():
                found.append((f"example-{page}-{len(found)}", line.removeprefix("# ")))
    return [(name, line) for name, line in found if line not in ELSEWHERE]


def unit_example():
    """The command of the manual's service, for a shell."""
    (block,) = [b for page in PAGES for b in examples(page) if b.startswith("[Service]")]
    return re.findall(r"^ExecStart=(.+)$", block, re.M)[-1]


def example_script():
    """What runs the examples: each of them shall succeed, and make no file of a channel."""
    lines = ["HOST=host; HOSTNAME=host", "export HOST"]
    for name, command in shell_examples():
        body = f"timeout 2 sh -c '{quoted(command)}'" if ENDLESS.search(command) else command
        lines.append(f"run_{name.replace('-', '_').replace('.', '_')}() {{\n\t"
                     f"{body} </dev/null >/run/out 2>/run/err || {{ status=$?; cat /run/err; "
                     f"[ $status = {143 if ENDLESS.search(command) else 0} ] || return 1; }}\n"
                     "\tfor node in /dev/flightrec/*; do [ -c \"$node\" ] || return 1; done\n}")  # fmt: skip
        lines.append(f"check {name} run_{name.replace('-', '_').replace('.', '_')}")
    lines.append(f"service() {{\n\t{unit_example()}\n\tfor _ in 1 2 3 4 5; do sleep 1; flightrec read -c my "
                 "-g hello >/run/out; [ -s /run/out ] && return 0; done; return 1\n}\ncheck example-service service")
    for page in [page for page in PAGES if page.endswith(".3") and examples(page)]:
        lines.append(f"example_in_c() {{ /tests/{page} >/run/out && [ -s /run/out ]; }}\ncheck example-{page} example_in_c")
    return "\n".join(lines)


def quoted(text):
    return text.replace("'", "'\\''")


def example_cases():
    c_pages = [f"example-{page}" for page in PAGES if page.endswith(".3") and examples(page)]
    return [name for name, _ in shell_examples()] + ["example-service"] + c_pages


def compile_examples(directory):
    """The examples in C of the library's pages, each in a main(): {path in the guest: path here}."""
    build_flightrec(directory)
    made = {}
    for page in [page for page in PAGES if page.endswith(".3") and examples(page)]:
        source = directory / f"{page}.c"
        head = "#include <flightrec.h>\n#include <stdio.h>\n"
        # It reads on and on; a channel that was written before has something to be read.
        body = "\n".join(examples(page)).replace('"default", FLIGHTREC_OPEN_READ',
                                                 '"default", FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_NONBLOCK')
        source.write_text(f"{head}int main(void)\n{{\n{body}\treturn 0;\n}}\n")
        subprocess.run(["gcc", *FLAGS, "-Wall", "-Werror", f"-I{TOP}/lib", f"-I{directory}/include", "-static", "-o",
                        directory / page, source, directory / "libflightrec.a", "-lz", "-llzo2", "-lsnappy",
                        "-lzstd", "-lstdc++", "-lm"], check=True)  # fmt: skip
        made[f"tests/{page}"] = directory / page
    return made


def program(path):
    """A program of this machine, for the guest: {path in the guest: path here}."""
    return {path: Path(path), **{str(library): library for library in libraries(path)}}


def crash_files():
    """What the pages' paths of recover name."""
    dump = crashdata.image(crashdata.Channel(name="kernel").fill(crashdata.records(50)).blocks)
    return {
        "var/crash/202601311430/dump.202601311430": dump, "var/crash/202601311430/vmcore": dump,
        "var/lib/systemd/pstore/171234/001/dmesg.txt": dump,
        "sys-fs-pstore/dmesg-efi-1": dump,
    }  # fmt: skip


@functools.cache
def files():
    directory = scratch("tools-")
    return {
        **flightrec_tool(directory), "usr/bin/flightrec": directory / "flightrec", **compile_examples(directory), **crash_files(),
        **program("/lib/systemd/systemd-journal-remote"),
        **{str(p): p for p in Path("/lib/x86_64-linux-gnu/systemd").glob("libsystemd-shared-*")},
        "tests/tools.sh": GUEST / "tools.sh", "tests/timeline.sh": GUEST / "timeline.sh",
        "usr/lib/flightrec/smoke-test": TOP / "system/flightrec-smoke-test",
        "usr/lib/flightrec/channel-node": TOP / "system/flightrec-channel-node",
        "bin/my-job": "#!/bin/sh\necho job\n", "usr/bin/my-program": "#!/bin/sh\necho hello\n",
        "var/lib/my/here": "", "var/log/here": "", "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    }  # fmt: skip


@functools.cache
def verdict(kernel):
    modules = sorted(build_guest_modules(kernel).values())
    mounts = "mount -t tmpfs tmpfs /sys/fs/pstore 2>/dev/null && cp /sys-fs-pstore/* /sys/fs/pstore\n"
    return run_direct(kernel, files(), SCRIPT + mounts + example_script(), timeout=600, modules=modules, cpus=2,
                      memory="512M")  # fmt: skip


@pytest.mark.parametrize("case", CASES + example_cases())
@pytest.mark.parametrize("kernel", SELECTED)
def test_tools(kernel, case):
    result = verdict(kernel)
    for name, reason in result.failed:
        assert name != case, reason
    assert case in result.passed, f"the guest said nothing about it\n{result.explain()}"


def test_examples_of_other_machines_are_run_there():
    lines = {line.removeprefix("# ") for page in PAGES for block in examples(page) for line in block.splitlines()}
    for line, test in ELSEWHERE.items():
        assert line in lines and line in (TOP / test).read_text()
