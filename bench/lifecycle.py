# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel update costs with a driver of dkms alone, and with kmodkeep as its keeper.

    python3 -m bench.lifecycle [--times 3] [--out build/bench/lifecycle.json] [--keep docs/bench]

Both are measured in one guest, a Debian 12 that boots with Secure Boot on: real apt, dkms,
initramfs-tools, GRUB and the kernel of backports, with a driver of the archive. First dkms alone
has it; the kernel is removed again, and kmodkeep is installed: the driver's dkms.conf calls its
hooks, which sign and verify what was built, and the guard judges what boots next, the initramfs
included. Counted are the processes that a step starts, their processor seconds, and the time that
passes; of some runs the least is taken. What `doctor` takes on five kernels is milliseconds of a
real processor, so it is measured in a copy of that system outside, as guests may be emulated.
Exits 0 if each limit is kept.
"""

import argparse
import base64
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.guest import TOP
from tests.lib.accel import accel
from tests.lib.cache import progress, say
from tests.lib.kernels import KERNELS, kernel
from tests.packaging.target import Target
from tests.packaging.variants import packages
from tests.qemu import aptrepo, image, variables
from tests.qemu.esp import SUITE
from tests.qemu.secureboot import FIXED, OVERLAY, SecureBootGuest
from tests.secureboot import cells
from tests.unit.kmodkeep.host import GLOBAL, SHIM, siglist
from tests.unit.kmodkeep.system import grub_cfg, grubenv

DRIVER = "v4l2loopback"
PEERS = ["v4l2loopback-dkms", "lttng-modules-dkms"]

SHARE = 0.20  # of what dkms itself needs to build and install: all that kmodkeep adds
WARM_MS, COLD_MS = 50, 3000  # doctor, with five kernels

WARM_RUNS, COLD_RUNS = 60, 3
PATIENCE = 7200  # seconds; an idle machine needs a tenth
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends"
KERNEL = f"-t {aptrepo.BACKPORTS} install {' '.join(aptrepo.KERNEL_PACKAGES)}"
INSTALLED = "dpkg-query -W -f '${Package}\\n'"
DROP_IN = f"modules = {DRIVER}\ndkms = {DRIVER}\ninitramfs = no\n"

# Numbers of processes and threads are given one after the other.
MEASURED = """
newest() { sh -c 'echo $$'; }
TIMEFORMAT='%R %U %S'
before=$(newest)
{ time COMMAND </dev/null >/run/said 2>&1; } 2>/run/took || { cat /run/said; exit 1; }
after=$(newest)
echo "$(tail -n 1 /run/took) $((after - before - 1))"
"""


class Measured:
    """The guest in which commands are measured."""

    def __init__(self, guest):
        self.check = lambda command: guest.check(command, PATIENCE)

    def put(self, path, data):
        """Make the file PATH with DATA, for root alone."""
        text = base64.b64encode(data).decode()
        self.check(f"mkdir -p {Path(path).parent}; umask 077; echo {text} | base64 -d >{path}")

    def measure(self, command):
        """Run COMMAND: {processes, cpu_s, wall_s}."""
        script = MEASURED.replace("COMMAND", f"{{ {command}; }}")
        wall, user, system, processes = self.check(f"bash -c {shlex.quote(script)}").split()
        figures = {"processes": int(processes), "cpu_s": float(user) + float(system), "wall_s": float(wall)}
        say(f"bench: {command}: {processes} processes, {figures['cpu_s']:.2f} s of processors, {wall} s")
        return figures


def least(runs):
    """The least of each figure of RUNS: what disturbs them only adds."""
    return {name: min(run[name] for run in runs) for name in runs[0]}


def measured_guest(workdir):
    """The guest, not yet started, and the key that dkms signs with there, which is enrolled."""
    debs = [packages(SUITE)["kmodkeep"], *aptrepo.newer(f"{DRIVER}-dkms")]
    disk = aptrepo.write_disk(workdir / "packages.img", debs)
    guest = SecureBootGuest([(image.overlay(workdir), OVERLAY), (disk, FIXED)], workdir, name="lifecycle")
    key = cells.make_key(workdir, "good")
    variables.add(workdir / "efivars.fd", "MokList", variables.signature_list(variables.X509, [key.der]))
    return guest, key


def keep_driver(host):
    """Have kmodkeep keep the driver in the guest: its hooks in dkms.conf, and a drop-in."""
    host.check(f"{APT} install kmodkeep")
    source = host.check(f"echo /usr/src/{DRIVER}-*").strip()
    for name, hook in (("POST_BUILD", "dkms-post-build"), ("PRE_INSTALL", "dkms-pre-install")):
        host.put(f"{source}/{hook}", (TOP / "src" / hook).read_bytes())
        line = f'{name}="{hook} ${{kernelver}} ${{arch}}"'
        host.check(f"chmod 755 {source}/{hook}; echo {shlex.quote(line)} >>{source}/dkms.conf")
    host.put(f"/etc/kmodkeep/drivers.d/{DRIVER}.conf", DROP_IN.encode())


def guard_anew(host, release):
    """Measure the guard where the initramfs of RELEASE is new, as an update leaves it."""
    known = "sha256sum /var/cache/kmodkeep/initramfs.json"
    before = host.check(known)
    host.check(f"touch /boot/initrd.img-{release}")
    figures = host.measure("kmodkeep guard")
    assert host.check(known) != before, "the initramfs was not read again"
    return figures


def check_kept(host, release):
    """The guard has found the driver good for RELEASE, which boots next: else it did less."""
    state = json.loads(host.check("cat /var/lib/kmodkeep/state.json"))
    seen = state["doctor"]
    assert seen["next_boot"]["kernel"] == release and state["safe"] == "yes", state
    (finding,) = [f for f in seen["findings"] if (f["module"], f["kernel"]) == (DRIVER, release)]
    assert finding["verdict"] == "ok" and finding["signer"] and not finding["waived"], finding
    assert finding["initramfs_copy"] in ("none", "same"), finding


def update(host, kept, times):
    """Measure the steps of a kernel update, with kmodkeep if KEPT: {step: figures}.

    The kernel is gone again at the end.
    """
    before = set(host.check(INSTALLED).split())
    steps = {}
    with progress(f"bench: a kernel update {'with' if kept else 'without'} kmodkeep"):
        steps["update"] = host.measure(f"{APT} {KERNEL}")
    release = host.check("ls -v /lib/modules | tail -n 1").strip()
    version, _, state = re.search(rf"^{DRIVER}/(\S+), ({re.escape(release)}), \S+: (\w+)$",
                                  host.check("dkms status"), re.M).groups()  # fmt: skip
    assert state == "installed", state
    driver = f"{DRIVER}/{version} -k {release}"
    builds = []
    for number in range(times):
        with progress(f"bench: dkms {number + 1} of {times}"):
            host.check(f"dkms remove {driver}")
            builds.append(host.measure(f"dkms install {driver}"))
    steps["dkms"] = least(builds)
    if kept:
        host.check("kmodkeep guard")  # of the kernels that were there before, it knows the initramfs
        steps["guard"] = least([guard_anew(host, release) for _ in range(times)])
        check_kept(host, release)
    else:
        new = set(host.check(INSTALLED).split()) - before
        host.check(f"{APT} purge {' '.join(sorted(new | set(aptrepo.KERNEL_PACKAGES)))}")
    return steps


def updates(times):
    """Both updates, one after the other in one guest: {"alone": steps, "kept": steps}."""
    with tempfile.TemporaryDirectory(prefix="lifecycle-") as directory:
        guest, key = measured_guest(Path(directory))
        with guest:
            guest.wait_booted()
            host = Measured(guest)
            host.put("/var/lib/dkms/mok.key", key.key.read_bytes())
            host.put("/var/lib/dkms/mok.pub", key.der)
            host.check(aptrepo.guest_sources("flightrec", "debian", "backports"))
            host.check(f"{APT} update && {APT} install {DRIVER}-dkms")
            alone = update(host, False, times)
            keep_driver(host)
            return {"alone": alone, "kept": update(host, True, times)}


def looked_at():
    """What `doctor` takes in a copy of a Debian 12 with the driver, on this machine's processors."""
    with Target(SUITE) as system:
        release = next(k for k in system.kernels if k.startswith("6.1."))
        system.install([packages(SUITE)["kmodkeep"]])
        system.make_key()
        system.apt("install", f"{DRIVER}-dkms", "initramfs-tools", f"linux-image-{release}")
        system.write(f"/etc/kmodkeep/drivers.d/{DRIVER}.conf", DROP_IN)
        efivars = system.path / "sys/firmware/efi/efivars"
        efivars.mkdir(parents=True)
        certificate = (system.path / "var/lib/kmodkeep/keys/signing.der").read_bytes()
        (efivars / f"MokListRT-{SHIM}").write_bytes(siglist(certificate))
        (efivars / f"SecureBoot-{GLOBAL}").write_bytes(b"\6\0\0\0\1")
        system.write("/boot/grub/grub.cfg", grub_cfg([release]))
        system.write("/boot/grub/grubenv", grubenv())
        return doctor(system, release)


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
    print(f"the guest's processors: {result['processor']}")
    print(f"{'a kernel update, ' + DRIVER:30}{'dkms alone':>32}{'kept by kmodkeep':>32}")
    for step, title in (("update", "apt install of the kernel"), ("dkms", "dkms install in it"),
                        ("guard", "kmodkeep guard")):  # fmt: skip
        columns = "".join(
            f"{s['cpu_s']:8.2f} s cpu{s['wall_s']:8.2f} s{s['processes']:6} pr."
            if (s := steps.get(step)) else " " * 32
            for steps in (alone, kept)
        )  # fmt: skip
        print(f"{title:30}{columns}")
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
    result = {"processor": "emulated" if accel() != "kvm" else "KVM", **updates(options.times),
              "packages": sizes()}  # fmt: skip
    result["kept"]["doctor"] = looked_at()
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
