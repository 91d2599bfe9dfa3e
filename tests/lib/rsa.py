# SPDX-License-Identifier: GPL-2.0-or-later
"""RSA keys for tests: each takes a tenth of a second to make, so a process makes few."""

import functools
import shutil
import subprocess

from tests.lib.scratch import scratch


@functools.cache
def _directory():
    return scratch("rsa-")


@functools.cache
def _numbered(number):
    path = _directory() / f"{number}.pem"
    subprocess.run(["openssl", "genrsa", "-out", path, "2048"], check=True, capture_output=True)
    return path


def rsa_key(path):
    """Put a key at PATH, NAME.key: another one than the directory has already; PATH."""
    shutil.copy(_numbered(len(list(path.parent.glob("*.key")))), path)
    return path
