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
from html import escape
from pathlib import Path

from . import build, cache, package, page, roots
from .states import Usage, plain

SCHEMA = 1
# Releases of Ubuntu's kernels and of others are the same on each.
MACHINE = os.uname().machine
# verdict -> (word of the page, its class)
VERDICTS = {
    "builds": ("builds", "yes"),
    "does-not-build": ("does not build", "no"),
    "not-for-this-kernel": ("excluded by the driver", ""),
    "cannot-tell": ("cannot tell", "unsure"),
}
STYLE = page.STYLE.replace("max-width:60rem", "max-width:90rem") + (
    "th,td{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #8886}"
    "td.no{border-left:.3rem solid #b3261e;padding-left:.5rem}td.unsure{border-left:.3rem solid #b26a00;padding-left:.5rem}"
    "td small{display:block;overflow-wrap:anywhere;max-width:30rem}"
)


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


def html(doc):
    head = "".join(f"<th scope=col>{escape(word)}" for word in doc["kernels"])
    rows = []
    for driver in sorted(doc["drivers"], key=lambda one: one["driver"]):
        cells = []
        for word in doc["kernels"]:
            found = driver["kernels"][word]
            text, kind = VERDICTS[found["verdict"]]
            error = f"<small>{escape(found['error'])}</small>" if found["error"] else ""
            cells.append(f'<td class="{kind}">{text}{error}')
        name = escape(f"{driver['driver']} {driver['version'] or ''}".strip())
        rows.append(f"<tr><th scope=row>{name}{''.join(cells)}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Drivers and kernels</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n<h1>Which driver builds for which kernel</h1>\n<p>As of {escape(doc['time'])}.</p>\n"
        f"<table><thead><tr><th scope=col>Driver{head}<tbody>\n" + "\n".join(rows) + "\n</table>\n"
    )


# ---- the verb


def add_options(parser):
    parser.add_argument("--kernel", metavar="SUITE:RELEASE[=VERSION]", action="append", required=True,
                        help="a kernel's package in a suite; once for each")  # fmt: skip
    parser.add_argument("--html", metavar="FILE", help="a page of the same, without scripts or links")
    build.add_root_options(parser)
    parser.add_argument("drivers", metavar="SOURCE", nargs="+",
                        help="a folder with a dkms.conf, or a Debian package that has one in /usr/src")  # fmt: skip


def run(options):
    """0: all build, or are excluded; 1: one does not; 3: of one it cannot be told."""
    kernels = [roots.Kernel(word) for word in options.kernel]
    radar = Radar(build.builder(options), options.cache)
    os.nice(19)
    with tempfile.TemporaryDirectory(prefix="kmodkeep-radar-") as scratch:
        doc = radar.run([Source(path, scratch) for path in options.drivers], kernels)
    print(json.dumps(doc, indent=1))
    if options.html:
        new = Path(f"{options.html}.new")
        new.write_text(html(doc), encoding="utf-8")
        new.replace(options.html)
    verdicts = {found["verdict"] for driver in doc["drivers"] for found in driver["kernels"].values()}
    return 3 if "cannot-tell" in verdicts else 1 if "does-not-build" in verdicts else 0
