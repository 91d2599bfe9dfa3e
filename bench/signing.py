# SPDX-License-Identifier: GPL-2.0-or-later
"""What signing all modules of a host again costs: 5 kernels, 10 drivers, each compression.

    /usr/bin/python3 -m bench.signing

Exit code 1: one of them cost more than LIMIT seconds beyond the RSA operations.

The modules are one that was built from C with debug information, of 0.4 MiB.  Processor
time, since other work on the machine does not change it; beside it what the RSA
operations alone cost, by openssl's own count.
"""

import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
KERNELS, DRIVERS = 5, 10
LIMIT = 3
PACKERS = {"": None, ".gz": ["gzip", "-n"], ".xz": ["xz", "--check=crc32"], ".zst": ["zstd", "-q", "--rm"]}


def cpu_of(command):
    """Seconds of processor time of COMMAND."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rsa_seconds():
    """Of one signature with 2048 bits."""
    said = subprocess.run(["openssl", "speed", "-seconds", "2", "rsa2048"], check=True, capture_output=True,
                          text=True).stdout  # fmt: skip
    return float(re.search(r"rsa +2048 bits +([0-9.]+)s", said)[1])


def module(path):
    """A module of about 0.4 MiB, most of it what debug information is like."""
    source = path.with_suffix(".c")
    functions = "\n".join(
        f"struct s{n} {{ int a{n}; char *b{n}; struct s{n} *next; }}; "
        f"int f{n}(struct s{n} *s) {{ return s->next ? s->a{n} * {n} : (int)(long)s->b{n}; }}"
        for n in range(1150))  # fmt: skip
    info = ["name=bench", "vermagic=6.1.0-30-amd64 SMP "]
    entries = "\n".join(f'static const char i{n}[] __attribute__((section(".modinfo"), used)) = "{text}";'
                        for n, text in enumerate(info))  # fmt: skip
    source.write_text(f"{entries}\n{functions}\n")
    subprocess.run(["gcc", "-O2", "-g", "-c", source, "-o", path], check=True)


def measure(directory, program):
    """Print a line for each compression; the worst of the seconds beyond RSA."""
    worst = 0
    key, cert = directory / "key", directory / "cert"
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench",
                    "-keyout", key, "-outform", "DER", "-out", cert], check=True, capture_output=True)  # fmt: skip
    key.chmod(0o600)
    plain = directory / "bench.ko"
    module(plain)
    count, rsa = KERNELS * DRIVERS, rsa_seconds()
    print(f"{count} modules of {plain.stat().st_size} bytes; RSA alone: {count * rsa:.2f} s")
    for suffix, packer in PACKERS.items():
        files = []
        for n in range(count):
            folder = directory / f"k{n % KERNELS}{suffix}"
            folder.mkdir(exist_ok=True)
            files.append(folder / f"m{n}.ko")
            shutil.copy(plain, files[-1])
        if packer:
            subprocess.run([*packer, *files], check=True)
            files = [Path(f"{f}{suffix}") for f in files]
        seconds = cpu_of([program, "sign", "--key", key, "--cert", cert, *files])
        worst = max(worst, seconds - count * rsa)
        print(f".ko{suffix:5} {seconds:6.2f} s, beyond RSA {seconds - count * rsa:6.2f} s")
    return worst


def main():
    """Build kmodkeep as it is shipped, and measure; the exit code."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        subprocess.run(["make", "-s", "-C", TOP / "kmodkeep", f"BUILDDIR={out}/build"], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        return int(measure(out, out / "build/kmodkeep") > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
