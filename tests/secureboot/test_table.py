# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep's verdict against the kernel's, on every state that a signature can be in.

All verdicts are written down before the first module is loaded.  A cell is right if
the kernel loads what is `ok`, and refuses all else; `unknown` is an answer only
where a kernel has the algorithm as a module.  A signature that is damaged in its form
may be called so though the kernel, which reads BER and passes over what it has no use
for, still takes it; but what is called `ok` loads.

K=6.1,7.2 chooses the kernels, FULL=1 takes all of them.  Where files are damaged comes
from a fixed seed and from a fresh one, SEED, which failures name; CELLS is a regular
expression of names.
"""

import json
import os
import random
import re
import subprocess

import pytest

from tests.lib.kernels import build_modules, kernel
from tests.qemu import variables
from tests.qemu.smallguest import small_guest
from tests.secureboot import cells
from tests.secureboot.chain import TOP, _packages
from tests.unit.kmodkeep.system import cpio

DEFAULT = ["6.1"]
ALL = ["5.10", "6.1", "6.12", "7.2"]
SELECTED = os.environ.get("K", "").split(",") if os.environ.get("K") else (
    ALL if os.environ.get("FULL") else DEFAULT)

FIXED_SEED = 1
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(2, 1 << 32))

# Found by the kernel through modprobe, where they are modules.
CRYPTO = ("sha1_generic", "sha256_generic", "sha512_generic", "sha3_generic", "sha3",
          "ecdsa_generic", "rmd160")
PATIENCE = 1800

PREDICT = r"""
cd /table
kmodkeep verify --json */table.ko* >/predictions.json
[ $? -eq 1 ] && cat /predictions.json
"""
# insmod of kmod unpacks what it was built for; gzip is not among that in Debian 12.
LOAD = r"""
cd /table
for file in */table.ko*; do
    case $file in
    *.gz) gzip -dc "$file" >/tmp/table.ko; what=/tmp/table.ko ;;
    *) what=$file ;;
    esac
    code=0
    said=$(insmod "$what" 2>&1) || code=$?
    if [ -e /sys/module/table ]; then loaded=yes; rmmod table; else loaded=no; fi
    printf '%s\t%s\t%s\t%s\n' "$file" "$code" "$loaded" "$said"
done
"""

# What early boot and a driver that stays loaded make of the same files: the doctor's word,
# then the kernel's.
STALE = r"""
set -e
release=$(uname -r)
mkdir -p /boot "/lib/modules/$release/updates"
ask() { kmodkeep doctor --json --module table --kernel "$release" || [ $? -eq 1 ]; }
cp /table/good/table.ko "/lib/modules/$release/updates/table.ko"
depmod
running() { modprobe table; cat /sys/module/table/srcversion; rmmod table; }
case $1 in
loaded)
    insmod /table/other-build/table.ko
    ask >/stale.json
    cat /sys/module/table/srcversion
    rmmod table
    ask >/good.json ;;
copy)
    running
    cp /images/stale "/boot/initrd.img-$release"
    ask >/stale.json
    cp /images/good "/boot/initrd.img-$release"
    ask >/good.json
    rm "/boot/initrd.img-$release" ;;
esac
running
"""


class Table:
    """What was predicted of each file on kernel NAME, and what came of it."""

    def __init__(self, name, seeds, workdir):
        self.name = name
        self.seeds = seeds
        self.expected = {}
        self.predicted = {}
        self.loaded = {}
        self.stale = {}
        self._run(workdir)

    def _run(self, workdir):
        target = kernel(self.name)
        keys = {key: cells.make_key(workdir, key) for key in [*cells.ENROLLED, *cells.STRANGERS]}
        module = _module(self.name, workdir)
        self.expected = cells.files(module, keys, self.seeds, os.environ.get("CELLS"))
        files = {f"table/{path}": cell.data for path, cell in self.expected.items()}
        files[f"boot/config-{target.release}"] = target.config
        files["stale.sh"] = STALE
        for name, cell in (("stale", "unsigned"), ("good", "good")):
            if f"{cell}/table.ko" in self.expected:
                inside = f"usr/lib/modules/{target.release}/updates/table.ko"
                files[f"images/{name}"] = cpio({inside: self.expected[f"{cell}/table.ko"].data})
        files["pending"] = b"\x07\0\0\0" + variables.signature_list(
            variables.X509, [keys["pending"].der])
        files["password"] = b"\x07\0\0\0" + bytes(32)
        guest = small_guest(self.name, workdir, _packages(workdir / "debs"), files=files,
                            more_stock=CRYPTO)
        store = workdir / "efivars.fd"
        variables.add(store, "MokList", variables.signature_list(
            variables.X509, [keys[name].der for name in cells.ENROLLED]))
        variables.add(store, "MokListX", variables.signature_list(
            variables.X509, [keys["revoked"].der]) + variables.signature_list(
            variables.SHA256, [cells.revoked_hash(module, keys)]))
        with guest:
            guest.wait_shell()
            for name, content in (("MokNew", "pending"), ("MokAuth", "password")):
                guest.check(f"cat /{content} >/sys/firmware/efi/efivars/{name}-{variables.SHIM}")
            document = json.loads(guest.check(PREDICT, PATIENCE))
            assert document["secure_boot"] == "on"
            self.predicted = {r["file"]: r for r in document["results"]}
            for line in guest.check(LOAD, PATIENCE).splitlines():
                path, code, loaded, said = (line.split("\t") + [""] * 3)[:4]
                if path in self.expected:
                    self.loaded[path] = (code == "0", loaded == "yes", said)
            if not os.environ.get("CELLS"):
                self.stale = {case: self._stale(guest, case) for case in ("loaded", "copy")}

    def _stale(self, guest, case):
        """The verdicts on the stale and on the good, and the builds that ran meanwhile."""
        builds = guest.check(f"sh /stale.sh {case}", PATIENCE).split()
        verdicts = [json.loads(guest.check(f"cat /{name}.json"))["findings"][0]["verdict"]
                    for name in ("stale", "good")]
        return verdicts, builds


def _module(name, workdir):
    """The module without debug information, so that many of it fit into a guest."""
    built = build_modules(name, TOP / "tests/secureboot/module") / "table.ko"
    stripped = workdir / "plain.ko"
    subprocess.run(["strip", "--strip-debug", built, "-o", stripped], check=True)
    return stripped.read_bytes()


@pytest.fixture(scope="module", params=SELECTED)
def table(request, tmp_path_factory):
    """Made once for each kernel."""
    print(f"SEED={SEED}")
    return Table(request.param, [FIXED_SEED, SEED], tmp_path_factory.mktemp(f"table-{request.param}-"))


@pytest.fixture(scope="module")
def wrong(table):
    """Cells where kmodkeep and the kernel differ, as lines."""
    return list(differences(table))


def differences(table):
    for path in table.expected:
        verdict = table.predicted[path]["verdict"]
        done, loaded, said = table.loaded[path]
        assert done == loaded, (path, said)
        if verdict == "unknown" and may_be_unknown(table, path):
            continue
        if loaded and path.startswith("corrupt-"):
            continue
        if (verdict == "ok") != loaded:
            yield f"{path}: {verdict} ({table.predicted[path]['message']}), but " + (
                "it loads" if loaded else f"it is refused: {said}")


def may_be_unknown(table, path):
    if path.startswith("ecdsa/"):
        return "CONFIG_CRYPTO_ECDSA=m" in kernel(table.name).config.read_text()
    # Another release of the same symbol versions: there are no headers in the guest.
    return path.startswith("release/")


def test_all_cells_were_tried(table):
    assert set(table.loaded) == set(table.expected) == set(table.predicted)
    assert len(table.expected) > 100 or os.environ.get("CELLS")


def test_kernel_does_what_was_predicted(table, wrong):
    assert not wrong, f"kernel {table.name}, SEED={SEED}:\n" + "\n".join(wrong)


def test_verdicts_are_the_right_words(table):
    for path, cell in table.expected.items():
        if cell.words:
            verdict = table.predicted[path]
            assert verdict["verdict"] in cell.words, (path, verdict, f"SEED={SEED}")


def test_compression_changes_nothing(table):
    for path in table.expected:
        plain = re.sub(r"\.ko\..*", ".ko", path)
        if plain in table.expected:
            assert table.predicted[path]["verdict"] == table.predicted[plain]["verdict"], path
            assert table.loaded[path][1] == table.loaded[plain][1], path


if not os.environ.get("CELLS"):

    def test_old_build_that_is_still_loaded(table):
        verdicts, (before, after) = table.stale["loaded"]
        assert verdicts == ["stale-loaded", "ok"]
        assert before != after, "what ran was not what is installed, until it was loaded again"

    def test_stale_copy_in_the_initramfs(table):
        verdicts, builds = table.stale["copy"]
        assert verdicts == ["stale-initramfs", "ok"]
        # The installed one is good; the copy is the file that the kernel refused above.
        assert len(set(builds)) == 1 and not table.loaded["unsigned/table.ko"][1]
