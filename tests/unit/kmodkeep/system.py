# SPDX-License-Identifier: GPL-2.0-or-later
"""A host with kernels, a boot loader, drivers and initramfs files, in a folder."""

import functools
import hashlib
import subprocess
import tempfile
from pathlib import Path

from tests.lib.initramfs import _padded as padded

OLD = "6.1.0-30-amd64"
NEW = "6.12.9-amd64"

LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

# As grub-mkconfig writes it, of its parts those that decide.
GRUB_CFG = """\
### BEGIN /etc/grub.d/00_header ###
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="{default}"
fi
if [ x"${{feature_menuentry_id}}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function savedefault {{
  if [ -z "${{boot_once}}" ]; then
    saved_entry="${{chosen}}"
    save_env saved_entry
  fi
}}
{entries}
### BEGIN /etc/grub.d/30_uefi-firmware ###
if [ "$grub_platform" = "efi" ]; then
	menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {{
		fwsetup
	}}
fi
### BEGIN /etc/grub.d/41_custom ###
if [ -f  ${{config_directory}}/custom.cfg ]; then
  source ${{config_directory}}/custom.cfg
elif [ -z "${{config_directory}}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
"""
SIMPLE = """\
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-42' {{
	load_video
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	linux	/boot/vmlinuz-{0} root=UUID=42 ro quiet
	initrd	/boot/initrd.img-{0}
}}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-42' {{
"""
ADVANCED = """\
	menuentry 'Debian GNU/Linux, with Linux {0}' $menuentry_id_option 'gnulinux-{0}-advanced-42' {{
		linux	/boot/vmlinuz-{0} root=UUID=42 ro quiet
		initrd	/boot/initrd.img-{0}
	}}
	menuentry 'Debian GNU/Linux, with Linux {0} (recovery mode)' $menuentry_id_option 'gnulinux-{0}-recovery-42' {{
		linux	/boot/vmlinuz-{0} root=UUID=42 ro single
	}}
"""


def grub_cfg(kernels, default="${saved_entry}"):
    entries = SIMPLE.format(kernels[0]) + "".join(ADVANCED.format(k) for k in kernels) + "}\n"
    return GRUB_CFG.format(default=default, entries=entries)


def without_initrds(menu):
    return "".join(line for line in menu.splitlines(True) if not line.strip().startswith("initrd"))


def advanced(kernel):
    return f"gnulinux-advanced-42>gnulinux-{kernel}-advanced-42"


def grubenv(**variables):
    text = "# GRUB Environment Block\n" + "".join(f"{k}={v}\n" for k, v in variables.items())
    return text + "#" * (1024 - len(text))


def utf16(text):
    return b"\x07\0\0\0" + (text + "\0").encode("utf-16-le")


@functools.cache
def module_bytes(kernel, name="sample", version="1.2", srcversion="ABC", settings="SMP ",
                 symbols=(), intree=False, depends="", build_id="", alias=""):  # fmt: skip
    """An unsigned module, without a kernel: an ELF file with its names.

    SYMBOLS are the (name, version) of what it was built against.
    """
    entries = [f"name={name}", *[f"version={version}"] * bool(version),
               f"srcversion={srcversion}", f"vermagic={kernel} {settings}",
               *["intree=Y"] * intree, *[f"depends={depends}"] * bool(depends),
               *[f"alias={alias}"] * bool(alias)]
    lines = [
        f'static const char entry{n}[] __attribute__((section(".modinfo"), used, aligned(1)))'
        f' = "{entry}";'
        for n, entry in enumerate(entries)
    ]
    lines += ["static const struct { unsigned long crc; char name[56]; } versions[]"
              ' __attribute__((section("__versions"), used)) = {',
              *[f'{{ {crc}, "{symbol}" }},' for symbol, crc in symbols], "};"] if symbols else []
    if build_id:
        lines.append('static const char id[] __attribute__((section(".note.gnu.build-id"), used))'
                     f' = "{build_id}";')
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "m.c")
        source.write_text("\n".join([*lines, "int init_module(void) { return 0; }", ""]))
        subprocess.run(["gcc", "-c", source, "-o", source.with_suffix(".ko")], check=True)
        return source.with_suffix(".ko").read_bytes()


SECTOR = 512


def bzimage(release, cut=0, build="#1 SMP", body=b""):
    """A kernel of x86: its header, its release, and as much behind them as they say."""
    data = bytearray(SECTOR * 5 + 4096)
    data[SECTOR * 5 + 2048 : SECTOR * 5 + 2048 + len(body)] = body
    data[0x1F1] = 4
    data[0x1F4:0x1F8] = (4096 // 16).to_bytes(4, "little")
    data[0x202:0x206] = b"HdrS"
    data[0x20E:0x210] = (0x300).to_bytes(2, "little")
    text = f"{release} (builder@host) {build}\0".encode()
    data[0x300 + SECTOR : 0x300 + SECTOR + len(text)] = text
    return bytes(data[: len(data) - cut])


def cpio(files, links=()):
    """An archive in the "newc" form of FILES, {name: bytes}; LINKS are symbolic links."""
    out = b""
    for number, (name, data) in enumerate([*files.items(), ("TRAILER!!!", b"")], 1):
        mode = 0o120777 if name in links else 0 if name == "TRAILER!!!" else 0o100644
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        out += padded(header + name.encode() + b"\0") + padded(data)
    return out


def indexed(modules):
    """An index that names MODULES, as depmod has its lines in modules.dep.bin."""
    return b"\xb0\x07\xf4\x57" + b"".join(b"\0\0\0\1" + name.encode() + b":\0" for name in modules)


def packed(data, tool):
    return packed_once(data, tuple(tool)) if tool else data


# Most hosts of the tests have the same initramfs.
@functools.lru_cache(maxsize=32)
def packed_once(data, tool):
    return subprocess.run(tool, input=data, check=True, capture_output=True).stdout


class System:
    """Two kernels, GRUB that starts the newer one, and the driver "sample" on both."""

    def __init__(self, tree):
        self.tree = tree
        self.path = tree.path
        for kernel in (OLD, NEW):
            self.kernel(kernel, index=False)  # install() makes it
            self.install(kernel)
        self.running(OLD)
        tree.put("proc/cmdline", "root=UUID=42 ro quiet\n")  # as the menu has it
        self.driver("sample")
        tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD]))
        tree.put("boot/grub/grubenv", grubenv())

    def kernel(self, release, config="CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\n",
               index=True):  # fmt: skip
        self.tree.put(f"boot/vmlinuz-{release}", bzimage(release))
        self.tree.put(f"boot/config-{release}", config)
        self.initramfs(release, {})
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            self.tree.put(f"lib/modules/{release}/{name}")
        if index:
            self.depmod(release)

    def depmod(self, release):
        subprocess.run(["depmod", "-b", self.path, release], check=True)

    def running(self, release):
        self.tree.put("proc/sys/kernel/osrelease", release + "\n")

    def module_file(self, release, name="sample"):
        return self.path / f"lib/modules/{release}/updates/dkms/{name}.ko"

    def install(self, release, name="sample", sign=None, data=None, **kwargs):
        """Put a module for RELEASE in place, signed by the pair SIGN."""
        path = self.tree.put(
            f"lib/modules/{release}/updates/dkms/{name}.ko",
            data or module_bytes(release, name=name, **kwargs),
        )
        if sign:
            self.sign(path, sign)
        self.depmod(release)
        return path

    def sign(self, path, pair):
        result = self.tree.run("sign", "--key", pair.key, "--cert", pair.cert, path)
        assert result.code == 0, result.text

    def remove(self, release, name="sample"):
        self.module_file(release, name).unlink()
        self.depmod(release)

    def driver(self, name, text=None):
        self.tree.put(f"usr/lib/kmodkeep/drivers.d/{name}.conf",
                      text or f"modules = {name}\ndkms = {name}\n")

    def packages(self, **states):
        """What dpkg thinks of packages: {name with underscores: state}."""
        self.tree.put("var/lib/dpkg/status", "".join(
            f"Package: {name.replace('_', '-')}\nStatus: install ok {state}\nVersion: 1\n"
            "Architecture: amd64\nMaintainer: x\nDescription: x\n\n"
            for name, state in states.items()
        ))  # fmt: skip

    def loaded(self, name, srcversion):
        self.tree.put(f"sys/module/{name}/srcversion", srcversion + "\n")

    def initramfs(self, release, files, tool=("gzip", "-n"), before=b"", inside=None, links=()):
        """FILES are modules, below the folder of RELEASE; INSIDE are other files, by their whole path."""
        named = {f"usr/lib/modules/{release}/{name}": data for name, data in files.items()}
        index = {f"usr/lib/modules/{release}/modules.dep.bin": indexed(files)}
        archive = cpio({"etc/fstab": b"/dev/vda1 /\n", **index, **named, **(inside or {})}, links)
        self.tree.put(f"boot/initrd.img-{release}", before + packed(archive, tool))

    def no_initramfs(self):
        """As with drivers that are all built in: no kernel has one."""
        for path in self.path.glob("boot/initrd.img-*"):
            path.unlink()

    def digest(self):
        """Names and contents of all files, to see that nothing was written."""
        sha = hashlib.sha256()
        for path in sorted(p for p in self.path.rglob("*") if p.is_file()):
            sha.update(str(path).encode() + path.read_bytes())
        return sha.hexdigest()
