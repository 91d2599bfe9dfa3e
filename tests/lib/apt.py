# SPDX-License-Identifier: GPL-2.0-or-later
"""The package archives of all suites, reached through this machine's own mirror.

No host name is written down anywhere: the addresses come from the machine's
apt configuration, with only the suite replaced.  Each suite has a private apt
state in the cache, so the machine's own is neither read nor changed.
"""

import re
import subprocess
from pathlib import Path

from tests.lib.cache import cache_dir, cached, digest, locked, progress

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# suite -> the (archive, suite) pairs that its sources.list names
SUITES = {
    "bullseye": [("main", "bullseye"), ("security", "bullseye-security")],
    "bookworm": [
        ("main", "bookworm"),
        ("security", "bookworm-security"),
        ("main", "bookworm-backports"),
    ],
    "trixie": [
        ("main", "trixie"),
        ("security", "trixie-security"),
        ("main", "trixie-backports"),
    ],
    "sid": [("main", "sid")],
}


class AptError(RuntimeError):
    """An apt command failed; the text has its last lines."""


def archive_uris():
    """{"main": URI, "security": URI} as this machine's apt is configured.

    apt itself is asked, since it knows every form that its configuration can have.
    """
    listing = _run(["apt-get", "update", "--print-uris"])
    uris = {}
    for uri, suite in re.findall(r"'(\S+?)/?/dists/(\S+?)/InRelease'", listing):
        if re.fullmatch(r"[a-z]+[-/](security|updates/security)", suite):
            uris.setdefault("security", uri)
        elif re.search(r"debian/?$", uri):
            uris.setdefault("main", uri)
    missing = {"main", "security"} - uris.keys()
    if missing:
        raise AptError(
            f"this machine's apt configuration names no Debian archive for: {sorted(missing)}"
        )
    return uris


def sources_list(suite, components="main"):
    """The text of the sources.list of SUITE."""
    uris = archive_uris()
    lines = [f"deb [signed-by={KEYRING}] {uris[a]} {s} {components}" for a, s in SUITES[suite]]
    return "\n".join(lines) + "\n"


def acquire_options():
    """This machine's settings about how to fetch (proxies, validity), as option lines."""
    wanted = re.compile(
        r"Acquire::(https?::(\S+::)?Proxy\S*|Check-Valid-Until|Check-Date|Retries) .*"
    )
    dump = _run(["apt-config", "dump", "Acquire"])
    return [line for line in dump.splitlines() if wanted.match(line)]


def _state(suite, arch):
    return cache_dir("apt", suite if arch == "amd64" else f"{suite}-{arch}")


def update(suite, arch="amd64"):
    """Fetch the package lists of SUITE."""
    state = _state(suite, arch)
    (state / "sources.list").write_text(sources_list(suite), encoding="utf-8")
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    with locked(f"apt-{state.name}"), progress(f"{state.name}: package lists"):
        _run(["apt-get", *_private(suite, arch), "update"])


def package_names(suite, prefix, arch="amd64"):
    """The names of all packages of SUITE that begin with PREFIX."""
    if not (_state(suite, arch) / "sources.list").exists():
        update(suite, arch)
    return _run(["apt-cache", *_private(suite, arch), "pkgnames", prefix]).split()


def download(suite, packages, arch="amd64"):
    """A cached directory with the .deb files of exactly PACKAGES (no dependencies).

    ARCH is an architecture of Debian; others than this machine's have lists of
    their own.  A package may be given as NAME, NAME=VERSION or NAME/SUITE.  The lists are fetched
    again when a package is not to be had: they may be old.
    """

    def fetch(directory):
        directory.mkdir()
        try:
            _download(suite, packages, directory, arch)
        except AptError:
            update(suite, arch)
            _download(suite, packages, directory, arch)

    first = packages[0].partition("/")[0]
    name = f"{_state(suite, arch).name}-{first}-{digest(sorted(packages))}"
    return cached("debs", name, fetch)


def _download(suite, packages, directory, arch):
    with progress(f"{suite}: download {' '.join(packages)}"):
        _run(["apt-get", *_private(suite, arch), "download", *packages], cwd=directory)


def _private(suite, arch="amd64"):
    """Options that make apt use the private state of SUITE."""
    state = _state(suite, arch)
    settings = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "APT::Architecture": arch,
        "APT::Architectures::": arch,
        "APT::Sandbox::User": "root",  # the cache may be closed to user _apt
    }
    options = ["-q"]
    for key, value in settings.items():
        options += ["-o", f"{key}={value}"]
    return options


def _run(command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise AptError(f"{' '.join(map(str, command[:1]))} failed ({done.returncode}):\n{tail}")
    return done.stdout


def extract(deb, into):
    """Unpack the files of the package DEB below the directory INTO."""
    Path(into).mkdir(parents=True, exist_ok=True)
    _run(["dpkg-deb", "-x", str(deb), str(into)])
