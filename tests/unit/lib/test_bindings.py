# SPDX-License-Identifier: GPL-2.0-or-later
"""bindings/go and bindings/rust have the header's numbers; tests/bindings compiles them."""

import re
import subprocess

import pytest

from tests.unit.lib.tools import TOP

# What the header calls them, and what the bindings do.
NAMES = {
    "FLIGHTREC_RECORD_MIN": ("headerMin", "HEADER_MIN"),
    "sizeof(struct flightrec_record)": ("headerSize", "HEADER_SIZE"),
    "FLIGHTREC_INFO_MIN": ("infoSize", "INFO_SIZE"),
    "FLIGHTREC_PAYLOAD_MAX": ("PayloadMax", "PAYLOAD_MAX"),
    "FLIGHTREC_NAME_MAX": ("nameMax", "NAME_MAX"),
    "FLIGHTREC_ABI_VERSION": ("abiVersion", "ABI_VERSION"),
    "FLIGHTREC_ORIGIN_KERNEL": ("originKernel", "ORIGIN_KERNEL"),
    "FLIGHTREC_F_INTERRUPT": ("flagInterrupt", "FLAG_INTERRUPT"),
    "_IOC(_IOC_READ, 0xf1, 0, FLIGHTREC_INFO_MIN)": ("iocGetInfo", "IOC_GET_INFO"),
    "FLIGHTREC_IOC_SEEK_SEQ": ("iocSeekSeq", "IOC_SEEK_SEQ"),
    "FLIGHTREC_IOC_SEEK_TIME": ("iocSeekTime", "IOC_SEEK_TIME"),
}


def of_the_header(directory):
    source = directory / "numbers.c"
    lines = "".join(f'printf("%lu\\n", (unsigned long)({name}));' for name in NAMES)
    source.write_text(f"#include <linux/flightrec.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\nint main(void) {{ {lines} return 0; }}\n")
    (directory / "include").mkdir()
    (directory / "include/linux").symlink_to(TOP / "src/uapi")
    subprocess.run(["gcc", "-idirafter", directory / "include", "-o", directory / "numbers", source], check=True)
    printed = subprocess.run([directory / "numbers"], capture_output=True, check=True, text=True).stdout
    return [int(number) for number in printed.split()]


def test_one_version():
    version = re.search(r'^PACKAGE_VERSION="(.*)"', (TOP / "dkms.conf").read_text(), re.M)[1]
    assert re.search(r'^version = "(.*)"', (TOP / "bindings/rust/Cargo.toml").read_text(), re.M)[1] == version


@pytest.mark.parametrize("language, path, constant", [
    (0, "bindings/go/flightrec.go", r"^\t(\w+) += ([^/\n]+)"),
    (1, "bindings/rust/flightrec.rs", r"^(?:pub )?const (\w+): \w+ = ([^;]+);"),
])  # fmt: skip
def test_the_numbers_are_those_of_the_header(language, path, constant, tmp_path):
    known = {}
    for name, value in re.findall(constant, (TOP / path).read_text(), re.M):
        value = value.replace(" as c_ulong", "").strip()
        if re.fullmatch(r"[\w |<()]+", value) and all(word in known for word in re.findall(r"\b[A-Za-z]\w*", value)):
            known[name] = eval(value, {}, known)  # of numbers and these names
    assert [known[names[language]] for names in NAMES.values()] == of_the_header(tmp_path)
