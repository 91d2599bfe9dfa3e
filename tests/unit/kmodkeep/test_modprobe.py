# SPDX-License-Identifier: GPL-2.0-or-later
"""What modprobe's configuration does to a module, and the symbols that it wants."""

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes



@pytest.fixture
def system(tree):
    made = System(tree)
    (made.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    return made


def verdict(system, module="sample"):
    result = system.tree.run("doctor", "--json", "--next-boot")
    found = {f["module"]: f for f in json.loads(result.out)["findings"]}
    return found[module]


def installed(system, text, name="sample", **kwargs):
    """The module on both kernels, with what module_of() makes of it."""
    for release in (OLD, NEW):
        system.install(release, name=name, data=module_of(release, name, text, **kwargs))


def module_of(release, name, entries=(), wants=(), gives=(), crcs=()):
    """A module whose symbols are real ones."""
    info = [f"name={name}", "license=GPL", "srcversion=ABC", f"vermagic={release} SMP ", *entries]
    lines = ['#define INFO(n, t) static const char e##n[] __attribute__((section(".modinfo"), used,'
             " aligned(1))) = t;",
             *[f'INFO({n}, "{entry}")' for n, entry in enumerate(info)],
             *[f"extern int {symbol}(void);" for symbol in wants],
             "int init_module(void) { return 0" + "".join(f" + {s}()" for s in wants) + "; }"]
    for symbol in gives:
        lines += [f"int {symbol}(void) {{ return 0; }}",
                  f'asm(".section .export_symbol,\\"a\\"\\n.previous\\n'
                  f'.section __ksymtab_strings,\\"aMS\\",@progbits,1\\n'
                  f'__kstrtab_{symbol}: .asciz \\"{symbol}\\"\\n.previous\\n'
                  f'.section ___ksymtab+{symbol},\\"a\\"\\n.globl __ksymtab_{symbol}\\n'
                  f'__ksymtab_{symbol}: .long {symbol} - .\\n.long __kstrtab_{symbol} - .\\n'
                  f'.long 0\\n.previous");']
    if crcs:
        lines += ["static const struct { unsigned long crc; char name[56]; } versions[]"
                  ' __attribute__((section("__versions"), used)) = {',
                  *[f'{{ {crc}, "{symbol}" }},' for symbol, crc in crcs], "};"]
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "m.c")
        source.write_text("\n".join([*lines, ""]))
        subprocess.run(["gcc", "-fno-pic", "-mcmodel=kernel", "-fcf-protection=none", "-w", "-c", source, "-o",
                        source.with_suffix(".ko")], check=True)  # fmt: skip
        return source.with_suffix(".ko").read_bytes()


@pytest.mark.parametrize("lines,alias,word", [
    ("install sample /bin/false\n", False, "blocked"),
    ("install sample /bin/true\n", True, "blocked"),
    ("install sample /bin/echo no; exit 1\n", False, "blocked"),
    ("install sample modprobe -i sample && modprobe other\n", False, "ok"),
    ("install sample /sbin/modprobe --ignore-install sample $CMDLINE_OPTS; logger hi\n", True, "ok"),
    ("install sample /usr/local/sbin/load-sample\n", False, "unknown"),
    ("install sample if test -e /x; then modprobe -i sample; fi\n", False, "unknown"),
    # A softdep that fails is none of modprobe's errors.
    ("softdep sample pre: nothing\n", False, "ok"),
    ("softdep sample pre: other\ninstall other /bin/false\n", False, "ok"),
    # Nothing loads it by its name but what asks for its devices.
    ("blacklist sample\n", True, "blocked"),
    ("blacklist sample\n", False, "ok"),
    ("blacklist other\n", True, "ok"),
    ("alias sample off\n", False, "blocked"),
    ("alias sample off\n", True, "ok"),
    ("options sample debug=1\n", True, "ok"),
], ids=lambda v: str(v).replace("\n", ";"))  # fmt: skip
def test_lines_of_modprobe(system, lines, alias, word):
    installed(system, ["alias=pci:v00001234d*"] if alias else [])
    installed(system, [], name="other")
    system.tree.put("etc/modprobe.d/x.conf", lines)
    found = verdict(system)
    assert found["verdict"] == word, found
    assert word == "ok" or found["next_step"]


@pytest.mark.parametrize("line", ["install sample /bin/false", "blacklist sample", "alias sample off",
                                  "install sample modprobe -i sample", "softdep sample pre: gone",
                                  "install sample modprobe other",
                                  # With a softdep that is there the install line is left out.
                                  "install sample /bin/false\nsoftdep sample pre: other",
                                  "install sample /bin/false\nsoftdep sample pre: gone"])  # fmt: skip
def test_the_plan_is_that_of_modprobe(system, line):
    """The real program, on the same files, with nothing loaded."""
    installed(system, [])
    installed(system, [], name="other")
    conf = system.tree.put("etc/modprobe.d/x.conf", line + "\n")
    done = subprocess.run(["modprobe", "-C", conf.parent, "-d", system.path, "-S", NEW, "--show-depends",
                           "sample"], capture_output=True, text=True, check=False)  # fmt: skip
    inserts = any(text.startswith("insmod ") and "sample.ko" in text for text in done.stdout.splitlines())
    itself = "modprobe -i sample" in done.stdout
    assert (verdict(system)["verdict"] == "ok") == (inserts or itself), done.stdout + done.stderr


@pytest.mark.parametrize("what", ["gone", "empty", "older"])
def test_index_of_aliases_that_depmod_did_not_finish(system, what):
    """It writes the one of names first: asked for by name the module is there, and a device loads nothing."""
    index = system.path / f"lib/modules/{NEW}/modules.alias.bin"
    before = index.read_bytes()
    installed(system, ["alias=pci:v00001234d*sv*"])
    assert verdict(system)["verdict"] == "ok"
    if what == "gone":
        index.unlink()
    else:
        index.write_bytes(before if what == "older" else b"")
    found = verdict(system)
    assert found["verdict"] == "unknown" and f"depmod {NEW}" in found["next_step"], found
    assert system.tree.run("guard").code == 3
    system.depmod(NEW)
    assert verdict(system)["verdict"] == "ok"
    # An alias line of the administrator goes first, and is another matter.
    system.tree.put("etc/modprobe.d/x.conf", "alias pci:v00001234d*sv* other\n")
    assert verdict(system)["verdict"] == "ok"


def test_blacklist_that_this_boot_already_had(system):
    """It is loaded all the same: by what asks for it by its name."""
    installed(system, ["alias=pci:v00001234d*"])
    system.loaded("sample", "ABC")
    system.tree.put("etc/modprobe.d/x.conf", "blacklist sample\n")
    system.tree.put("proc/stat", "cpu 1\nbtime 4000000000\n")
    assert verdict(system)["verdict"] == "ok"
    # Written since then, it has proved nothing.
    system.tree.put("proc/stat", "cpu 1\nbtime 1000000000\n")
    found = verdict(system)
    assert (found["verdict"], found["note"]) == ("blocked", False)
    assert "next boot would lose sample" in system.tree.run("guard").out


def test_blocked_and_not_loaded_now_is_no_loss(system):
    installed(system, [])
    system.tree.put("sys/module/other/initstate", "live\n")
    system.tree.put("etc/modprobe.d/x.conf", "install sample /bin/false\n")
    found = verdict(system)
    assert (found["verdict"], found["note"]) == ("blocked", True)
    system.tree.put("sys/module/sample/initstate", "live\n")
    assert not verdict(system)["note"]


def test_blacklist_and_modules_load(system):
    installed(system, [])
    system.tree.put("etc/modprobe.d/x.conf", "blacklist sample\n")
    system.tree.put("etc/modules-load.d/x.conf", "# all\nsample\n")
    assert verdict(system)["verdict"] == "blocked"


NVIDIA = """\
install nvidia modprobe -i nvidia-current $CMDLINE_OPTS
install nvidia-modeset modprobe nvidia ; modprobe -i nvidia-current-modeset $CMDLINE_OPTS
blacklist nouveau
"""


def test_nvidia_of_debian(system):
    """Built as nvidia, installed as nvidia-current: by an install line, which an alternative links."""
    for release in (OLD, NEW):
        system.install(release, name="nvidia-current", data=module_of(
            release, "nvidia", ["alias=pci:v000010DEd*"], gives=["nv_open"]))
        system.install(release, name="nvidia-current-modeset", data=module_of(
            release, "nvidia_modeset", ["depends=nvidia"], wants=["nv_open"]))
    system.tree.put("etc/nvidia/current/nvidia-modprobe.conf", NVIDIA)
    (system.path / "etc/alternatives").mkdir(parents=True)
    (system.path / "etc/modprobe.d").mkdir(parents=True)
    (system.path / "etc/alternatives/glx--nvidia-modprobe.conf").symlink_to(
        "/etc/nvidia/current/nvidia-modprobe.conf")
    (system.path / "etc/modprobe.d/nvidia.conf").symlink_to("/etc/alternatives/glx--nvidia-modprobe.conf")
    system.driver("nvidia", "modules = nvidia nvidia-modeset\n")
    for module in ("nvidia", "nvidia-modeset", "nvidia-current", "nvidia-current-modeset"):
        found = next(f for f in json.loads(system.tree.run("doctor", "--json", "--next-boot", "--module", module).out)
                     ["findings"] if f["module"] == module)
        assert found["verdict"] == "ok", found
    # What the kernel calls it is what a person forbids.
    system.tree.put("etc/modprobe.d/y.conf", "blacklist nvidia\n")
    result = system.tree.run("doctor", "--json", "--next-boot", "--module", "nvidia-current")
    assert json.loads(result.out)["findings"][0]["verdict"] == "blocked"


def test_what_it_needs_is_forbidden(system):
    for release in (OLD, NEW):
        system.install(release, name="spl", data=module_of(release, "spl", gives=["spl_open"]))
        system.install(release, name="zfs", data=module_of(release, "zfs", ["depends=spl"], wants=["spl_open"]))
    assert verdict(system, "zfs")["verdict"] == "ok"
    system.tree.put("etc/modprobe.d/x.conf", "install spl /bin/false\n")
    found = verdict(system, "zfs")
    assert found["verdict"] == "blocked" and "install spl /bin/false" in found["message"]


SYMVERS = """\
0x11111111\tprintk\tvmlinux\tEXPORT_SYMBOL\t
0x22222222\tgpl_only\tvmlinux\tEXPORT_SYMBOL_GPL\t
0x33333333\tin_space\tvmlinux\tEXPORT_SYMBOL_GPL\tSPACE
0x44444444\tof_media\tdrivers/media/videodev\tEXPORT_SYMBOL\t
"""


@pytest.mark.parametrize("module,word,said", [
    ({"wants": ["printk"]}, "ok", ""),
    ({"wants": ["gone_in_6_12"]}, "wrong-kernel", "symbol gone_in_6_12, which"),
    ({"wants": ["of_other"]}, "ok", ""),
    ({"wants": ["of_media"]}, "missing", "of the module drivers/media/videodev"),
    ({"wants": ["in_space"]}, "wrong-kernel", "namespace SPACE"),
    ({"wants": ["in_space"], "entries": ("import_ns=OTHER", "import_ns=SPACE")}, "ok", ""),
    ({"wants": ["printk"], "crcs": [("printk", "0x11111111")]}, "ok", ""),
    ({"wants": ["printk"], "crcs": [("printk", "0x11111112")]}, "wrong-kernel", "symbol printk is another"),
], ids=lambda v: str(v)[:40])  # fmt: skip
def test_symbols(system, module, word, said):
    system.install(NEW, name="other", data=module_of(NEW, "other", gives=["of_other"]))
    system.install(NEW, data=module_of(NEW, "sample", **module))
    system.tree.put(f"lib/modules/{NEW}/build/Module.symvers", SYMVERS)
    found = verdict(system)
    assert found["verdict"] == word, found
    assert said in found["message"]


@pytest.mark.parametrize("text,wants,word", [
    ("ffffffff81000000 r __ksymtab_printk\n", "printk", "ok"),
    ("ffffffff81000000 r __ksymtab_printk\n", "gone_in_6_12", "wrong-kernel"),
    ("ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n", "printk", "ok"),
])  # fmt: skip
def test_symbols_without_headers(system, text, wants, word):
    """As Fedora and Ubuntu have it, and as Debian has not."""
    system.install(NEW, data=module_of(NEW, "sample", wants=[wants]))
    system.tree.put(f"boot/System.map-{NEW}", text)
    assert verdict(system)["verdict"] == word


KALLSYMS = """\
0000000000000000 T kfree
0000000000000000 r __ksymtab_kfree
0000000000000000 r __ksymtab_printk
0000000000000000 r __ksymtab_of_gone\t[gone]
"""


@pytest.mark.parametrize("wants,change,word", [
    ("printk", "", "ok"), ("gone_in_6_12", "", "wrong-kernel"), ("of_gone", "", "wrong-kernel"),
    # One that lists no exports, as without CONFIG_KALLSYMS_ALL.
    ("gone_in_6_12", "r __ksymtab_kfree", "ok"),
])  # fmt: skip
def test_symbols_of_the_kernel_that_runs(system, wants, change, word):
    """Where there is neither a list nor a map, it says itself what it has."""
    system.install(NEW, data=module_of(NEW, "sample", wants=[wants]))
    system.tree.put("proc/kallsyms", KALLSYMS.replace(change, "T kfree2") if change else KALLSYMS)
    assert verdict(system)["verdict"] == "ok"
    system.running(NEW)
    assert verdict(system)["verdict"] == word
    system.tree.put(f"boot/System.map-{NEW}", "ffffffff81000000 r __ksymtab_gone_in_6_12\n")
    assert verdict(system)["verdict"] == ("ok" if wants == "gone_in_6_12" else "wrong-kernel")


def test_module_without_its_table_of_symbols(system, tmp_path):
    """strip -s takes what the kernel needs to load it."""
    (tmp_path / "m.ko").write_bytes(module_of(NEW, "sample", wants=["printk"]))
    subprocess.run(["strip", "-s", tmp_path / "m.ko"], check=True)
    system.install(NEW, data=(tmp_path / "m.ko").read_bytes())
    system.tree.put(f"boot/System.map-{NEW}", "ffffffff81000000 r __ksymtab_printk\n")
    found = verdict(system)
    assert found["verdict"] == "tampered" and "table of symbols" in found["message"]


def test_licence_and_headers_of_another_build(system):
    """Symbols for the GPL alone; and headers that are not this kernel's say nothing."""
    data = module_of(NEW, "sample", wants=["gpl_only"])
    system.install(NEW, data=data.replace(b"license=GPL\0", b"license=no.\0"))
    symvers = system.tree.put(f"lib/modules/{NEW}/build/Module.symvers", SYMVERS)
    assert "under the GPL only" in verdict(system)["message"]
    system.tree.put(f"lib/modules/{NEW}/kernel/own.ko",
                    module_bytes(NEW, name="own", intree=True, symbols=(("module_layout", 7),)))
    system.depmod(NEW)
    symvers.write_text(SYMVERS + "0x00000008\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n")
    assert verdict(system)["verdict"] == "ok"


def btf(base, names=("own_type",)):
    """Split BTF: a type of the module's own for each name, behind BASE bytes of the kernel's."""
    text = b"".join(name.encode() + b"\0" for name in names)
    types, at = b"", base
    for name in names:
        types += at.to_bytes(4, "little") + (8 << 24).to_bytes(4, "little") + (1).to_bytes(4, "little")
        at += len(name) + 1
    header = bytes.fromhex("9feb0100") + b"".join(
        n.to_bytes(4, "little") for n in (24, 0, len(types), len(types), len(text)))
    return header + types + text


@pytest.mark.parametrize("config,base,section,word", [
    ("", 5000, ".BTF", "ok"),
    ("", 5008, ".BTF", "wrong-kernel"),
    ("CONFIG_MODULE_ALLOW_BTF_MISMATCH=y\n", 5008, ".BTF", "ok"),
    ("", 5008, ".BTF.base", "ok"),
])  # fmt: skip
def test_type_information_of_another_build(system, tmp_path, config, base, section, word):
    def with_btf(data, size, *more):
        (tmp_path / "m.ko").write_bytes(data)
        for name in (".BTF", *more):
            (tmp_path / "btf").write_bytes(btf(size))
            subprocess.run(["objcopy", "--add-section", f"{name}={tmp_path}/btf", tmp_path / "m.ko"], check=True)
        return (tmp_path / "m.ko").read_bytes()

    system.kernel(NEW, "CONFIG_MODULES=y\nCONFIG_DEBUG_INFO_BTF_MODULES=y\n" + config)
    system.tree.put(f"lib/modules/{NEW}/kernel/own.ko", with_btf(module_bytes(NEW, name="own", intree=True), 5000))
    system.install(NEW, data=with_btf(module_bytes(NEW), base, *[section] * (section != ".BTF")))
    found = verdict(system)
    assert found["verdict"] == word, found
