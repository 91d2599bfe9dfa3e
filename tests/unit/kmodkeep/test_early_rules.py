# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs has modprobe.d and the index as they were when it was made: what is loaded by those."""

import json
import subprocess

import pytest

from tests.unit.kmodkeep.system import NEW, OLD, System, cpio, grub_cfg, indexed, module_bytes, packed
from tests.unit.kmodkeep.test_modprobe import module_of

ALIAS = "pci:v000010DEd*sv*sd*bc03sc*i*"
DEVICE = "pci:v000010DEd00002484sv00001462sd00003903bc03sc00i00"
RIVAL = "kernel/drivers/gpu/rival.ko"
HERE, THERE = "etc/modprobe.d/sample.conf", "usr/lib/modprobe.d/sample.conf"
REFUSAL = "blacklist rival\n"
DRACUT = {"usr/lib/dracut-lib.sh": "#!/bin/sh\n"}


@pytest.fixture
def system(tree):
    """A driver, and the kernel's own for the same devices, which is in the initramfs of both kernels."""
    made = System(tree)
    for kernel in (OLD, NEW):
        made.tree.put(f"lib/modules/{kernel}/{RIVAL}", rival(kernel))
        made.install(kernel, data=module_bytes(kernel, alias=ALIAS))
    made.tree.put(HERE, REFUSAL)
    for kernel in (OLD, NEW):
        holds(made, {HERE: REFUSAL}, kernel=kernel)
    return made


def rival(kernel, **kwargs):
    return module_bytes(kernel, name="rival", alias=ALIAS, intree=True, build_id="0123456789abcdef", **kwargs)


def holds(system, config, modules=None, kernel=NEW, links=(), **kwargs):
    """What the initramfs is told: {path: text}; and which modules it has."""
    modules = {RIVAL: rival(kernel)} if modules is None else modules
    text = {path: line if isinstance(line, bytes) else line.encode() for path, line in config.items()}
    system.initramfs(kernel, modules, inside=text, links=links, **kwargs)


def finding(system):
    findings = json.loads(system.tree.run("doctor", "--json", "--next-boot").out)["findings"]
    (found,) = [f for f in findings if f["module"] == "sample"]
    return found


def safe(system, verdict):
    """The same when it is remembered; and the guard says so."""
    for _ in ("read", "remembered"):
        found = finding(system)
        assert found["verdict"] == verdict, found
    if verdict != "ok":
        assert found["next_step"].startswith(f"update-initramfs -u -k {NEW}"), found
    code = {"ok": 0, "stale-initramfs": 1, "unknown": 3}[verdict]
    assert system.tree.run("guard").code == code
    return found


@pytest.fixture(autouse=True)
def tools(tree):
    tree.put("usr/sbin/update-initramfs").chmod(0o755)
    tree.put("var/cache/x")


@pytest.mark.parametrize("inside, word", [
    ({HERE: REFUSAL}, "ok"), ({THERE: REFUSAL}, "ok"), ({"lib/modprobe.d/a.conf": REFUSAL}, "ok"),
    ({HERE: "install rival /bin/false\n"}, "ok"), ({HERE: "blacklist other\n"}, "stale-initramfs"), ({}, "stale-initramfs"),
    ({"etc/modprobe.d/sample": REFUSAL}, "stale-initramfs"), ({"etc/modprobe.d/a/b.conf": REFUSAL}, "stale-initramfs"),
    ({HERE: "# " + REFUSAL}, "stale-initramfs"), ({HERE: "install rival [ -e /x ] || /bin/true\n"}, "unknown"),
    ({HERE: f"alias {ALIAS} sample\n"}, "ok"),
    ({"etc/modprobe.d/x.alias": REFUSAL}, "ok"), ({"etc/modprobe.d/.x.conf": REFUSAL}, "stale-initramfs"),
    # The first folder counts, and a file without content as well.
    ({HERE: "#\n", THERE: REFUSAL}, "stale-initramfs"), ({HERE: "", THERE: REFUSAL}, "stale-initramfs"),
    ({HERE: REFUSAL, THERE: "#\n"}, "ok"),
    # What is not of UTF-8 is not changed when it is remembered.
    ({HERE: b"# \xe9\t\x01\n" + REFUSAL.encode()}, "ok"),
    # No line goes on in the next file.
    ({"etc/modprobe.d/a.conf": "options x y=1 \\", HERE: REFUSAL}, "ok"),
])  # fmt: skip
def test_blacklist_that_is_younger_than_the_initramfs(system, inside, word):
    """As that of nouveau, which comes with a driver that is installed later."""
    holds(system, inside)
    found = safe(system, word)
    assert word == "ok" or ("rival" in found["message"] and NEW in found["message"]), found


@pytest.mark.parametrize("host, word", [
    ("", "ok"), ("install rival /sbin/modprobe sample\n", "stale-initramfs"), (f"alias {ALIAS} sample\n", "stale-initramfs"),
    ("install rival /bin/false\n", "stale-initramfs"), ("install rival [ -e /x ] || /bin/true\n", "unknown"),
    ("install ri?al /bin/false\n", "stale-initramfs"), ("install riv* /bin/false\n", "stale-initramfs"),
])  # fmt: skip
def test_what_the_host_says_of_the_rival(system, host, word):
    system.tree.put(HERE, host)
    holds(system, {})
    safe(system, word)


def test_rival_that_is_not_in_the_initramfs(system):
    """As without the hooks of drm, or with a dracut that copies nothing of /etc/modprobe.d."""
    other = module_bytes(NEW, name="x", build_id="x", intree=True)
    system.tree.put(f"lib/modules/{NEW}/kernel/fs/x.ko", other)
    holds(system, {}, modules={"kernel/fs/x.ko": other})
    safe(system, "ok")
    holds(system, {}, modules={})
    safe(system, "ok")


@pytest.mark.parametrize("words, inside, word", [
    ("rd.driver.blacklist=rival", DRACUT, "ok"), ("modprobe.blacklist=other,rival", {}, "ok"), ("module_blacklist=rival", {}, "ok"),
    ("modprobe.blacklist=other", {}, "stale-initramfs"), ("", {**DRACUT, "etc/cmdline.d/x.conf": "rd.driver.blacklist=rival"}, "ok"),
    # Nobody but dracut knows that word.
    ("rd.driver.blacklist=rival", {}, "stale-initramfs"),
    ("rd.driver.pre=rival", {**DRACUT, HERE: REFUSAL}, "stale-initramfs"), ("rd.driver.pre=rival", {HERE: REFUSAL}, "ok"),
    ("rd.driver.post=x,rival", {**DRACUT, HERE: REFUSAL}, "stale-initramfs"),
    # Who asks by its name minds no blacklist but the kernel's.
    ("modprobe.blacklist=rival", {"conf/modules": "rival\n"}, "stale-initramfs"),
    ("module_blacklist=rival", {"conf/modules": "rival\n"}, "ok"),
    ("rd.driver.blacklist=rival rd.driver.pre=rival", DRACUT, "stale-initramfs"),
])  # fmt: skip
def test_command_line_that_refuses_the_rival(system, words, inside, word):
    holds(system, inside)
    menu = system.path / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("ro quiet", f"ro quiet {words}"))
    safe(system, word)


@pytest.mark.parametrize("device, word", [(DEVICE, "stale-initramfs"), (DEVICE.replace("10DE", "10DF"), "ok")])
def test_devices_that_are_there(system, device, word):
    """Another alias, and the same device."""
    for kernel in (OLD, NEW):
        system.install(kernel, data=module_bytes(kernel, alias="pci:v0000*d00002484sv*sd*bc*sc*i*"))
    holds(system, {})
    safe(system, "ok")
    system.tree.put("sys/bus/pci/devices/0000:01:00.0/modalias", device + "\n")
    safe(system, word)


def test_rival_that_the_disk_has_no_more(system):
    """As of a driver that was removed, and nobody made the initramfs again."""
    system.tree.put(HERE, "")
    for where, old in (("updates/dkms/rival.ko", module_bytes(NEW, name="rival", alias=ALIAS)), (RIVAL, rival(NEW))):
        (system.path / f"lib/modules/{NEW}/{RIVAL}").unlink(missing_ok=True)
        system.depmod(NEW)
        kept = {"kernel/fs/x.ko": module_bytes(NEW, name="x", build_id="x", intree=True)}
        system.tree.put(f"lib/modules/{NEW}/kernel/fs/x.ko", kept["kernel/fs/x.ko"])
        holds(system, {}, modules={where: old, **kept})
        safe(system, "stale-initramfs")
        holds(system, {HERE: REFUSAL}, modules={where: old, **kept})
        safe(system, "ok")
        # It is there again, behind what is remembered.
        holds(system, {}, modules={where: old, **kept})
        safe(system, "stale-initramfs")
        path = system.tree.put(f"lib/modules/{NEW}/{where}", old)
        system.depmod(NEW)
        assert finding(system)["verdict"] == "ok"
        path.unlink()
        system.depmod(NEW)
        safe(system, "stale-initramfs")


@pytest.mark.parametrize("inside, word", [
    ({"conf/modules": "# what\n\nrival x=1\n"}, "stale-initramfs"), ({"conf/modules": "#rival\nother\nsample\n"}, "ok"),
    # systemd minds the blacklist.
    ({"etc/modules-load.d/x.conf": "rival\n"}, "ok"),
    ({**DRACUT, "etc/cmdline.d/20-force_drivers.conf": "rd.driver.pre=x\nrd.driver.pre=rival\n"}, "stale-initramfs"),
    ({"etc/cmdline.d/20-force_drivers.conf": "rd.driver.pre=rival\n"}, "ok"),
    ({**DRACUT, "etc/cmdline.d/20-force_drivers.conf": "rd.driver.pre=other\n"}, "ok"),
    ({**DRACUT, "etc/cmdline": "rd.driver.pre=rival\n"}, "stale-initramfs"),
    ({**DRACUT, "etc/cmdline.d/x.conf": 'ro\nrd.driver.pre="other,rival" x=1\n'}, "stale-initramfs"),
    ({**DRACUT, "etc/cmdline.d/x": "rd.driver.pre=rival\n"}, "ok"),
])  # fmt: skip
def test_rival_that_is_loaded_by_its_name(system, inside, word):
    """A blacklist says nothing of that."""
    holds(system, {HERE: REFUSAL, **inside})
    safe(system, word)
    holds(system, {HERE: "install rival /bin/false\n", **inside})
    safe(system, "ok")


@pytest.mark.parametrize("links, word", [
    # As Debian's alternatives have it, in any order, and with lib in usr.
    ({HERE: "/etc/alternatives/x.conf", "etc/alternatives/x.conf": "/lib/y/x.conf", "usr/lib/y/x.conf": REFUSAL}, "ok"),
    ({"usr/lib/y/x.conf": REFUSAL, "etc/alternatives/x.conf": "../../lib/y/x.conf", HERE: "../alternatives/x.conf"}, "ok"),
    ({HERE: "/etc/y.conf", "etc/y.conf": "#\n"}, "stale-initramfs"), ({HERE: "/dev/null", THERE: REFUSAL}, "stale-initramfs"),
    # It leads to what is not seen, or in a circle.
    ({HERE: "/etc/y"}, "unknown"), ({HERE: "/" + HERE}, "unknown"), ({"etc/modprobe.d": "/x"}, "unknown"),
])  # fmt: skip
def test_links_of_the_initramfs(system, links, word):
    holds(system, links, links={path for path in links if "/" in links[path]})
    safe(system, word)


def test_links_that_lead_nowhere_on_the_host_either(system):
    """modprobe leaves both out."""
    (system.path / "etc/modprobe.d/z.conf").symlink_to("/gone.conf")
    holds(system, {HERE: REFUSAL, "etc/modprobe.d/z.conf": "/gone.conf"}, links={"etc/modprobe.d/z.conf"})
    safe(system, "ok")


def test_settings_that_are_not_read(system):
    holds(system, {HERE: REFUSAL, "etc/modprobe.d/z.conf": "# x\n" * 2_000_000})
    safe(system, "unknown")
    holds(system, {HERE: REFUSAL, "etc/modprobe.d/z.conf": b"blacklist \0x\n"})
    safe(system, "unknown")
    holds(system, {HERE: REFUSAL, "etc/z.conf": b"blacklist \0x\n"})
    safe(system, "ok")


@pytest.mark.parametrize("image", ["squash-root.img", "squashfs-root.img", "erofs-root.img", "squash/root.img"])
def test_dracut_that_packs_all_into_an_image(system, image):
    """It has a modprobe.d, and modules, that are not seen."""
    holds(system, {HERE: REFUSAL, image: b"hsqs"})
    safe(system, "unknown")
    holds(system, {HERE: REFUSAL, f"etc/{image}": b"hsqs"})
    safe(system, "ok")


def test_hard_link_whose_content_is_elsewhere(system):
    data = bytearray(cpio({HERE: b"x", RIVAL: b""}))
    name = data.index(HERE.encode())
    header = name - 110
    data[header + 38 : header + 46] = b"%08X" % 2  # two names
    data[header + 54 : header + 62] = b"%08X" % 0  # and no content
    del data[data.index(b"x\0\0\0", name) :][:4]
    end = cpio({f"usr/lib/modules/{NEW}/{RIVAL}": rival(NEW)})
    head = bytes(data[: (name + len(HERE) + 1 + 3) // 4 * 4])
    system.tree.put(f"boot/initrd.img-{NEW}", head + end)
    safe(system, "unknown")


def test_later_archive(system):
    more = cpio({HERE: b"#\n"})
    holds(system, {HERE: REFUSAL}, before=more)
    safe(system, "ok")
    path = system.path / f"boot/initrd.img-{NEW}"
    path.write_bytes(path.read_bytes() + packed(more, ["gzip", "-n"]))
    safe(system, "stale-initramfs")


def test_what_this_boot_shows(system):
    """It runs with the same initramfs, has the driver, and no rival."""
    holds(system, {})
    system.running(NEW)
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD]))
    written = int((system.path / f"boot/initrd.img-{NEW}").stat().st_ctime)
    for booted, loaded, word in ((written + 5, ("sample", "rival"), "stale-initramfs"), (written - 5, ("sample",), "stale-initramfs"),
                                 (written + 5, ("sample",), "ok")):  # fmt: skip
        system.tree.put("proc/stat", f"cpu 0\nbtime {booted}\n")
        subprocess.run(["rm", "-rf", system.path / "sys/module"], check=True)
        for module in loaded:
            system.loaded(module, "ABC")
        assert finding(system)["verdict"] == word, (booted, loaded)


# ---- the driver's own copy ----

COPY = "updates/dkms/sample.ko"


def has_copy(system, config, required=True, index=None, **kwargs):
    system.driver("sample", f"modules = sample\ninitramfs = {'required' if required else 'no'}\n")
    modules = {COPY: module_bytes(NEW, alias=ALIAS), **kwargs}
    named = f"usr/lib/modules/{NEW}/modules.dep.bin"
    inside = {HERE: REFUSAL, **config, **({} if index is None else {named: indexed(index)})}
    holds(system, inside, modules=modules)


@pytest.mark.parametrize("line, word", [
    ("", "ok"), ("blacklist sample\n", "stale-initramfs"), ("install sample /bin/false\n", "stale-initramfs"),
    ("alias sample off\n", "unknown"), ("install sample [ -e /x ] || true\n", "unknown"),
    ("options sample x=1\n", "unknown"), ("options sample y=2\n", "ok"), ("options other x=1\n", "ok"),
    ("install sample /sbin/modprobe -i sample\n", "ok"),
])  # fmt: skip
def test_initramfs_that_refuses_what_the_host_loads(system, line, word):
    """As after a line of modprobe.d was taken out, and the initramfs was not made again."""
    system.tree.put("etc/modprobe.d/y.conf", "options sample y=2\noptions sample z=3\n")
    has_copy(system, {"etc/modprobe.d/a.conf": line})
    safe(system, word)
    # Where early boot does not need it, it is loaded after that.
    has_copy(system, {"etc/modprobe.d/a.conf": line}, required=False)
    safe(system, "ok")


@pytest.mark.parametrize("index, word", [
    ([COPY], "ok"), (["kernel/x.ko", COPY], "ok"), ([COPY + ".xz"], "stale-initramfs"), ([], "stale-initramfs"),
    (["extra/" + COPY], "stale-initramfs"), (["updates/sample.ko"], "stale-initramfs"),
])  # fmt: skip
def test_index_of_the_initramfs(system, index, word):
    """A hook that packs modules, or puts some there, behind depmod."""
    has_copy(system, {}, index=index)
    safe(system, word)
    has_copy(system, {}, required=False, index=index)
    safe(system, "ok")


@pytest.mark.parametrize("index, word", [
    ([COPY], "ok"), ([COPY, "kernel/sample.ko"], "ok"), (["kernel/sample.ko"], "stale-initramfs"), ([], "ok"),
])  # fmt: skip
def test_index_that_has_the_kernels_own_alone(system, index, word):
    """Then that is loaded, also where early boot needs none."""
    own = module_bytes(NEW, alias=ALIAS, srcversion="OWN", intree=True)
    has_copy(system, {}, required=False, index=index, **{"kernel/sample.ko": own})
    safe(system, word)


def test_index_that_depmod_made(system, tmp_path):
    """What is looked for is how it has lines in modules.dep.bin."""
    target = tmp_path / f"lib/modules/{NEW}"
    for name, data in ((COPY, module_bytes(NEW, alias=ALIAS)), (RIVAL, rival(NEW))):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    (target / "modules.order").write_text("")
    (target / "modules.builtin").write_text("")
    for removed, word in ((None, "ok"), (COPY, "stale-initramfs")):
        if removed:
            (target / removed).unlink()
        subprocess.run(["depmod", "-b", tmp_path, NEW], check=True)
        index = (target / "modules.dep.bin").read_bytes()
        has_copy(system, {f"usr/lib/modules/{NEW}/modules.dep.bin": index}, **{RIVAL: rival(NEW)})
        safe(system, word)


def test_index_in_which_a_number_looks_like_a_slash(system, tmp_path):
    """The place of the 48th module of depmod, 0x2f, stands right before its path."""
    target = tmp_path / f"lib/modules/{NEW}"
    path = target / COPY
    path.parent.mkdir(parents=True)
    path.write_bytes(module_bytes(NEW, alias=ALIAS))
    (target / "kernel").mkdir()
    for number in range(400):
        (target / f"kernel/m{number}.ko").write_bytes(module_bytes(NEW, name=f"m{number}"))
    # Those in it come first, in this order.
    for places in range(40, 60):
        before = [f"kernel/m{number}.ko" for number in range(places)]
        (target / "modules.order").write_text("\n".join([*before, COPY, ""]))
        (target / "modules.builtin").write_text("")
        subprocess.run(["depmod", "-b", tmp_path, NEW], check=True)
        index = (target / "modules.dep.bin").read_bytes()
        if b"/" + COPY.encode() + b":" in index:
            break
    else:
        pytest.fail("no place looks like a slash")
    has_copy(system, {f"usr/lib/modules/{NEW}/modules.dep.bin": index})
    safe(system, "ok")


def test_index_with_a_link_of_weak_updates(system):
    """The link is what the index has."""
    system.driver("sample", "modules = sample\ninitramfs = required\n")
    files = {f"usr/lib/modules/{OLD}/extra/sample.ko": module_bytes(NEW, alias=ALIAS),
             f"usr/lib/modules/{NEW}/weak-updates/sample.ko": f"../../{OLD}/extra/sample.ko".encode()}  # fmt: skip
    links = {f"usr/lib/modules/{NEW}/weak-updates/sample.ko"}
    for index, word in ((["weak-updates/sample.ko"], "ok"), ([], "stale-initramfs")):
        index = {f"usr/lib/modules/{NEW}/modules.dep.bin": indexed(index)}
        system.tree.put(f"boot/initrd.img-{NEW}", cpio({HERE: REFUSAL.encode(), **files, **index}, links=links))
        safe(system, word)


def test_module_that_it_needs(system):
    system.tree.put(f"lib/modules/{NEW}/kernel/lib/base.ko", module_of(NEW, "base", ["intree=Y"], gives=["base_open"]))
    data = module_of(NEW, "sample", ["depends=base", f"alias={ALIAS}"], wants=["base_open"])
    system.install(NEW, data=data)
    base = (system.path / f"lib/modules/{NEW}/kernel/lib/base.ko").read_bytes()
    for more, word in (({}, "stale-initramfs"), ({"kernel/lib/base.ko": base}, "ok"),
                       ({"kernel/lib/base.ko.xz": packed(base, ["xz", "--check=crc32"])}, "ok")):  # fmt: skip
        has_copy(system, {}, **{COPY: data, **more})
        found = safe(system, word)
        assert word == "ok" or "base.ko, which it needs" in found["message"], found


def test_copy_that_is_packed_as_the_kernel_cannot_read(system):
    """The same module, which the kernel unpacks itself."""
    config = "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\nCONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_XZ=y\n"
    system.tree.put(f"boot/config-{NEW}", config)
    data = module_bytes(NEW, alias=ALIAS)
    for check, word in (("crc32", "ok"), ("crc64", "stale-initramfs")):
        named = COPY + ".xz"
        holds(system, {HERE: REFUSAL}, modules={named: packed(data, ["xz", f"--check={check}"])})
        safe(system, word)
