# SPDX-License-Identifier: GPL-2.0-or-later
"""syslog-ng, unpacked and not installed: its package would take rsyslog away."""

import subprocess

from tests.lib.apt import download
from tests.lib.cache import cached

SUITE = "bookworm"
PACKAGES = ["libivykis0", "libnet1", "libwrap0", "syslog-ng-core"]


def syslog_ng(config, directory):
    """The command that runs it in the foreground, and its environment.

    CONFIG is a path; what it keeps, as its place in files, is in DIRECTORY.
    """

    def unpack(path):
        for package in download(SUITE, PACKAGES).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, path], check=True)

    root = cached("syslog-ng", SUITE, unpack)
    modules = next(root.glob("usr/lib/syslog-ng/*/libjson-plugin.so")).parent
    libraries = [root / place for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/syslog-ng")]
    kept = [f"--{name}={directory / 'syslog-ng'}.{end}" for name, end in
            (("persist-file", "persist"), ("pidfile", "pid"), ("control", "ctl"))]  # fmt: skip
    command = [root / "usr/sbin/syslog-ng", "--foreground", "--no-caps", f"--cfgfile={config}",
               f"--module-path={modules}", *kept]  # fmt: skip
    return command, {"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "PATH": "/usr/bin:/bin", "TZ": "UTC"}
