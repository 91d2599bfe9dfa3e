# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel update costs with a driver of dkms alone, and with kmodkeep as its keeper.

    python3 -m bench.lifecycle [--times 3] [--out build/bench/lifecycle.json] [--keep docs/bench]

Both are throw-away copies of one Debian 12, with the same driver of the archive: real apt,
dkms, initramfs-tools and kernel packages, no kernel started. Where it is kept, its dkms.conf
calls kmodkeep's hooks, which sign and verify what was built, and the guard then judges each
kernel, its initramfs included, by a firmware and a boot menu that are files. Counted are the
processes that a step starts, their processor seconds, and the time that passes; of some runs
the least is taken. Exits 0 if each limit is kept.
"""

import argparse
import contextlib
import json
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.guest import TOP
from tests.lib.cache import progress, say
from tests.lib.kernels import KERNELS, kernel
from tests.packaging.target import Target
from tests.packaging.variants import packages
from tests.qemu import esp
from tests.unit.kmodkeep.host import GLOBAL, SHIM, siglist
from tests.unit.kmodkeep.system import grub_cfg, grubenv

SUITE = "bookworm"
DRIVER = "v4l2loopback"
PEERS = ["v4l2loopback-dkms", "lttng-modules-dkms"]

SHARE = 0.20  # of what dkms itself needs to build and install: all that kmodkeep adds
WARM_MS, COLD_MS = 50, 3000  # doctor, with five kernels

WARM_RUNS, COLD_RUNS = 60, 3
FIRST_AGAIN = 300  # RESERVED_PIDS of the kernel


class Measured(Target):
    """A system in which commands are measured."""

    def started(self):
        """The number of the newest process or thread: they are given one after the other."""
        return int(self.run(["sh", "-c", "echo $$"]).stdout)

    def measure(self, command):
        """Run COMMAND: {processes, cpu_s, wall_s}."""
        before = self.started()
        used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        self.run(command)
        wall, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        after = self.started()
        if after <= before:  # they begin anew, but not with those that are the kernel's
            after += int(Path("/proc/sys/kernel/pid_max").read_text("ascii")) - FIRST_AGAIN
        figures = {"processes": after - before - 1, "cpu_s": cpu, "wall_s": wall}
        say(f"bench: {' '.join(command[:2])}: {figures['processes']} processes, {cpu:.2f} s of "
            f"processors, {wall:.2f} s")  # fmt: skip
        return figures


def least(runs):
    """The least of each figure of RUNS: what disturbs them only adds."""
    return {name: min(run[name] for run in runs) for name in runs[0]}


@contextlib.contextmanager
def modules_on_disk(system):
    """The modules of SYSTEM are in a folder of a disk, as those of a host: of an overlay nobody could
    tell what of it is there after a boot.
    """
    folder = "usr/lib/modules"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as plain:
        subprocess.run(["cp", "-a", f"{system.path / folder}/.", plain], check=True)
        disk = subprocess.run(["findmnt", "-nvo", "SOURCE", "-T", plain], check=True, capture_output=True,
                              text=True).stdout.strip()  # fmt: skip
        system.write("/etc/fstab", f"{disk} /{folder} auto x-initrd.mount 0 0\n")
        subprocess.run(["mount", "--bind", plain, system.path / folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", system.path / folder], check=True)


def vendor_certificate():
    """DER of the authority that is built into the distribution's shim, which it lists among the MOKs."""
    with tempfile.NamedTemporaryFile() as section:
        subprocess.run(["objcopy", "-O", "binary", "-j", ".vendor_cert", esp.signed_files() / esp.SHIM, section.name],
                       check=True)  # fmt: skip
        data = Path(section.name).read_bytes()
    size, _, at, _ = struct.unpack_from("<4I", data)
    return data[at : at + size]


def keep_driver(system):
    """Have kmodkeep keep the driver in SYSTEM: its hooks, and a firmware that knows the key."""
    source = next((system.path / "usr/src").glob(f"{DRIVER}-*"))
    with open(source / "dkms.conf", "a", encoding="utf-8") as conf:
        for name, hook in (("POST_BUILD", "dkms-post-build"), ("PRE_INSTALL", "dkms-pre-install")):
            shutil.copy2(TOP / "src" / hook, source)
            conf.write(f'{name}="{hook} ${{kernelver}} ${{arch}}"\n')
    system.write(f"/etc/kmodkeep/drivers.d/{DRIVER}.conf",
                 f"modules = {DRIVER}\ndkms = {DRIVER}\ninitramfs = no\n")  # fmt: skip
    variables = system.path / "sys/firmware/efi/efivars"
    variables.mkdir(parents=True)
    certificate = (system.path / "var/lib/kmodkeep/keys/signing.der").read_bytes()
    (variables / f"MokListRT-{SHIM}").write_bytes(siglist(vendor_certificate(), certificate))
    (variables / f"SecureBoot-{GLOBAL}").write_bytes(b"\6\0\0\0\1")


def guard_anew(system, release, guard):
    """Measure GUARD where the initramfs of RELEASE is new, as an update leaves it."""
    known = system.path / "var/cache/kmodkeep/initramfs.json"
    before = known.read_bytes()
    (system.path / f"boot/initrd.img-{release}").touch()
    figures = system.measure(guard)
    assert known.read_bytes() != before, "the initramfs was not read again"
    return figures


def check_kept(system, release):
    """The guard has found the driver good for RELEASE, which boots next: else it did less."""
    state = json.loads((system.path / "var/lib/kmodkeep/state.json").read_text("utf-8"))
    seen = state["doctor"]
    assert seen["next_boot"]["kernel"] == release and state["safe"] == "yes", state
    (finding,) = [f for f in seen["findings"] if (f["module"], f["kernel"]) == (DRIVER, release)]
    assert finding["verdict"] == "ok" and finding["signer"] and not finding["waived"], finding
    assert finding["initramfs_copy"] in ("none", "same"), finding


def update(kept, times):
    """Measure the steps of a kernel update, with kmodkeep if KEPT: {step: figures}."""
    with Measured(SUITE) as system, modules_on_disk(system):
        release = next(k for k in system.kernels if k.startswith("6.1."))
        # The update is to come: until then there is no kernel that dkms builds for.
        system.apt("purge", "linux-headers-amd64", *[f"linux-headers-{k}" for k in system.kernels])
        headers = f"linux-headers-{release}"
        if kept:
            system.install([packages(SUITE)["kmodkeep"]])
            system.make_key()
        system.apt("install", f"{DRIVER}-dkms", "initramfs-tools")
        if kept:
            keep_driver(system)
        image = f"linux-image-{release}"
        system.apt("--download-only", "install", image, headers)
        steps = {}
        with progress(f"bench: a kernel update {'with' if kept else 'without'} kmodkeep"):
            steps["update"] = system.measure(["apt-get", "-q", "-y", "--no-install-recommends",
                                              "install", image, headers])  # fmt: skip
        version, *_ = next(iter(system.dkms(DRIVER)))
        assert (version, release, "installed") in system.dkms(DRIVER), system.dkms(DRIVER)
        module = f"{DRIVER}/{version}"
        builds = []
        for number in range(times):
            with progress(f"bench: dkms {number + 1} of {times}"):
                system.run(["dkms", "remove", module, "-k", release])
                builds.append(system.measure(["dkms", "install", module, "-k", release]))
        steps["dkms"] = least(builds)
        if kept:
            system.write("/boot/grub/grub.cfg", grub_cfg([release]))
            system.write("/boot/grub/grubenv", grubenv())
            # With another name for the root it is judged like a host, not like the container
            # that it is, where nothing would be done.
            guard = ["kmodkeep", "guard", "--root", "/."]
            system.run(guard)  # of the kernels that were there before, it knows the initramfs
            steps["guard"] = least([guard_anew(system, release, guard) for _ in range(times)])
            check_kept(system, release)
            steps["doctor"] = doctor(system, release)
        return steps


def doctor(system, installed):
    """Milliseconds of `kmodkeep doctor` on five kernels, warm and after the caches were dropped."""
    for name in KERNELS:
        release = kernel(name).release
        if release != installed:
            modules = system.path / "lib/modules" / release
            shutil.copytree(kernel(name).modules, modules, symlinks=True, dirs_exist_ok=True)
            system.run(["depmod", release])
    count = len(list((system.path / "lib/modules").glob("*/modules.dep")))
    assert count >= 5, f"only {count} kernels"

    def least_ms(times):
        # Some of these kernels lack the driver, hence 1.
        ask = "kmodkeep doctor --all --json --root /. >/dev/null || [ $? = 1 ]"
        loop = f"for i in $(seq {times}); do time {{ {ask}; }} || exit; done"
        text = system.run(["bash", "-c", f"TIMEFORMAT=%R; {loop}"]).stdout
        return min(float(line) * 1000 for line in re.findall(r"^\d+\.\d+$", text, re.M))

    least_ms(1)
    warm = least_ms(WARM_RUNS)
    cold = []
    for _ in range(COLD_RUNS):
        subprocess.run("sync; echo 3 >/proc/sys/vm/drop_caches", shell=True, check=True)
        cold.append(least_ms(1))
    return {"kernels": count, "warm_ms": warm, "cold_ms": min(cold)}


def sizes():
    """{package: {"download", "installed"}} in bytes, ours and those of the archive."""
    found = {}
    for name, deb in packages(SUITE).items():
        text = subprocess.run(["dpkg-deb", "-f", deb, "Installed-Size"], capture_output=True,
                              text=True, check=True).stdout  # fmt: skip
        found[name] = {"download": deb.stat().st_size, "installed": int(text) << 10}
    with Target(SUITE) as system:
        for name in PEERS:
            text = system.run(["apt-cache", "show", "--no-all-versions", name]).stdout
            fields = dict(re.findall(r"^(Size|Installed-Size): (\d+)$", text, re.M))
            found[name] = {"download": int(fields["Size"]),
                           "installed": int(fields["Installed-Size"]) << 10}  # fmt: skip
    return found


def verdict(result):
    """Lines of (what, figure, limit, is it kept)."""
    kept, dkms = result["kept"], result["alone"]["dkms"]["cpu_s"]
    added = kept["dkms"]["cpu_s"] - dkms + kept["guard"]["cpu_s"]
    looked = kept["doctor"]
    return [
        ("kmodkeep's share beyond dkms's own", added / dkms, SHARE, added <= SHARE * dkms),
        ("doctor, warm, ms", looked["warm_ms"], WARM_MS, looked["warm_ms"] <= WARM_MS),
        ("doctor, cold, ms", looked["cold_ms"], COLD_MS, looked["cold_ms"] <= COLD_MS),
    ]


def show(result):
    """Print the tables, and what became of each limit."""
    alone, kept = result["alone"], result["kept"]
    print(f"{'a kernel update, ' + DRIVER:30}{'dkms alone':>32}{'kept by kmodkeep':>32}")
    for step, title in (("update", "apt install of the kernel"), ("dkms", "dkms install in it"),
                        ("guard", "kmodkeep guard")):  # fmt: skip
        cells = "".join(
            f"{s['cpu_s']:8.2f} s cpu{s['wall_s']:8.2f} s{s['processes']:6} pr."
            if (s := steps.get(step)) else " " * 32
            for steps in (alone, kept)
        )  # fmt: skip
        print(f"{title:30}{cells}")
    print(f"\n{'package':34}{'download':>14}{'installed':>14}")
    for name, size in sorted(result["packages"].items()):
        print(f"{name:34}{size['download'] / 1024:10.0f} KiB{size['installed'] / 1024:10.0f} KiB")
    print()
    for what, figure, limit, good in verdict(result):
        print(f"{'ok  ' if good else 'FAIL'} {what}: {figure:.2f}, limit {limit}")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=TOP / "build/bench/lifecycle.json")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a directory for results that are committed")
    options = parser.parse_args()
    result = {"alone": update(False, options.times), "kept": update(True, options.times),
              "packages": sizes()}  # fmt: skip
    show(result)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written: {options.out}")
    if options.keep:
        shutil.copy(options.out, options.keep)
        print(f"kept in {options.keep}")
    return 0 if all(good for *_, good in verdict(result)) else 1


if __name__ == "__main__":
    sys.exit(main())
