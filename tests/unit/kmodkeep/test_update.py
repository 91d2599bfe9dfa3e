# SPDX-License-Identifier: GPL-2.0-or-later
"""What preflight asks about an update, of apt and of dnf, which are played here.

The real ones are asked in tests/packaging, tests/rpm and tests/fleet.
"""

import os
import subprocess

import pytest

from tests.unit.kmodkeep.host import PROGRAM

KERNEL = "6.1.0-40-amd64"
FEDORA = "6.12.9-200.fc41.x86_64"

# Each notes what it was asked, and does what a test wrote for it.
PLAYED = """#!/bin/sh
printf '%s %s\\n' "${0##*/}" "$*" >>"${0%/*}/asked"
. "${0%/*}/${0##*/}.sh"
"""
PROGRAMS = {
    "apt": ["apt-get", "apt-cache", "dpkg", "dpkg-deb"],
    "dnf": ["dnf", "rpm2cpio", "cpio"],
}


class Manager:
    """A host with one of them; its programs are this test's."""

    def __init__(self, tree, directory, name):
        self.tree = tree
        self.directory = directory
        tree.put(f"usr/bin/{'apt-get' if name == 'apt' else 'dnf'}")
        directory.mkdir()
        for program in PROGRAMS[name]:
            (directory / program).write_text(PLAYED)
            (directory / program).chmod(0o755)
            self.does(program, "exit 0")

    def does(self, program, script):
        (self.directory / f"{program}.sh").write_text(f"{script}\n")

    def asked(self):
        return (self.directory / "asked").read_text()

    def run(self, *words):
        return self.tree.run("package", *words, env={**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"})

    def fails(self, *words):
        """The one line that it says then."""
        done = self.run(*words)
        assert (done.code, len(done.err.splitlines())) == (3, 1), (done.code, done.out, done.err)
        assert done.err.startswith("kmodkeep: preflight: ")
        return done.err.removeprefix("kmodkeep: preflight: ").rstrip()


@pytest.fixture
def apt(tree, tmp_path):
    return Manager(tree, tmp_path / "bin", "apt")


@pytest.fixture
def dnf(tree, tmp_path):
    return Manager(tree, tmp_path / "bin", "dnf")


def test_none_is_here(tree):
    for words in (["manager"], ["candidates"], ["version", KERNEL], ["headers", KERNEL, tree.path / "x"]):
        done = tree.run("package", *words)
        assert done.code == 3 and not done.out
        assert done.err == "kmodkeep: preflight: neither apt nor dnf is here, so what would be installed is not known\n"
    assert not (tree.path / "x").exists()


@pytest.mark.parametrize("words", [["candidates", "x"], ["version"], ["headers", KERNEL], ["manager", "x"]])
def test_words_that_ask_nothing(apt, words):
    done = apt.run(*words)
    assert done.code == 2 and done.err.startswith("Usage: kmodkeep package ")


@pytest.mark.parametrize("kernel", ["../x", "", "a b", ".x", "a;b", "x" * 128], ids=lambda name: name[:8] or "none")
def test_what_is_no_release(apt, kernel, tmp_path):
    for words in (["version", kernel], ["headers", kernel, tmp_path / "into"]):
        done = apt.run(*words)
        assert done.code == 2 and f"'{kernel}' is no kernel release" in done.err
    assert not (tmp_path / "into").exists() and not (apt.directory / "asked").exists()


# ---- apt


def test_apt_is_named(apt):
    apt.does("dpkg", "echo arm64")
    assert apt.run("manager").out.splitlines() == [
        "apt", "apt-get apt-cache dpkg-deb", "apt-get apt-cache", "apt-mark hold linux-image-arm64"]
    apt.does("dpkg", "echo broken >&2; exit 2")
    done = apt.run("manager")
    assert done.code == 0 and "dpkg --print-architecture: broken" in done.err
    assert done.out.splitlines()[3] == "apt-mark hold linux-image-$(dpkg --print-architecture)"


SIMULATION = f"""\
Reading package lists...
Inst linux-image-{KERNEL} [1] (2 archive [amd64])
Inst linux-image-5.10.0-1-amd64 (1 archive [amd64])
Inst linux-image-{KERNEL} [1] (2 archive [amd64])
Inst linux-image-{KERNEL}-dbg (2 archive [amd64])
Inst linux-image-6.1.0-41-amd64-unsigned (2 archive [amd64])
Inst linux-image-amd64 (2 archive [amd64])
Inst linux-headers-{KERNEL} (2 archive [amd64])
Inst linux-image-6.9.0
Remv linux-image-6.0.0-1-amd64 [1]
Conf linux-image-6.2.0-1-amd64 (2 archive [amd64])"""


def test_kernels_of_a_full_upgrade(apt):
    apt.does("apt-get", f"cat <<'E'\n{SIMULATION}\nE\necho 'W: an old index' >&2")
    done = apt.run("candidates")
    assert (done.code, done.out) == (0, f"5.10.0-1-amd64\n{KERNEL}\n"), done.err
    assert apt.asked().rstrip().endswith(" -s -q full-upgrade")
    # The host's own packages, and nothing is written there.
    for option in ("State=%s/var/lib/apt", "State::status=%s/var/lib/dpkg/status", "Etc=%s/etc/apt", "Cache::pkgcache="):
        assert f"-o Dir::{option.replace('%s', str(apt.tree.path))} " in apt.asked()
    apt.does("apt-get", "echo 0 upgraded.")
    assert (apt.run("candidates").code, apt.run("candidates").out) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_an_answer_is_not_lost_where_the_caller_closed_a_file(apt, closed):
    """It would be taken for no kernel, which is safe."""
    apt.does("apt-get", f"cat <<'E'\n{SIMULATION}\nE")
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', PROGRAM, "package", "candidates", "--root", apt.tree.path]
    done = subprocess.run(command, env={**os.environ, "PATH": f"{apt.directory}:{os.environ['PATH']}"},
                          stdout=subprocess.PIPE, text=True, timeout=120)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"5.10.0-1-amd64\n{KERNEL}\n")


@pytest.mark.parametrize(("script", "why"), [
    ("echo 'Inst linux-image-6.9.0-1 (1)'; echo 'E: Unmet dependencies.' >&2; exit 100", "E: Unmet dependencies."),
    ("kill -9 $$", "ended by signal 9"),
    ("exit 1", "exit code 1, without a message"),
    ("printf 'a\\0b'", "Invalid or incomplete multibyte or wide character"),
    ("head -c 20000000 /dev/zero", "File too large"),
], ids=["message", "killed", "nothing said", "no text", "too much"])  # fmt: skip
def test_apt_does_not_tell(apt, script, why):
    """Least of all that no kernel would be installed."""
    apt.does("apt-get", script)
    assert apt.fails("candidates") == f"apt-get -s full-upgrade: {why}. Next: apt-get -f install"
    assert not apt.run("candidates").out


def test_apt_names_a_kernel_that_cannot_be_one(apt):
    apt.does("apt-get", "echo 'Inst linux-image-6.1/../x (1 archive)'")
    assert "apt would install the kernel '6.1/../x', which is no release" in apt.fails("candidates")


def test_version_that_apt_has(apt):
    apt.does("apt-cache", "printf 'linux-image:\\n  Installed: (none)\\n  Candidate: 6.1.1-2\\n  Version table:\\n'")
    assert (apt.run("version", KERNEL).code, apt.run("version", KERNEL).out) == (0, "6.1.1-2\n")
    for said in ("  Candidate: (none)", "  Candidate: ", "N: Unable to locate package"):
        apt.does("apt-cache", f"echo '{said}'")
        done = apt.run("version", KERNEL)
        assert (done.code, done.out) == (3, "")
    apt.does("apt-cache", "echo 'E: broken' >&2; exit 100")
    assert apt.fails("version", KERNEL) == f"apt-cache policy linux-image-{KERNEL}: E: broken"


DEPENDS = f"""\
linux-headers-{KERNEL}
  Depends: linux-headers-6.1.0-40-common
<linux-headers>
linux-headers-6.1.0-40-common
linux-kbuild-6.1
linux-compiler-gcc-12-x86
linux-headers-{KERNEL}"""

# Makes what the packages of headers hold, when the first one is unpacked.
UNPACK = f"""\
into=$3/usr/src/linux-headers-{KERNEL}
mkdir -p "$into" "$3/usr/src/other"
printf 'include /usr/src/linux-headers-common/Makefile\\nx = /usr/src/linux-a:/usr/src/linux-b\\n' >"$into/Makefile\""""


@pytest.fixture
def headers(apt):
    """apt has the headers of KERNEL."""
    apt.does("apt-cache", f"cat <<'E'\n{DEPENDS}\nE")
    apt.does("apt-get", 'for name; do case $name in linux-*) : >"$name.deb" ;; esac; done')
    apt.does("dpkg-deb", UNPACK)
    return apt


def test_headers_that_apt_has(headers, tmp_path):
    into = tmp_path / "in [to]/x"
    done = headers.run("headers", KERNEL, into)
    assert (done.code, done.err) == (0, "")
    root = into / "root/usr/src"
    assert done.out == f"{root}/linux-headers-{KERNEL}\n"
    # They find each other where they are now.
    assert (root / f"linux-headers-{KERNEL}/Makefile").read_text() == \
        f"include {root}/linux-headers-common/Makefile\nx = {root}/linux-a:{root}/linux-b\n"
    packages = [f"linux-headers-{KERNEL}", "linux-headers-6.1.0-40-common", "linux-kbuild-6.1"]
    assert f" download {' '.join(packages)}\n" in headers.asked()
    assert sorted(p.name for p in (into / "packages").iterdir()) == sorted(f"{name}.deb" for name in packages)
    assert headers.asked().count("dpkg-deb -x ") == 3


@pytest.mark.parametrize(("program", "script", "why"), [
    ("apt-cache", "echo 'E: No packages found' >&2; exit 100", f"apt-cache depends linux-headers-{KERNEL}: E: No packages found"),
    ("apt-cache", "echo '<linux-headers>'", f"apt-cache depends linux-headers-{KERNEL}: names no package of headers"),
    ("apt-get", "echo 'E: Failed to fetch' >&2; exit 100", f"apt-get download linux-headers-{KERNEL}: E: Failed to fetch"),
    ("dpkg-deb", "echo 'dpkg-deb: error: short' >&2; exit 2", "dpkg-deb -x linux-headers-6.1.0-40-amd64.deb: dpkg-deb: error: short"),
    ("dpkg-deb", "exit 0", f"linux-headers-{KERNEL} has no Makefile"),
], ids=["no packages", "not of headers", "no download", "no unpacking", "no Makefile"])  # fmt: skip
def test_headers_that_apt_has_not(headers, tmp_path, program, script, why):
    headers.does(program, script)
    if program == "dpkg-deb":
        headers.does("apt-cache", f"echo linux-headers-{KERNEL}")
    assert headers.fails("headers", KERNEL, tmp_path / "into") == why
    again = headers.run("headers", KERNEL, tmp_path / "again")
    assert again.out == f"apt-get update, then look at: apt-get download linux-headers-{KERNEL}\n"


# ---- dnf


def test_dnf_is_named(dnf):
    assert dnf.run("manager").out.splitlines() == [
        "dnf", "dnf rpm2cpio cpio", "dnf", "put excludepkgs=kernel* into /etc/dnf/dnf.conf"]


def test_kernels_among_the_updates(dnf):
    dnf.does("dnf", f"printf '{FEDORA}\\n\\nLast metadata check: now.\\n{FEDORA}\\n'")
    done = dnf.run("candidates")
    assert (done.code, done.out) == (0, f"{FEDORA}\n"), done.err
    assert dnf.asked() == (f"dnf -q --installroot={dnf.tree.path} --assumeno repoquery --upgrades --latest-limit=1"
                           " --qf %{version}-%{release}.%{arch}\\n kernel-core\n")  # fmt: skip
    dnf.does("dnf", "exit 0")
    assert (dnf.run("candidates").code, dnf.run("candidates").out) == (0, "")


@pytest.mark.parametrize(("script", "why"), [
    ("echo 'Error: no network' >&2; exit 1", "Error: no network"),
    ("kill -15 $$", "ended by signal 15"),
    ("echo 'Importing GPG key 0x1:' >&2", "Importing GPG key 0x1:"),
    ("echo 'Is this ok [y/N]:'", "Is this ok [y/N]:"),
    (f"echo {FEDORA}; echo 'x'; echo 'Skipping unreadable repository' >&2", "Skipping unreadable repository"),
    (f"echo {FEDORA}; echo 'Ignoring repositories: updates'", "Ignoring repositories: updates"),
], ids=["message", "killed", "key", "question", "skipped", "ignored"])  # fmt: skip
def test_dnf_does_not_tell(dnf, script, why):
    """It ends well where it left out a repository: that is no answer."""
    dnf.does("dnf", script)
    assert dnf.fails("candidates") == f"dnf repoquery: {why}. Next: dnf check-update"
    assert not dnf.run("candidates").out


def test_version_that_dnf_has(dnf):
    assert dnf.run("version", FEDORA).out == "6.12.9-200.fc41\n"


@pytest.fixture
def devel(dnf):
    """dnf has the headers of FEDORA."""
    dnf.does("dnf", f'for word; do case $word in --destdir=*) into=${{word#*=}} ;; esac; done\n'
                    f'mkdir -p "$into"; : >"$into/kernel-devel-{FEDORA}.rpm"; : >"$into/other.rpm"')
    dnf.does("rpm2cpio", "echo archive")
    dnf.does("cpio", f"into=usr/src/kernels/{FEDORA}; mkdir -p $into/include/config\n"
                     "for word; do archive=$word; done; read -r line <\"$archive\"; [ \"$line\" = archive ]\n"
                     ": >$into/Makefile; : >$into/include/config/kernel.release\n"
                     "mkdir usr/src/linux-x; echo include /usr/src/linux-y >usr/src/linux-x/Makefile")
    return dnf


def test_headers_that_dnf_has(devel, tmp_path):
    into = tmp_path / "into"
    done = devel.run("headers", FEDORA, into)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{into}/root/usr/src/kernels/{FEDORA}\n"
    assert f"-y install --downloadonly --destdir={into}/packages kernel-devel-{FEDORA}\n" in devel.asked()
    assert (into / "root/usr/src/linux-x/Makefile").read_text() == f"include {into}/root/usr/src/linux-y\n"
    assert devel.asked().count("rpm2cpio ") == 1, "another package that came with it is not unpacked"


@pytest.mark.parametrize(("program", "script", "why"), [
    ("dnf", "echo 'No match for argument' >&2; exit 1", f"dnf install --downloadonly kernel-devel-{FEDORA}: No match for argument"),
    ("dnf", "exit 0", f"kernel-devel-{FEDORA} has no headers"),
    ("rpm2cpio", "echo half; echo 'argument is not an RPM package' >&2; exit 1",
     f"rpm2cpio kernel-devel-{FEDORA}.rpm: argument is not an RPM package"),
    ("cpio", "echo 'cpio: premature end of archive' >&2; exit 2",
     f"cpio -idm, of kernel-devel-{FEDORA}.rpm: cpio: premature end of archive"),
    ("cpio", "mkdir -p usr/src/kernels/x/include/config; : >usr/src/kernels/x/include/config/kernel.release",
     f"kernel-devel-{FEDORA} has no headers"),
], ids=["no download", "nothing came", "rpm2cpio", "cpio", "no Makefile"])  # fmt: skip
def test_headers_that_dnf_has_not(devel, tmp_path, program, script, why):
    devel.does(program, script)
    assert devel.fails("headers", FEDORA, tmp_path / "into") == why
    again = devel.run("headers", FEDORA, tmp_path / "again")
    assert again.out == f"look at: dnf install --downloadonly kernel-devel-{FEDORA}\n"
