# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep signs with a key in a PKCS#11 token, of SoftHSM, through OpenSSL's provider.

The token's key is a copy of one in a file, so that both can be compared: what they
sign must be the same, byte for byte.  FULL=1 tries Debian 12, too, with the provider of its
backports.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lib import roots
from tests.unit.kmodkeep.system import module_bytes

TOP = Path(__file__).parents[2]
SUITE = "trixie"  # the first with pkcs11-provider in its own archive
PIN = "246813"
URI = "pkcs11:token=modules;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so"
KERNEL = "6.12.9-amd64"

MAKE = f"""
    set -e
    cd /srv
    openssl req -new -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=token -keyout file.key \
        -outform DER -out file.der 2>/dev/null
    chmod 600 file.key
    openssl pkcs8 -topk8 -nocrypt -in file.key -out file.p8
    softhsm2-util --init-token --free --label modules --pin {PIN} --so-pin 12345678
    softhsm2-util --import file.p8 --token modules --label signing --id 01 --pin {PIN}
    rm file.p8
    printf '{PIN}\\n' >pin
    chmod 600 pin
"""


@pytest.fixture(scope="module", params=[SUITE, "bookworm"] if os.environ.get("FULL") else [SUITE])
def host(request, tmp_path_factory):
    suite = request.param
    command = [TOP / "debian/build-packages", "--output", tmp_path_factory.mktemp("debs"), suite]
    debs = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    with roots.Clone(suite) as clone:
        [deb] = [path for path in debs if "/kmodkeep_" in path]
        shutil.copy(deb, clone.path / "tmp")
        clone.run("apt-get -qq update && apt-get install -qy --no-install-recommends "
                  "/tmp/kmodkeep_*.deb softhsm2 pkcs11-provider")  # fmt: skip
        clone.run(MAKE)
        yield clone


@pytest.fixture
def module(host):
    """A module without a signature, as its path in the clone."""
    (host.path / "srv/m.ko").write_bytes(module_bytes(KERNEL))
    return "/srv/m.ko"


@pytest.fixture(autouse=True)
def fresh(host):
    (host.path / "run/kmodkeep/token-refused").unlink(missing_ok=True)
    (host.path / "etc/kmodkeep/signing.conf").unlink(missing_ok=True)
    (host.path / "srv/pin").write_text(f"{PIN}\n")
    (host.path / "srv/pin").chmod(0o600)


def sign(host, module, *words, key=URI):
    return host.run(["kmodkeep", "sign", "--key", key, "--cert", "/srv/file.der", *words, module], check=False)


def test_token_and_file_sign_the_same(host, module):
    result = sign(host, module, key="/srv/file.key")
    assert result.returncode == 0, result.stdout
    expected = (host.path / "srv/m.ko").read_bytes()
    (host.path / "srv/m.ko").write_bytes(module_bytes(KERNEL))
    result = sign(host, module, "--pin-file", "/srv/pin")
    assert result.returncode == 0 and "signed by 'token'" in result.stdout, result.stdout
    assert (host.path / "srv/m.ko").read_bytes() == expected
    assert PIN not in result.stdout


def test_pin_from_a_systemd_credential(host, module):
    result = host.run("mkdir -p /run/credentials/x && install -m 600 /srv/pin /run/credentials/x/kmodkeep-pin && "
                      f"CREDENTIALS_DIRECTORY=/run/credentials/x kmodkeep sign --key '{URI}' "
                      f"--cert /srv/file.der {module}")  # fmt: skip
    assert "signed by 'token'" in result.stdout


def test_wrong_pin_is_tried_once(host, module):
    before = (host.path / "srv/m.ko").read_bytes()
    (host.path / "srv/pin").write_text("111111\n")
    for message in ("the PIN was refused, or there is no such key", "it is not tried again, since tokens lock"):
        result = sign(host, module, "--pin-file", "/srv/pin")
        assert result.returncode == 1 and message in result.stdout, result.stdout
        assert "111111" not in result.stdout
        assert (host.path / "srv/m.ko").read_bytes() == before
    (host.path / "srv/pin").write_text(f"{PIN}\n")
    assert sign(host, module, "--pin-file", "/srv/pin").returncode == 0


def test_nothing_is_asked_on_the_terminal(host, module):
    result = sign(host, module)
    assert result.returncode == 1 and "asks for a PIN" in result.stdout, result.stdout


def test_no_such_key(host, module):
    result = sign(host, module, "--pin-file", "/srv/pin", key=URI.replace("signing", "other"))
    assert result.returncode == 1 and "no private key was found" in result.stdout


def test_certificate_of_another_key(host, module):
    host.run("cd /srv && openssl req -new -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=x -keyout /dev/null "
             "-outform DER -out x.der 2>/dev/null")  # fmt: skip
    before = (host.path / "srv/m.ko").read_bytes()
    result = host.run(["kmodkeep", "sign", "--key", URI, "--cert", "/srv/x.der", "--pin-file", "/srv/pin", module],
                      check=False)  # fmt: skip
    assert result.returncode == 1 and "do not belong together" in result.stdout, result.stdout
    assert (host.path / "srv/m.ko").read_bytes() == before


def test_the_hooks_sign_with_it(host, module):
    (host.path / "etc/kmodkeep").mkdir(exist_ok=True)
    (host.path / "etc/kmodkeep/signing.conf").write_text(
        f"key = {URI}\ncertificate = /srv/file.der\npin_file = /srv/pin\n")  # fmt: skip
    host.run(f"mkdir -p /srv/tree/{KERNEL}/x86_64/module && cp {module} /srv/tree/{KERNEL}/x86_64/module/")
    result = host.run(["/usr/lib/kmodkeep/dkms-post-build", "/srv/tree", KERNEL, "x86_64"])
    assert "signed by 'token'" in result.stdout
    host.run(["/usr/lib/kmodkeep/dkms-pre-install", "/srv/tree", KERNEL, "x86_64"])
