# SPDX-License-Identifier: GPL-2.0-or-later
"""Which driver builds for which kernel, before anybody installs either.

What was built once is remembered by the content of the source and the root, so that a run that was
ended goes on, and one with nothing new takes no time.  What could not be told is asked again.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from . import build, cache, history, package, roots
from .states import Usage, plain

SCHEMA = 1
# Releases of Ubuntu's kernels and of others are the same on each.
MACHINE = os.uname().machine


class Source:
    """A folder with a dkms.conf, or a package that has one."""

    def __init__(self, path, scratch):
        self.path = Path(path)
        self.version = None
        if self.path.suffix == ".deb":
            target = Path(tempfile.mkdtemp(dir=scratch))
            about = package.fields(self.path)
            self.name, self.version = about["Package"], about["Version"]
            package.extract(self.path, target)
            found = sorted(target.glob("usr/src/*/dkms.conf"))
            if len(found) != 1:
                raise Usage(f"{path}: has {len(found)} files usr/src/*/dkms.conf, and not one")
            self.folder = found[0].parent
        else:
            self.folder = self.path
            self.name = self.path.resolve().name
            if not (self.folder / "dkms.conf").is_file():
                raise Usage(f"{path}: has no dkms.conf. Next: the folder of a driver's source, or a package of one")
        self.digest = cache.digest_tree(self.folder)


class Radar:
    def __init__(self, builder, base):
        self.builder = builder
        self.remembered = Path(base, "radar")
        self.remembered.mkdir(parents=True, exist_ok=True)

    def ask(self, source, kernel):
        """(what is known of SOURCE on KERNEL, was it built now?)"""
        try:
            root = self.builder.roots.get(kernel)
        except (roots.NoSuchKernel, OSError) as error:
            return {"verdict": "cannot-tell", "error": plain(getattr(error, "strerror", None) or error),
                    "kernel_package_version": None, "machine": MACHINE}, True  # fmt: skip
        file = self.remembered / f"{cache.digest(source.digest, root.name, MACHINE)}.json"
        try:
            return json.loads(file.read_text(encoding="utf-8")), False
        except (FileNotFoundError, ValueError):
            pass  # never built, or cut when the disk was full
        started = time.time()
        found = {"verdict": "builds", "error": None, "modules": [], "built": int(started),
                 "kernel_package_version": roots.packages(root)[kernel.headers], "machine": MACHINE}  # fmt: skip
        with tempfile.TemporaryDirectory(dir=self.remembered) as directory:
            try:
                manifest = self.builder.build(source.folder, kernel, Path(directory, "built"))
                found["modules"] = sorted(one["name"] for one in manifest["modules"])
            except build.Failed as failed:
                found.update(verdict=failed.verdict, error=plain(failed))
        found["seconds"] = round(time.time() - started, 1)
        if found["verdict"] != "cannot-tell":
            new = file.with_suffix(".new")
            new.write_text(json.dumps(found), encoding="utf-8")
            new.replace(file)
        return found, True

    def run(self, sources, kernels):
        """The document, and each answer on standard error as it comes."""
        drivers = [{"driver": one.name, "version": one.version, "source": one.digest, "kernels": {}} for one in sources]
        total, done, built, started = len(sources) * len(kernels), 0, 0, time.monotonic()
        for kernel in kernels:  # a root is at hand for all drivers
            for source, row in zip(sources, drivers):
                found, now = self.ask(source, kernel)
                row["kernels"][kernel.word] = found
                done, built = done + 1, built + now
                each = (time.monotonic() - started) / built if built else 0
                print(f"{done}/{total} {source.name} on {kernel.word}: {found['verdict']}"
                      f"{'' if now else ' (known)'}, {each * (total - done) / 60:.0f} minutes left at most",
                      file=sys.stderr, flush=True)  # fmt: skip
        return {"schema": SCHEMA, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "kernels": [one.word for one in kernels], "drivers": drivers}  # fmt: skip


# ---- the verb


def add_options(parser):
    parser.add_argument("--kernel", metavar="SUITE:RELEASE[=VERSION]", action="append", required=True,
                        help="a kernel's package in a suite; once for each")  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="a page of the same, without scripts or links")
    parser.add_argument("--history", metavar="DIR",
                        help="keeps a document for each day, and says what changed since the day before")  # fmt: skip
    parser.add_argument("--prometheus", metavar="FILE", help="metrics of the same, for node exporter's folder")
    build.add_root_options(parser)
    parser.add_argument("drivers", metavar="SOURCE", nargs="+",
                        help="a folder with a dkms.conf, or a Debian package that has one in /usr/src")  # fmt: skip


def run(options):
    """0: all build, or are excluded; 1: one does not; 3: of one it cannot be told."""
    kernels = [roots.Kernel(word) for word in options.kernel]
    if options.history:
        Path(options.history).mkdir(parents=True, exist_ok=True)
        history.read(options.history)  # hours are not spent before it is seen that it cannot be kept
    radar = Radar(build.builder(options), options.cache)
    os.nice(19)
    with tempfile.TemporaryDirectory(prefix="kmodkeep-radar-") as scratch:
        doc = radar.run([Source(path, scratch) for path in options.drivers], kernels)
    runs = history.read(options.history) if options.history else []
    if options.history:
        history.compare(doc, runs)
    print(json.dumps(doc, indent=1))
    if options.history:
        history.keep(doc, options.history)
    if options.html:
        history.write(options.html, history.html(doc, runs))
    if options.prometheus:
        history.write(options.prometheus, history.metrics(doc, int(time.time())))
    verdicts = set(history.verdicts(doc).values())
    return 3 if "cannot-tell" in verdicts else 1 if "does-not-build" in verdicts else 0
