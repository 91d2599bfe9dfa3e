# SPDX-License-Identifier: GPL-2.0-or-later
"""bindings/go and bindings/rust: compiled with Debian 13's compilers, decoding anything,
and against the driver in a guest: what goes round, and what is lost.
"""

import base64
import functools
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.bindings.root import Clone
from tests.lib.kernels import build_modules
from tests.lib.scratch import scratch
from tests.lib.tool import flightrec_tool
from tests.qemu.direct import run_direct
from tests.unit.lib import crashdata as crash

TOP = Path(__file__).parents[2]
HERE = Path(__file__).parent
LANGUAGES = ["go", "rust"]
SELECTED = os.environ["K"].split(",") if os.environ.get("K") else ["6.12"]

CARGO = """
[package]
name = "roundtrip"
version = "0.1.0"
edition = "2021"
[[bin]]
name = "roundtrip"
path = "roundtrip.rs"
[dependencies]
flightrec = "0"
tracing = { version = "0.1", default-features = false, features = ["std"] }
tracing-subscriber = { version = "0.3", default-features = false, features = ["registry", "std"] }
"""
# Debian's crates, and no network.
CONFIGURATION = """
[source.crates-io]
replace-with = "debian"
[source.debian]
directory = "/usr/share/cargo/registry"
"""

# Static, since guests have the libraries of another distribution.
COMPILE = {
    "go": """
cd /work/test
printf 'module roundtrip\\ngo 1.21\\nrequire flightrec v0.0.0\\nreplace flightrec => /usr/share/gocode/src/flightrec\\n' >go.mod
test -z "$(gofmt -l ../go . | tee /dev/stderr)"
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
(cd ../go && go vet .)
go vet . && go build -o /work/roundtrip .
""",
    "rust": """
cd /work/test
export RUSTFLAGS="-D warnings -C target-feature=+crt-static" CARGO_HOME=/work/cargo
(cd ../rust && cargo check --offline --quiet --no-default-features)
cargo build --offline --quiet --release
cp target/release/roundtrip /work/roundtrip
""",
}


@functools.cache
def program(language):
    """The test's program with the binding in it."""
    with Clone() as clone:
        work = clone.path / "work"
        shutil.copytree(TOP / "bindings" / language, work / language)
        # As the packages have them.
        subprocess.run(["make", "-s", "-C", TOP / "bindings", f"install-{language}", f"DESTDIR={clone.path}"], check=True)
        (work / "test").mkdir()
        shutil.copy(HERE / f"roundtrip.{'rs' if language == 'rust' else 'go'}", work / "test")
        if language == "rust":
            (work / "test/Cargo.toml").write_text(CARGO)
            (work / "cargo").mkdir()
            (work / "cargo/config.toml").write_text(CONFIGURATION)
        clone.run(COMPILE[language], timeout=1800)
        return Path(shutil.copy(work / "roundtrip", scratch("bindings-") / language))


def lines_of(records):
    """RECORDS as the programs print them."""
    return [f"{r.seq} 0 {r.boot_ns} {r.wall_ns} {r.severity} {r.origin} {r.flags & 1} {r.pid} {r.tgid} {r.uid} {r.euid} "
            f"{r.cpu} [{r.comm.decode()}] {r.payload.hex()}" for r in records]  # fmt: skip


def decoded(language, path):
    done = subprocess.run([program(language), "decode", path], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stdout + done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
def test_records_as_the_driver_delivers_them(language, tmp_path):
    records = [*crash.records(300), crash.Record(b"tick", seq=301, flags=1, origin=1, comm=b"")]
    path = tmp_path / "records"
    path.write_bytes(crash.delivered(records))
    status, lines, said = decoded(language, path)
    assert status == 0, said
    assert lines == lines_of(records)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_bytes_are_believed(language, tmp_path):
    """It ends with an error, or has a record; it never reads past the end, nor dies."""
    whole = crash.delivered([crash.Record(b"hello", seq=1)])
    rand = random.Random(7)
    broken = [whole[:cut] for cut in range(1, len(whole), 5)]
    for at in (0, 1, 2, 3, 4, 5, 6, 7, 40, 41, 42, 43):
        for value in (0, 1, 0x59, 0xFF):
            broken.append(whole[:at] + bytes([value]) + whole[at + 1 :])
    broken += [rand.randbytes(200) for _ in range(10)]
    path = tmp_path / "broken"
    refused = 0
    for content in broken:
        path.write_bytes(content)
        status, _, said = decoded(language, path)
        assert status == 0 or "no record: this" in said, said
        refused += status != 0
    assert refused > len(broken) // 2


SCRIPT = r"""
insmod /modules/flightrec.ko channels=default,small,empty size_kb=256,96,96 events=none quota=0 || exit 1
: >/run/file
ln -s /run/file /dev/flightrec/typo
for language in go rust; do
	# Packed, since a line of a result has a limit.
	told() { note "$language-$1" sh -c "gzip </run/told | base64 -w 200 | sed 's/^/$language $1 /'"; }
	/tests/$language write default >/run/told 2>&1
	told wrote
	/tests/$language read default >/run/told 2>&1
	told read
	flightrec read --json >/run/told
	told json
	{ /tests/$language missing nosuch; /tests/$language missing typo; } >/run/told 2>&1
	told missing
	/tests/$language wait empty >/run/told 2>&1 &
	waiter=$!
	until grep -q waiting /run/told; do sleep 0.1; done
	flightrec write -c empty "at last"
	check "$language-waits" wait $waiter
	told waited
	seq 20000 | flightrec write -c small
	/tests/$language read small | awk '{ lost += $2; last = $1 } END { print NR, lost, last }' >/run/told
	told lost
	# The next language begins with empty channels.
	rmmod flightrec
	insmod /modules/flightrec.ko channels=default,small,empty size_kb=256,96,96 events=none quota=0
done
"""


@functools.cache
def guest(kernel):
    """The Verdict of a guest with the kernel."""
    with tempfile.TemporaryDirectory() as directory:
        files = flightrec_tool(Path(directory, "tool"))
        return run_direct(kernel, {**files, **{f"tests/{one}": program(one) for one in LANGUAGES}}, SCRIPT, 600,
                          modules=sorted(build_modules(kernel, TOP / "src").glob("*.ko")))  # fmt: skip


def told(kernel):
    """{(language, what): lines} that the guest told."""
    verdict = guest(kernel)
    assert verdict.ok, verdict.explain()
    packed = {}
    for line in verdict.notes:
        language, what, text = line.split(" ")
        packed[language, what] = packed.get((language, what), "") + text
    return {key: gzip.decompress(base64.b64decode(text)).decode().splitlines() for key, text in packed.items()}


CASES = [(kernel, language) for kernel in SELECTED for language in LANGUAGES]
LOGGED = {
    "go": ['{"msg":"debug"}', r'{"msg":"in\nfo","unit":"a","disk":{"name":"sda","full":true}}',
           '{"msg":"warning"}', '{"msg":"error"}'],
    "rust": ['{"msg":"debug","target":"roundtrip"}',
             r'{"msg":"in\nfo","target":"roundtrip","name":"sda","full":true,"count":3}',
             '{"msg":"warning","target":"roundtrip"}', '{"msg":"error","target":"roundtrip"}'],
}  # fmt: skip


@pytest.mark.parametrize("kernel, language", CASES)
def test_what_is_logged_is_recorded(kernel, language):
    lines = [json.loads(line) for line in told(kernel)[language, "json"]]
    assert lines[0]["payload_hex"] == "Größe".encode().hex() + "ff"
    assert [line["text"] for line in lines[1:5]] == LOGGED[language]
    assert [line["severity"] for line in lines] == [5, 7, 6, 4, 3, *[3] * (len(lines) - 5)]
    pieces = [re.fullmatch(r"\[(\d)/3\] (.*)", line["text"]).groups() for line in lines[5:]]
    assert [number for number, _ in pieces] == ["1", "2", "3"]
    assert json.loads("".join(text for _, text in pieces))["msg"] == "ä" * 5000
    assert {line["comm"] for line in lines} == {language}
    assert told(kernel)[language, "wrote"] == ["refused 0"]


@pytest.mark.parametrize("kernel, language", CASES)
def test_what_is_read_is_what_the_tool_reads(kernel, language):
    lines = [json.loads(line) for line in told(kernel)[language, "json"]]
    assert told(kernel)[language, "read"] == [
        f"{r['seq']} {r['lost']} {r['boot_ns']} {r['wall_ns']} {r['severity']} 0 0 {r['pid']} {r['tgid']} {r['uid']} "
        f"{r['euid']} {r['cpu']} [{r['comm']}] {r.get('payload_hex') or r['text'].encode().hex()}" for r in lines]  # fmt: skip


@pytest.mark.parametrize("kernel, language", CASES)
def test_losses_are_told(kernel, language):
    (line,) = told(kernel)[language, "lost"]
    read, lost, last = map(int, line.split())
    assert last == 20000 and read + lost == last and read and lost


@pytest.mark.parametrize("kernel, language", CASES)
def test_a_reader_waits(kernel, language):
    waiting, record = told(kernel)[language, "waited"]
    assert waiting == "waiting" and record.endswith(f"[flightrec] {b'at last'.hex()}")


@pytest.mark.parametrize("kernel, language", CASES)
def test_without_the_channel_the_program_goes_on(kernel, language):
    first, no_channel, second, no_device = told(kernel)[language, "missing"]
    assert first == second == "refused 50"
    assert "o such file" in no_channel and "not a channel of the recorder" in no_device
