# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests' own short cut: what was compiled ahead is found where dkms compiles it."""

from tests.rpm import ccache, payload
from tests.rpm.chroot import OURS
from tests.rpm.trees import TOP

SOURCES = len(list((TOP / "src").glob("*.c")))


def found(host, arguments):
    """Fail unless ccache had all that was compiled while dnf did what ARGUMENTS say."""
    log = host.path / "var/log/ccache"
    log.unlink(missing_ok=True)
    host.dnf(arguments)
    # Kbuild also asks what the compiler can do, by compiling other files; and it has a
    # file with exported symbols preprocessed beside being compiled.
    calls = [part.split() for part in log.read_text("utf-8").split("# ") if ".c\n" in part]
    compiled = {name for name, *_ in calls}
    hits = {name for name, *results in calls if "direct_cache_hit" in results}
    assert len(compiled) >= SOURCES, calls
    assert hits == (compiled if ccache.WANTED else set())


def test_found(host):
    with open(host.path / "etc/ccache.conf", "a", encoding="ascii") as settings:
        settings.write("stats = true\nstats_log = /var/log/ccache\n")
    host.use("updates")
    found(host, "upgrade 'kernel*'")
    host.run(f"rpm -e --nodeps $(rpm -qa 'kernel*' | grep -F -e -{payload.KERNELS[1]}.)")
    host.use("dkms", "release2")
    found(host, f"upgrade {OURS}")
