# SPDX-License-Identifier: GPL-2.0-or-later
"""From a module file on a host back to its sources: one line for each link, and which one is missing.

Signatures and the chain of a log are judged by kmodkeep itself; what a package says of itself is
compared with these.
"""

import hashlib
import json
import re
import subprocess
from pathlib import Path

from . import build, module, provenance
from .states import Usage, plain

MODULE_MAX = 256 * 1024 * 1024
SECONDS = 300


class Missing(Exception):
    """A link is not there, so what is behind it cannot be told."""


class Broken(Exception):
    """A link is there, and contradicts another."""


def ask(*command):
    """(exit code, standard output, last line of all), of a program that must be there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except FileNotFoundError:
        raise Missing(f"no {command[0]} here") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} took more than {SECONDS} s") from None
    lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing was said"]
    return done.returncode, done.stdout, plain(lines[-1])


class Chain:
    """What has been found so far, from the file on."""

    def __init__(self, options):
        self.options = options
        self.root = Path(options.root)
        self.package = self.folder = self.data = self.manifest = self.entry = None
        self.builders, self.sources = [], {}

    def below(self, path):
        return self.root / str(path).lstrip("/")

    def find(self, word):
        """The path, as the host has it, of a module or of a file."""
        if "/" in word or ".ko" in word:
            path = Path(word)
            if not path.is_file():
                raise Usage(f"{word}: no such file. Next: the name of a module, or the path of its file")
            try:
                return Path("/", path.resolve().relative_to(self.root.resolve()))
            except ValueError:
                raise Usage(f"{word}: is not below {self.root}") from None
        release = self.options.kernel or Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
        code, out, last = ask("modinfo", "-b", str(self.root), "-k", release, "-F", "filename", word)
        found = out.strip()
        if code or not found.startswith("/"):
            raise Usage(f"{word}: {last}. Next: --kernel RELEASE, or the path of its file")
        try:
            return Path("/", Path(found).resolve().relative_to(self.root.resolve()))
        except ValueError:
            raise Usage(f"{word}: {found} leads out of {self.root}. Next: the path of its file") from None

    def read(self):
        """file: it is a module, signed; what is before the signature counts."""
        with open(self.below(self.path), "rb") as file:
            data = file.read(MODULE_MAX + 1)
        if len(data) > MODULE_MAX:
            raise Broken("larger than a module can be")
        try:
            self.name, self.data = build.inflate(self.path.name, data)
        except build.Failed as failed:
            raise Broken(str(failed)) from None
        if not self.data.endswith(module.TRAILER):
            return "no signature at its end"
        return f"{len(self.data)} bytes, with a signature"

    def find_package(self):
        """package: dpkg or rpm says that it put the file there."""
        # On merged systems dpkg knows it by the name that its package had.
        names = dict.fromkeys([str(self.path), str(self.path).removeprefix("/usr"), f"/usr{self.path}"])
        if self.below("var/lib/dpkg/status").exists():
            for name in names:
                code, out, last = ask("dpkg-query", f"--admindir={self.below('var/lib/dpkg')}", "-S", name)
                if code > 1:
                    raise Missing(last)
                owners = re.findall(rf"^([a-z0-9.+-]+)(?::[a-z0-9]+)?: {re.escape(name)}$", out, re.M)
                if code == 0 and len(owners) == 1:
                    self.package = owners[0]
        else:
            for name in names:
                code, out, _ = ask("rpm", "--root", str(self.root.resolve()), "-qf", "--qf", "%{NAME}\\n", name)
                if code == 0 and re.fullmatch(r"[A-Za-z0-9.+_-]+\n", out):
                    self.package = out.strip()
        if not self.package:
            raise Missing("no package owns this file, so it was built or copied here")
        self.folder = self.below(provenance.FOLDER) / self.package
        return self.package

    def find_manifest(self):
        """manifest: the package's, and the file is the one that it names, plus a signature."""
        if not self.folder:
            raise Missing("without a package there is none")
        if self.data is None:
            raise Missing("the file could not be read, so there is nothing to compare with")
        try:
            _, doc = provenance.read_json(self.folder / "manifest.json")
            mine = [one for one in doc["modules"] if one["file"] == self.name]
            if len(mine) != 1:
                raise Broken(f"names {self.name} {len(mine)} times")
            entry = mine[0]
            differs = provenance.difference(self.data, entry)
            words = [doc[key] for key in ("kernel", "kernel_package", "kernel_package_version", "builder")]
            if not all(isinstance(one, str) for one in [*words, entry["sha256"]]):
                raise ValueError("a key is no text")
        except FileNotFoundError:
            raise Missing(f"{self.package} carries none") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Broken(f"cannot be read: {plain(error)}") from None
        if differs:
            raise Broken(plain(differs))
        self.manifest, self.entry = doc, entry
        return f"built for {plain(doc['kernel'])}, against {plain(doc['kernel_package'])} {plain(doc['kernel_package_version'])}"

    def need_manifest(self):
        if not self.manifest:
            raise Missing("without a manifest there is nothing to compare with")

    def count_builders(self):
        """builders: so many made the same."""
        self.need_manifest()
        names = [self.manifest["builder"]]
        for path in sorted(self.folder.glob("*.manifest.json")):
            try:
                _, doc = provenance.read_json(path)
                differs = provenance.disagreement(self.manifest, doc)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise Broken(f"{path.name} cannot be read: {plain(error)}") from None
            if differs:
                raise Broken(plain(differs))
            names.append(doc["builder"])
            self.sources[doc["builder"]] = doc.get("source_sha256")
        self.builders = list(dict.fromkeys(names))
        if len(self.builders) < self.options.builders:
            raise Missing(f"{len(self.builders)} of {self.options.builders}: {plain(', '.join(names))}")
        return plain(f"{', '.join(names)} made the same")

    def check_source(self):
        """source: its digest, and with --source that it is this one."""
        self.need_manifest()
        wanted = self.manifest.get("source_sha256")
        if not isinstance(wanted, str):
            raise Missing("the manifest does not say of which source it was built")
        for builder, its in self.sources.items():
            if its not in (None, wanted):
                raise Broken(plain(f"'{builder}' built it from another source: {its}, not {wanted}"))
        said = plain(f"{self.manifest.get('driver')} {self.manifest.get('driver_version')}, SHA-256 {wanted}")
        if not self.options.source:
            return f"{said}; not compared, see --source"
        if hashlib.sha256(build.pack(self.options.source)).hexdigest() != wanted:
            raise Broken(f"{self.options.source} is not the source that was built ({said})")
        return f"{said}, which is {self.options.source}"

    def check_log(self):
        """log: an entry of the append-only log says that these bytes were signed."""
        self.need_manifest()
        path = self.folder / "log.jsonl"
        try:
            carried = provenance.log_lines(path, {self.entry["sha256"]}) if path.exists() else []
        except Usage as error:
            raise Broken(error) from None
        if not self.options.log:
            raise Missing(f"{len(carried)} entries in the package; no log was given to find them in. Next: --log FILE")
        found = []
        for log in self.options.log:
            code, _, last = ask(self.options.program, "log", "verify", log)
            if code == 3:
                raise Missing(last)
            if code:
                raise Broken(f"{log}: {last}")
            found += provenance.log_lines(log, {self.entry["sha256"]})
        lost = [line for line in carried if line not in found]
        if lost:
            raise Broken(f"an entry that the package carries is not in {', '.join(self.options.log)}")
        if not found:
            raise Missing(f"no entry about these bytes in {', '.join(self.options.log)}")
        named = []
        for line in found:
            doc = json.loads(line)
            its = doc.get("builders")
            if not isinstance(its, list) or self.manifest["builder"] not in its:
                raise Broken("the entry is about another builder's manifest")
            named += its
        # The maker of a package can put any statement into it: the log says whose the signers compared.
        known = [one for one in self.builders if one in named]
        if len(known) < min(self.options.builders, len(self.builders)):
            raise Missing(plain(f"of the builders it names {', '.join(known)} alone"))
        return plain(f"entry {doc.get('number')}, for {doc.get('requester')}, signed by {doc.get('signer')}")

    def check_signatures(self):
        """signatures: by kmodkeep, with these certificates alone."""
        if not self.options.cert:
            raise Missing("nobody's signature counts without a certificate. Next: --cert FILE")
        self.need_manifest()
        words = ["verify", "--kernel", self.manifest["kernel"], "--require-signers", str(self.options.require_signers or len(self.options.cert))]
        for option, values in (("--cert", self.options.cert), ("--log", self.options.log)):
            for value in values:
                words += [option, value]
        code, _, last = ask(self.options.program, *words, str(self.below(self.path)))
        if code == 3:
            raise Missing(last)
        if code:
            raise Broken(last)
        return last.removeprefix(f"{self.below(self.path)}: ")

    LINKS = (("file", read), ("package", find_package), ("manifest", find_manifest), ("builders", count_builders),
             ("source", check_source), ("log", check_log), ("signatures", check_signatures))  # fmt: skip

    def follow(self, word):
        """The exit code, after a line for each link."""
        self.path = self.find(word)
        code = 0
        print(f"{self.path}")
        for name, step in self.LINKS:
            try:
                verdict, said = "ok", step(self)
            except Missing as missing:
                verdict, said = "missing", missing
                code = code or 3
            except Broken as broken:
                verdict, said = "broken", broken
                code = 1
            print(f"  {name}: {verdict}: {said}")
        return code


# ---- the verb


def add_options(parser):
    parser.add_argument("--root", metavar="DIR", default="/", help="the host that is asked about (default: this one)")
    parser.add_argument("--kernel", metavar="RELEASE", help="of a module that is named (default: the one that runs)")
    parser.add_argument("--cert", metavar="FILE", action="append", default=[], help="of a signer that counts, DER")
    parser.add_argument("--require-signers", metavar="N", type=int, help="of these certificates (default: all)")
    parser.add_argument("--log", metavar="FILE", action="append", default=[], help="a signer's log, from another place than the package")
    parser.add_argument("--builders", metavar="N", type=int, default=2, help="so many must have made the same (default: 2)")
    parser.add_argument("--source", metavar="DIR", help="is it built from this?")
    parser.add_argument("module", metavar="FILE|MODULE", help="a module's file, or its name")


def run(options):
    """0: each link is there; 1: one contradicts another; 3: one is missing."""
    return Chain(options).follow(options.module)
