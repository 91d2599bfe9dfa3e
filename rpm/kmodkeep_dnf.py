# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmodkeep's plug-in of dnf 4 and its action of dnf5 have in common.

A package kmod-DRIVER of "kmodkeep fleet package" provides kmodkeep-hold(KERNEL) = VERSION:
it has modules for that package of the kernel, and conflicts with later ones. Which kernel
waits for which driver is said, and kept for "kmodkeep status" and as a metric.
"""

import contextlib
import glob
import os
import re
import subprocess
import tempfile
import time

WAITS = "var/lib/kmodkeep/kernel-waits"
GUARD = "etc/kmodkeep/guard.conf"
HOLD = re.compile(r"kmodkeep-hold\(([A-Za-z0-9._+-]+)\) = ([A-Za-z0-9._+~^:-]+)")
METRIC = "kmodkeep_kernel_wait_since_seconds"
PATIENCE = 300  # seconds that a script of a package may take


def up_to(reach, compare):
    """kernel -> the latest version that all drivers can have modules for.

    REACH: (package, packager) -> kernel -> the latest version that this driver can have modules for.
    COMPARE: of two versions, as rpm compares them.
    """
    limits = {}
    for mine in reach.values():
        for kernel, version in mine.items():
            if kernel not in limits or compare(version, limits[kernel]) < 0:
                limits[kernel] = version
    return limits


def waiting(reach, kernel, limit, newest):
    """[(package, kernel, version it stays at, newest version, packager)] of the drivers that KERNEL waits for."""
    if newest == limit:
        return []
    # Free text, which becomes part of a line, here and in what is kept.
    return [(name, kernel, limit, newest, "".join(c if c.isprintable() else "?" for c in packager or "nobody who is named"))
            for (name, packager), mine in reach.items() if mine.get(kernel) == limit]  # fmt: skip


def tell(root, waits, without, say):
    """SAY which kernel waits, and keep it below ROOT. WITHOUT: how dnf removes a driver and nothing else."""
    since = known(os.path.join(root, WAITS))
    lines = [(since.get(package) or int(time.time()), package, *rest) for package, *rest in waits]
    for when, package, kernel, stays, newest, packager in lines:
        day = time.strftime("%F %H:%M UTC", time.gmtime(when))
        say(f"kmodkeep: {kernel} stays at {stays}: {newest} waits for {package}, since {day}. It comes from {packager}. "
            f"Next: wait; or go without the driver: {without} {package}, then dnf upgrade")  # fmt: skip
    if os.geteuid() == 0:
        try:
            keep(os.path.join(root, WAITS), "".join(" ".join(map(str, line)) + "\n" for line in lines))
            write_metrics(os.path.join(root, GUARD), root, lines)
        except OSError as error:
            say(f"kmodkeep: which kernel waits was not kept: {error}")


def refusal(name, file, say):
    """The error where the %pre of package NAME in FILE, one of "kmodkeep fleet package", refuses it; else None."""
    asked = run(["rpm", "-qp", "--nosignature", "--qf", "%{PREIN}", file])
    if asked and (asked.returncode or "kmodkeep verify" not in asked.stdout):
        return None
    # The script has one of the modules; all of them can be asked about here.
    with tempfile.TemporaryDirectory(prefix="kmodkeep-") as folder:
        where = modules(file, folder)
        if not where:
            say(f"kmodkeep: of the modules of {name} only the smallest was asked about: it could not be unpacked. Next: dnf install cpio")
        done = asked and run(["sh", "-s"], asked.stdout, {**os.environ, "KMODKEEP_MODULES": where})
    if not done:
        say(f"kmodkeep: whether this host trusts the signer of {name} was not told")
        return None
    # It refuses with 1; other ends are none of its own.
    if done.returncode != 1:
        return None
    return f"{done.stderr.strip()}\nkmodkeep: nothing was changed. Next: what is named above; or without it: --exclude={name}"


def modules(package, folder):
    """Where the modules of the file PACKAGE are, below FOLDER; "" if they could not be unpacked."""
    try:
        with subprocess.Popen(["rpm2cpio", package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source:
            done = subprocess.run(["cpio", "-id", "--quiet", "--no-absolute-filenames"], cwd=folder, stdin=source.stdout, capture_output=True,
                                  check=False, timeout=PATIENCE)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = glob.glob(os.path.join(folder, "usr/lib/modules/*/updates/prebuilt"))
    return found[0] if len(found) == 1 and done.returncode == 0 and source.returncode == 0 else ""


def run(command, text=None, env=None):
    """What COMMAND gave, or None if it is not there or did not end in time."""
    try:
        return subprocess.run(command, input=text, capture_output=True, check=False, text=True, errors="replace", timeout=PATIENCE, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return None


def known(path):
    """{package: since when its kernel waits} of the last time."""
    found = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(path, encoding="utf-8") as file:
            for line in file:
                words = line.split(" ", 2)
                if len(words) == 3 and words[0].isdigit():
                    found[words[1]] = int(words[0])
    return found


def keep(path, text):
    """TEXT into PATH, in one step; nothing is made where there is nothing to say."""
    if not text and not os.path.exists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # The folder of metrics may be another user's, who must not lead this elsewhere by a link.
    fd, new = tempfile.mkstemp(prefix=f"{os.path.basename(path)}.", dir=os.path.dirname(path))
    try:
        with open(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o644)  # readers of status and metrics are not root
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def write_metrics(conf, root, lines):
    """As kernel-hold does it where apt is."""
    try:
        with open(conf, encoding="utf-8") as file:
            found = re.findall(r"^\s*prometheus\s*=\s*(\S+)\s*$", file.read(), re.M)
    except (FileNotFoundError, UnicodeDecodeError):
        return
    if not found or not os.path.isdir(os.path.join(root, os.path.dirname(found[-1]).lstrip("/"))):
        return
    text = f"# HELP {METRIC} When the kernel began to wait for this driver.\n# TYPE {METRIC} gauge\n" + "".join(
        f'{METRIC}{{package="{package}",kernel="{kernel}",stays="{stays}",waits="{newest}"}} {since}\n'
        for since, package, kernel, stays, newest, _ in lines
    )
    keep(os.path.join(root, found[-1].removesuffix(".prom").lstrip("/") + "-waits.prom"), text)
