# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep key create, enroll and status, on a host in a folder."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess

import pytest

from tests.unit.kmodkeep.host import PROGRAM, REQUESTS, SHIM, TOP, Pair

PASSWORD = "plumbdogfish"


def create(tree, *words):
    return tree.run("key", "create", *words)


def enroll(tree, *words, password=PASSWORD):
    return tree.run("key", "enroll", "--password-stdin", *words, input=f"{password}\n")


def status(tree):
    result = tree.run("key", "status", "--json")
    return json.loads(result.out), result.code


@pytest.fixture
def ready(tree):
    """A host with Secure Boot and a key, where enrolment can be asked for."""
    assert create(tree).code == 0
    tree.secure_boot()
    tree.esp()
    tree.add_mokutil()
    return tree


def certificate_text(tree):
    return subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", tree.keys / "signing.der", "-noout", "-text"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# --- create ------------------------------------------------------------------


def test_create_makes_a_private_pair(tree):
    result = tree.run("key", "create", umask=0)
    assert result.code == 0 and "made the signing key" in result.out
    assert mode(tree.keys) == 0o700
    assert mode(tree.keys / "signing.key") == 0o600
    assert mode(tree.keys / "signing.der") == 0o644
    assert sorted(p.name for p in tree.keys.iterdir()) == [
        "machine-id",
        "signing.der",
        "signing.key",
    ]


def test_certificate_is_for_modules_only(tree, monkeypatch):
    monkeypatch.delenv("KMODKEEP_TEST_KEY_BITS", raising=False)
    create(tree)
    text = certificate_text(tree)
    assert "Public-Key: (2048 bit)" in text and "CA:FALSE" in text
    assert re.search(r"Key Usage: critical\n\s*Digital Signature\n", text)
    assert re.search(r"Extended Key Usage: \n\s*Code Signing, 1.3.6.1.4.1.2312.16.1.2\n", text)
    assert "Subject Key Identifier" in text
    name = re.search(r"Subject: CN = (.*)", text)[1]
    assert "host.example" in name and len(name) <= 64
    assert status(tree)[0]["boots_kernels"] is False


def test_names_differ_and_are_short_enough(tree):
    tree.put("etc/hostname", "very-" * 20 + 'long"/$(id).example\n')
    names = set()
    for _ in range(2):
        create(tree)
        names.add(re.search(r"Subject: CN = (.*)", certificate_text(tree))[1])
        shutil.rmtree(tree.keys)
    assert len(names) == 2 and all(len(name) <= 64 for name in names)


def test_create_twice_keeps_the_key(tree):
    create(tree)
    before = (tree.keys / "signing.key").read_bytes()
    result = create(tree, "--own")
    assert result.code == 0 and "has a signing key" in result.out
    assert (tree.keys / "signing.key").read_bytes() == before


@pytest.mark.parametrize("missing", ["signing.key", "signing.der"])
def test_half_a_pair_is_never_overwritten(tree, missing):
    create(tree)
    (tree.keys / missing).unlink()
    left = {p.name: p.read_bytes() for p in tree.keys.iterdir()}
    for verb in ("create", "enroll"):
        tree.secure_boot()
        result = tree.run("key", verb)
        assert result.code == 1, result.text
        assert f"{missing} is missing: half a key pair" in result.err
        assert "Next: restore the missing half" in result.err
    assert {p.name: p.read_bytes() for p in tree.keys.iterdir()} == left


def test_power_cut_leaves_no_half_pair(tree):
    """What an earlier run left, at any point of it, is no obstacle."""
    tree.put("var/lib/kmodkeep/.keys.abc123/signing.key", "half")
    tree.keys.mkdir(parents=True)
    assert create(tree).code == 0
    assert [p.name for p in tree.keys.parent.iterdir()] == ["keys"]
    # Half a pair was moved away, as it was told to be.
    (tree.keys / "signing.key").unlink()
    (tree.keys / "signing.der").rename(tree.keys / "old.der")
    result = create(tree)
    assert result.code == 0 and "moved the old directory of keys to " in result.out
    assert status(tree)[0]["problem"] is None
    [aside] = tree.keys.parent.glob("keys.before-*")
    assert (aside / "old.der").exists()


def test_refuses_a_link_and_an_open_key(tree):
    create(tree)
    key = tree.keys / "signing.key"
    key.chmod(0o640)
    result = create(tree)
    assert result.code == 1 and "read or written by group or others" in result.err
    key.chmod(0o600)
    key.rename(tree.path / "elsewhere.key")
    key.symlink_to(tree.path / "elsewhere.key")
    result = create(tree)
    assert result.code == 1 and "is a symbolic link" in result.err
    (tree.path / "elsewhere.key").unlink()  # a dangling link is one, too
    assert "is a symbolic link" in create(tree).err


def test_refuses_a_linked_directory(tree):
    (tree.path / "elsewhere").mkdir()
    tree.keys.parent.mkdir(parents=True)
    tree.keys.symlink_to(tree.path / "elsewhere")
    result = create(tree)
    assert result.code == 1 and "is a symbolic link" in result.err
    assert not list((tree.path / "elsewhere").iterdir())


def test_refuses_the_key_of_a_cloned_disk(ready):
    ready.put("etc/machine-id", "f" * 32 + "\n")
    for words in (["create"], ["enroll"]):
        result = ready.run("key", *words)
        assert result.code == 1 and "made on another machine" in result.err
        assert "Next: move" in result.err
    assert status(ready)[1] == 1


@pytest.mark.parametrize("content", ["", "uninitialized\n", None])
def test_no_key_for_an_image(tree, content):
    (tree.path / "etc/machine-id").unlink()
    if content is not None:
        tree.put("etc/machine-id", content)
    result = create(tree)
    assert result.code == 1 and "no machine ID" in result.err
    assert not (tree.keys / "signing.key").exists()


@pytest.mark.parametrize("verb", ["create", "enroll"])
def test_containers_have_no_key(tree, verb):
    tree.put("run/systemd/container", "docker")
    result = tree.run("key", verb)
    assert result.code == 0 and "no signing key is made or enrolled in a container" in result.out
    assert not tree.keys.exists()


def test_real_chroot_has_no_key(tmp_path):
    """The program, linked with all it needs, in a real chroot without /proc."""
    if os.geteuid():
        pytest.skip("chroot needs root")
    root = tmp_path / "chroot"
    for tool in (PROGRAM, "/bin/sh", "/bin/sed"):
        listing = subprocess.run(["ldd", tool], capture_output=True, text=True, check=True).stdout
        for file in [str(tool), *re.findall(r"(/\S+) \(0x", listing)]:
            target = root / file.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    scripts = PROGRAM.parents[1] / "lib/kmodkeep"
    shutil.copytree(scripts, root / str(scripts).lstrip("/"))
    done = subprocess.run(
        ["chroot", root, PROGRAM, "key", "status", "--shell"], capture_output=True, text=True
    )
    assert "place=chroot" in done.stdout, done.stdout + done.stderr


def test_adopts_what_dkms_made(tree, other_pair):
    dkms = tree.path / "var/lib/dkms"
    other_pair.copy_to(dkms / "mok.key", dkms / "mok.pub")
    result = create(tree)
    assert result.code == 0
    assert f"adopted the signing key of dkms: {dkms}/mok.key" in result.out
    assert "warning: its certificate can also boot kernels" in result.out
    assert "kmodkeep key create --own" in result.out
    assert not tree.keys.exists()
    assert status(tree)[0]["origin"] == "dkms"
    assert create(tree, "--own").code == 0
    assert status(tree)[0]["origin"] == "own"


def test_own_key_beside_an_enrolled_one(tree, other_pair):
    """It is made and enrolled while the enrolled one goes on signing."""
    dkms = tree.path / "var/lib/dkms"
    other_pair.copy_to(dkms / "mok.key", dkms / "mok.pub")
    tree.secure_boot()
    tree.enrol(other_pair.cert)
    tree.esp()
    tree.add_mokutil()
    result = create(tree, "--own")
    assert result.code == 0 and f"made the signing key {tree.keys}/signing.key" in result.out
    report, code = status(tree)
    assert report["origin"] == "dkms" and code == 0
    assert enroll(tree).code == 0
    assert status(tree)[0]["enrolment"] == "enrolled"
    first = tree.run("key", "status", "--json", "--first")
    assert json.loads(first.out)["enrolment"] == "pending" and first.code == 1


def test_adopts_ubuntus_key_without_a_warning(tree, pair):
    mok = tree.path / "var/lib/shim-signed/mok"
    pair.copy_to(mok / "MOK.priv", mok / "MOK.der")
    result = create(tree)
    assert result.code == 0 and "adopted the signing key of ubuntu" in result.out
    assert "warning" not in result.text


def test_unfit_foreign_key_is_left_alone(tree, pair):
    dkms = tree.path / "var/lib/dkms"
    pair.copy_to(dkms / "mok.key", dkms / "mok.pub")
    (dkms / "mok.key").chmod(0o644)
    result = create(tree)
    assert result.code == 0 and "is not fit to sign with and is left alone" in result.out
    assert status(tree)[0]["origin"] == "own"
    assert mode(dkms / "mok.key") == 0o644


def test_wrong_usage(tree):
    assert tree.run("key", root=False).code == 2
    assert tree.run("key", "frob").code == 2
    assert tree.run("frob").code == 2
    for verb in ("create", "enroll", "status"):
        assert tree.run("key", verb, "--frob").code == 2
        result = tree.run("key", verb, "--help", root=False)
        assert result.code == 0 and "Exit code" in result.out
    for verb in ("verify", "sign", "smoke"):
        result = tree.run(verb, "--help", root=False)
        assert result.code == 0 and "Exit code" in result.out


# --- enroll ------------------------------------------------------------------


def test_enroll_asks_once(ready):
    result = enroll(ready)
    assert result.code == 0, result.text
    assert "Enroll MOK" in result.out and "10 seconds" in result.out
    assert (ready.path / "password").read_text() == PASSWORD
    assert PASSWORD not in result.text
    report, code = status(ready)
    assert report["enrolment"] == "pending" and code == 1
    record = (ready.path / "var/lib/kmodkeep/enrol-request").read_text()
    assert f"fingerprint={report['fingerprint']}\nboot_id=boot-1\n" in record
    assert PASSWORD not in record
    (ready.path / "password").unlink()
    result = enroll(ready)
    assert result.code == 0 and "waits for its enrolment" in result.out
    assert not (ready.path / "password").exists()


def test_dry_run_of_enroll_asks_for_nothing(ready):
    def variables():
        return sorted(p.name for p in (ready.path / "sys/firmware/efi/efivars").iterdir())

    before = variables()
    result = ready.run("key", "enroll", "--dry-run", stdin=subprocess.DEVNULL)
    assert result.code == 0 and "would ask shim at the next boot" in result.out and "enrolled" in result.out
    assert variables() == before and not (ready.path / "password").exists()
    # What would stop it stops this.
    (ready.path / "boot/efi/EFI/debian/mmx64.efi").unlink()
    result = ready.run("key", "enroll", "--dry-run", stdin=subprocess.DEVNULL)
    assert result.code == 1 and "MokManager" in result.err


def test_enroll_is_for_the_running_system(ready):
    (ready.path / "etc/kmodkeep-test-root").unlink()
    result = enroll(ready)
    assert result.code == 1 and "on the system that runs" in result.err
    assert not (ready.path / "password").exists()


def test_adopted_key_is_enrolled(tree, pair):
    dkms = tree.path / "var/lib/dkms"
    pair.copy_to(dkms / "mok.key", dkms / "mok.pub")
    tree.secure_boot()
    tree.esp()
    tree.add_mokutil()
    result = enroll(tree)
    assert result.code == 0, result.text
    assert status(tree)[0]["enrolment"] == "pending"
    assert (tree.path / "var/lib/kmodkeep/enrol-request").exists()
    assert mode(tree.path / "var/lib/kmodkeep") == 0o755


def test_enrolled_key_is_not_asked_for(ready):
    ready.enrol(ready.keys / "signing.der")
    result = enroll(ready)
    assert result.code == 0 and "is enrolled" in result.out
    assert not (ready.path / "password").exists()
    assert status(ready)[1] == 0


def test_declined_request_needs_again(ready):
    enroll(ready)
    ready.forget_request()
    # Still the same boot: somebody withdrew it (mokutil --revoke-import).
    assert status(ready)[0]["enrolment"] == "not-enrolled"
    ready.boot(2)
    assert status(ready)[0]["enrolment"] == "declined"
    assert "Enrolment:    declined (asked for in an earlier boot, and not" in ready.run("key", "status").out
    result = enroll(ready)
    assert result.code == 1 and "not confirmed at the boot menu" in result.err
    assert "Next: kmodkeep key enroll --again" in result.err
    result = enroll(ready, "--again")
    assert result.code == 0
    assert status(ready)[0]["enrolment"] == "pending"


@pytest.mark.parametrize("words, name", [("enroll", "MokNew"), ("revoke", "MokDel"), ("revoke --mokx", "MokXNew")])
def test_request_that_was_cut_short(ready, words, name):
    """mokutil dies between the list and its password: MokManager could not grant that to anybody."""
    cert = ready.keys / "signing.der"
    if name != "MokNew":
        ready.enrol(cert)
        words += f" --cert {cert}"
    waits = {"MokNew": lambda s: s["enrolment"] == "pending", "MokDel": lambda s: s["delete_pending"],
             "MokXNew": lambda s: s["mokx_pending"]}[name]  # fmt: skip
    variables = ready.path / "sys/firmware/efi/efivars"

    def ask():
        return ready.run("key", *words.split(), "--password-stdin", input=PASSWORD)

    ready.put("dies")
    assert ask().code == 1 and not waits(status(ready)[0])
    assert (variables / f"{name}-{SHIM}").exists() and not (variables / f"{REQUESTS[name]}-{SHIM}").exists()
    # A program that cannot take it back is named.
    mokutil = ready.path / "usr/bin/mokutil"
    program = mokutil.read_text()
    mokutil.write_text(program.replace("exec rm -f", "exec false"))
    failed = ask()
    assert failed.code == 1 and "did not withdraw half a request" in failed.err
    mokutil.write_text(program)
    (ready.path / "dies").unlink()
    again = ask()
    assert again.code == 0 and waits(status(ready)[0]), again.text
    assert (variables / f"{REQUESTS[name]}-{SHIM}").exists()


@pytest.mark.parametrize("seen", [["guard"], ["key", "enroll"]])
def test_key_that_was_granted_and_is_lost_was_not_declined(ready, seen):
    """The list is emptied, by a reset of the firmware, long after the enrolment."""
    enroll(ready)
    ready.forget_request()
    ready.enrol(ready.keys / "signing.der")
    ready.boot(2)
    ready.run(*seen)
    ready.enrol()
    assert status(ready)[0]["enrolment"] == "not-enrolled"
    ready.boot(3)
    assert status(ready)[0]["enrolment"] == "not-enrolled"
    assert enroll(ready).code == 0


def test_guard_forgets_no_request_that_was_not_granted(ready, tmp_path):
    other = Pair(tmp_path, "other")
    enroll(ready)
    ready.enrol(other.cert)
    ready.run("guard")
    ready.forget_request()
    ready.boot(2)
    ready.run("guard")
    assert status(ready)[0]["enrolment"] == "declined"


def test_key_that_is_revoked_here_was_not_declined(ready):
    enroll(ready)
    ready.forget_request()
    ready.enrol(ready.keys / "signing.der")
    ready.boot(2)
    revoked = ready.run("key", "revoke", "--cert", ready.keys / "signing.der", "--password-stdin", input=PASSWORD)
    assert revoked.code == 0, revoked.text
    ready.forget_request("MokDel")
    ready.enrol()
    ready.boot(3)
    assert status(ready)[0]["enrolment"] == "not-enrolled"


def test_new_key_may_be_asked_for_after_a_declined_one(ready):
    enroll(ready)
    ready.forget_request()
    ready.boot(2)
    shutil.rmtree(ready.keys)
    create(ready)
    assert enroll(ready).code == 0


def test_no_efi_is_fine(tree):
    create(tree)
    result = enroll(tree)
    assert result.code == 0 and "not applicable: no EFI here" in result.out
    assert status(tree) == ({**status(tree)[0], "enrolment": "not-applicable"}, 0)


def test_secure_boot_off_is_fine(ready):
    ready.secure_boot(False)
    result = enroll(ready)
    assert result.code == 0 and "Secure Boot is off" in result.out
    assert not (ready.path / "password").exists()
    assert status(ready)[1] == 0


def test_unreadable_variables_are_no_yes(tree):
    create(tree)
    tree.put("sys/firmware/efi/runtime")
    result = enroll(tree)
    assert result.code == 3 and "could not be read" in result.err
    assert status(tree)[1] == 3


def test_enroll_without_a_key(tree):
    tree.secure_boot()
    result = enroll(tree)
    assert result.code == 1 and "Next: kmodkeep key create" in result.err


def test_missing_mokmanager_would_stop_the_boot(ready):
    shutil.rmtree(ready.path / "boot/efi")
    ready.esp(mokmanager=False)
    result = enroll(ready)
    assert result.code == 1 and "would not boot" in result.err
    assert not (ready.path / "password").exists()
    # One in the directory of another system is not beside the shim that booted.
    ready.put("boot/efi/EFI/other/mmx64.efi", "MokManager")
    ready.variable("BootCurrent", b"\6\0\0\0\1\0", "8be4df61-93ca-11d2-aa0d-00e098032b8c")
    path = "\\EFI\\debian\\shimx64.efi\0".encode("utf-16-le")
    node = b"\4\4" + (len(path) + 4).to_bytes(2, "little") + path + b"\x7f\xff\4\0"
    option = b"\1\0\0\0" + len(node).to_bytes(2, "little") + "debian\0".encode("utf-16-le") + node
    ready.variable("Boot0001", b"\6\0\0\0" + option, "8be4df61-93ca-11d2-aa0d-00e098032b8c")
    result = enroll(ready)
    assert result.code == 1 and "EFI/debian" in result.err
    ready.esp()
    assert enroll(ready).code == 0


def test_esp_not_mounted_is_noted(ready):
    shutil.rmtree(ready.path / "boot/efi")
    result = enroll(ready)
    assert result.code == 0 and "MokManager was not looked for" in result.out


def test_full_nvram(ready):
    """efivarfs on a file system as small as the firmware's memory can be."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    variables = ready.path / "sys/firmware/efi/efivars"
    saved = {p.name: p.read_bytes() for p in variables.iterdir()}
    # A page for each that is there, and one more.
    room = f"size={4 * len(saved) + 4}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", room, "tmpfs", variables], check=True)
    try:
        for name, content in saved.items():
            (variables / name).write_bytes(content)
        (variables / "dump-type0").write_bytes(b"x" * 4096)
        result = enroll(ready)
    finally:
        subprocess.run(["umount", variables], check=True)
    assert result.code == 1 and "bytes left for variables" in result.err


def test_read_only_variables(ready):
    """They tell all that is to be known, and take no request."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    variables = ready.path / "sys/firmware/efi/efivars"
    before = status(ready)
    subprocess.run(["mount", "--bind", variables, variables], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", variables], check=True)
        result = enroll(ready)
        assert status(ready) == before
    finally:
        subprocess.run(["umount", variables], check=True)
    assert result.code == 1 and f"{variables} is mounted read-only" in result.err
    assert "Next: mount -o remount,rw /sys/firmware/efi/efivars" in result.err
    assert len(result.err.splitlines()) == 1
    assert not (ready.path / "password").exists()
    assert not (ready.path / "var/lib/kmodkeep/enrol-request").exists()
    assert enroll(ready).code == 0


@pytest.mark.parametrize(
    "password,message",
    [
        ("", "must have 8 to 64"),
        ("short", "must have 8 to 64"),
        ("x" * 65, "must have 8 to 64"),
        ("motdepass\u00e9", "cannot read"),
        ("with\ttab12", "cannot read"),
    ],
)
def test_bad_passwords(ready, password, message):
    result = enroll(ready, password=password)
    assert result.code == 1 and message in result.err
    assert not (ready.path / "password").exists()


def test_nothing_on_standard_input(ready):
    result = ready.run("key", "enroll", "--password-stdin", stdin=subprocess.DEVNULL)
    assert result.code == 1 and "nothing was asked for" in result.err


def test_password_without_a_newline(ready):
    result = ready.run("key", "enroll", "--password-stdin", input=PASSWORD)
    assert result.code == 0 and (ready.path / "password").read_text() == PASSWORD


def test_no_terminal_no_password(ready):
    result = ready.run("key", "enroll", stdin=subprocess.DEVNULL, start_new_session=True)
    assert result.code == 1 and "no terminal" in result.err
    assert not (ready.path / "password").exists()


def on_a_terminal(tree, *words, env=None):
    """kmodkeep on a terminal of its own: (exit code, all that it showed)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, *words, "--root", str(tree.path)], {**os.environ, **(env or {})})
    shown = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode().replace("\r\n", "\n")


def test_made_up_password_is_shown_once(ready):
    code, shown = on_a_terminal(ready, "key", "enroll")
    password = (ready.path / "password").read_text()
    assert code == 0 and shown.count(password) == 1
    # Letters that sit alike on QWERTY, AZERTY and QWERTZ, and no digits.
    assert re.fullmatch("[bcdefghijklnoprstuvx]{10}", password)
    assert f"One-time password:  {password}\n" in shown
    for path in ready.path.rglob("*"):
        if path.is_file() and path.name != "password":
            assert password.encode() not in path.read_bytes(), path


def test_package_scripts_get_no_password(ready):
    """Their terminal is logged by apt."""
    code, shown = on_a_terminal(
        ready, "key", "enroll", env={"DPKG_MAINTSCRIPT_PACKAGE": "kmodkeep"}
    )
    assert code == 1 and "--password-stdin" in shown


def test_mokutil_missing_or_failing(ready):
    ready.put("usr/bin/mokutil", "#!/bin/sh\necho 'Failed to write MokNew' >&2\nexit 255\n")
    result = enroll(ready)
    assert result.code == 1 and "mokutil refused: Failed to write MokNew" in result.err
    ready.put("usr/bin/mokutil", "#!/bin/sh\nexit 0\n")
    result = enroll(ready)
    assert result.code == 1 and "mokutil made no request" in result.err
    (ready.path / "usr/bin/mokutil").unlink()
    result = enroll(ready)
    assert result.code == 1 and "Next: install mokutil" in result.err
    assert not (ready.path / "var/lib/kmodkeep/enrol-request").exists()


# --- status ------------------------------------------------------------------


def test_status_page(ready, other_pair):
    result = ready.run("key", "status")
    assert result.code == 1
    for line in ("Secure Boot:  on", "Enrolment:    not-enrolled", "Next:         kmodkeep key enroll"):
        assert f"{line}\n" in result.out
    assert "usage       codeSigning, module signing only" in result.out
    assert "Warning" not in result.out
    shutil.rmtree(ready.keys)
    dkms = ready.path / "var/lib/dkms"
    other_pair.copy_to(dkms / "mok.key", dkms / "mok.pub")
    assert "Warning:      this key can also boot kernels" in ready.run("key", "status").out


def test_fingerprints_are_openssls(ready):
    report, _ = status(ready)
    for field, name in (("fingerprint", "-sha256"), ("fingerprint_sha1", "-sha1")):
        line = subprocess.run(
            ["openssl", "x509", "-inform", "DER", "-in", ready.keys / "signing.der", "-noout",
             "-fingerprint", name], capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert line.split("=")[1].strip().replace(":", "").lower() == report[field]


def test_status_in_shell(ready):
    result = ready.run("key", "status", "--shell")
    assert result.code == 0
    values = dict(line.split("=", 1) for line in result.out.splitlines())
    assert values["secure_boot"] == "on" and values["enrolment"] == "not-enrolled"
    assert values["origin"] == "own" and values["cert"] == str(ready.keys / "signing.der")


def test_status_without_a_key(tree):
    report, code = status(tree)
    assert report["key"] is None and code == 0  # no EFI: none is needed
    tree.secure_boot()
    report, code = status(tree)
    assert code == 1 and report["next_step"] == "kmodkeep key create"


def test_how_to_remove(ready):
    assert ready.run("key", "status", "--how-to-remove").out == ""
    enroll(ready)
    assert "mokutil --revoke-import" in ready.run("key", "status", "--how-to-remove").out
    ready.enrol(ready.keys / "signing.der")
    text = ready.run("key", "status", "--how-to-remove").out
    assert f"mokutil --delete {ready.keys}/signing.der" in text


def test_others_request_is_noted(ready, tmp_path):
    pair = Pair(tmp_path, "third")
    ready.request(pair.cert.read_bytes())
    result = enroll(ready)
    assert result.code == 0 and "another program's request waits as well" in result.out


def test_key_create_waits_for_another_one_and_names_it(tree):
    """A lock that nobody but root can take; not one on a directory that all may read."""
    lock = tree.path / "run/kmodkeep/key.lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen([PROGRAM, "key", "create", "--root", tree.path], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as waiting:
            line = waiting.stdout.readline()
            assert line.startswith(f"kmodkeep: waiting for process {os.getpid()} ("), line
            assert not tree.keys.exists()
            fcntl.flock(held, fcntl.LOCK_UN)
            assert "made the signing key" in waiting.stdout.read()
    assert lock.stat().st_mode & 0o777 == 0o600
    # One on the directory stops nobody.
    shutil.rmtree(tree.keys)
    directory = os.open(tree.path / "var/lib/kmodkeep", os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    assert tree.run("key", "create").code == 0
    os.close(directory)


# The key that signed a module is the one that kmodkeep speaks of.


def test_the_key_that_dkms_signs_with_is_the_one_to_enrol(ready, plain_module, tmp_path):
    """Another one is enrolled, and the module bears dkms's: no dead end."""
    dkms = Pair(tmp_path, "dkms's key")
    dkms.copy_to(ready.path / "srv/keys/mok.key", ready.path / "srv/keys/mok.der")
    ready.put("etc/dkms/framework.conf", "mok_signing_key=/x\nmok_certificate=/x\nopts=(1 2)\n")
    ready.put("etc/dkms/framework.conf.d/key.conf",
              "mok_signing_key='/srv/keys/mok.key'\nmok_certificate=\"/srv/keys/mok.der\"\n")
    ready.enrol(ready.keys / "signing.der")
    assert enroll(ready).out.startswith("kmodkeep: the key 'kmodkeep host.example")
    module = tmp_path / "m.ko"
    shutil.copy(plain_module, module)
    assert ready.run("sign", "--key", dkms.key, "--cert", dkms.cert, module).code == 0
    result = ready.run("verify", module)
    certificate = ready.path / "srv/keys/mok.der"
    assert result.code == 1 and "untrusted-key: signed by 'dkms's key'" in result.out
    assert f"kmodkeep key enroll --cert {certificate}; or sign it with this host's" in result.out
    result = enroll(ready, "--cert", certificate)
    assert result.code == 0 and "The key 'dkms's key' will be trusted" in result.out, result.text
    assert ": pending-enrolment: " in ready.run("verify", module).out
    ready.enrol(certificate)
    assert ": ok: " in ready.run("verify", module).out


@pytest.mark.parametrize("settings,origin,key", [
    ("mok_signing_key=/srv/mok.key\nmok_certificate=/srv/mok.der\n", "dkms", "srv/mok.key"),
    ("", "dkms", "var/lib/dkms/mok.key"),
    # What is not there yet is not what modules are signed with.
    ("mok_signing_key=/none.key\nmok_certificate=/none.der\n", "dkms", "var/lib/dkms/mok.key"),
])  # fmt: skip
def test_the_key_that_dkms_is_told_of_is_adopted(tree, tmp_path, settings, origin, key):
    """One in a place where dkms no longer looks is not."""
    for name in ("srv/mok", "var/lib/dkms/mok"):
        pair = Pair(tmp_path, name.replace("/", "-"), usage="codeSigning")
        pair.copy_to(tree.path / f"{name}.key", tree.path / f"{name}.{'der' if 'srv' in name else 'pub'}")
    tree.put("etc/dkms/framework.conf.d/mok.conf", settings)
    result = tree.run("key", "create")
    assert f"adopted the signing key of {origin}: {tree.path}/{key}" in result.out, result.text
    # What it advises says what it does not do.
    assert "--own; dkms goes on signing with the other key" in result.out
    assert not tree.keys.exists()
    document = json.loads(tree.run("key", "status", "--json").out)
    assert document["key"] == str(tree.path / key)


def test_ubuntus_key_is_dkmss_on_ubuntu_alone(tree, tmp_path):
    for name, (key, cert) in {"u": ("shim-signed/mok/MOK.priv", "shim-signed/mok/MOK.der"),
                              "d": ("dkms/mok.key", "dkms/mok.pub")}.items():  # fmt: skip
        pair = Pair(tmp_path, name)
        pair.copy_to(tree.path / "var/lib" / key, tree.path / "var/lib" / cert)
    for system, origin in (("debian", "dkms"), ("ubuntu", "ubuntu")):
        tree.put("etc/os-release", f"NAME=x\nID={system}\n")
        assert f"adopted the signing key of {origin}" in tree.run("key", "create").out


FRONT = """#!/bin/sh
exec {program} "$@" --root {tree}
"""


def sign_apart(tree):
    """What preflight does before it has dkms build: its code, and the variables for dkms."""
    function = subprocess.run(["sed", "-n", "/^sign_apart()/,/^}/p", TOP / "kmodkeep/preflight"],
                              capture_output=True, text=True, check=True).stdout  # fmt: skip
    front = tree.put("front", FRONT.format(program=PROGRAM, tree=tree.path))
    front.chmod(0o755)
    script = ('say() { echo "$*"; }; fail() { code=$1; shift; echo "$*"; exit "$code"; }\n'
              f'front={front} scratch=/scratch\n{function}\nsign_apart >&2; env')  # fmt: skip
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
    return done.returncode, sorted(re.findall(r"^mok_\w+=.*", done.stdout, re.M)), done.stderr


def test_preflight_has_dkms_make_no_key(tree, pair):
    """It would make the one that it signs with, and leave it on the host."""
    apart = ["mok_certificate=/scratch/mok.pub", "mok_signing_key=/scratch/mok.key"]
    assert sign_apart(tree)[:2] == (0, apart)
    key, cert = tree.path / "keys/mok.key", tree.path / "keys/mok.pub"
    tree.put("etc/dkms/framework.conf", f"mok_signing_key={key}\nmok_certificate={cert}\n")
    code, variables, said = sign_apart(tree)
    assert (code, variables) == (3, []) and "framework.conf, line 1 and is not there" in said
    pair.copy_to(key, cert)
    assert sign_apart(tree)[:2] == (0, [])
    tree.put("etc/dkms/framework.conf", "mok_signing_key=pkcs11:token=x\nmok_certificate=/x\n")
    assert sign_apart(tree)[:2] == (0, [])


def test_enrol_what_is_no_certificate(ready):
    result = enroll(ready, "--cert", ready.put("x.der", "junk"))
    assert result.code == 1 and "x.der is not a certificate. Next: name the file" in result.err
    result = enroll(ready, "--cert", ready.path / "none.der")
    assert result.code == 1 and "none.der: No such file or directory. Next: " in result.err
    assert not (ready.path / "password").exists()


@pytest.mark.parametrize("verb,option", [("create", "--root"), ("enroll", "--root"), ("enroll", "--cert")])
def test_option_without_its_value(tree, verb, option):
    result = tree.run("key", verb, option, root=False)
    assert result.code == 2
    assert result.err.startswith(f"kmodkeep: key {verb}: {option} needs ")
    assert len(result.err.splitlines()) == 1


# What a key verb must not do.


def test_create_starts_no_program_and_tells_nothing(tree):
    """One process; the key is in its file and nowhere else."""
    trace = tree.path.parent / "trace"
    done = subprocess.run(
        ["strace", "-f", "-s", "65536", "-e", "trace=execve,clone,clone3,fork,vfork,write,openat,prctl,"
         "setrlimit,prlimit64", "-o", trace, PROGRAM, "key", "create", "--root", tree.path],
        capture_output=True, text=True, timeout=300, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()
    assert sum("execve(" in line for line in lines) == 1
    assert not [line for line in lines if re.search(r"\b(clone3?|v?fork)\(", line)]
    assert any("PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in line for line in lines)
    assert any("RLIMIT_CORE" in line and "rlim_cur=0, rlim_max=0" in line for line in lines)
    secret = (tree.keys / "signing.key").read_text().splitlines()[3]
    assert sum(secret in line for line in lines) == 1
    assert secret not in done.stdout + done.stderr


def test_dry_run_of_create_writes_nothing(tree):
    result = create(tree, "--dry-run")
    assert result.code == 0 and "would make the signing key" in result.out
    assert not tree.keys.exists() and not tree.keys.parent.exists()


def test_create_on_a_full_or_read_only_file_system(tree):
    """Nothing is left behind, and the line names the place and the next step."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    state = tree.path / "var/lib/kmodkeep"
    state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "tmpfs", state], check=True)
    try:
        result = create(tree)
        assert result.code == 1 and "no key was made or changed. Next: make room" in result.err
        assert len(result.err.splitlines()) == 1 and not list(state.iterdir())
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        result = create(tree)
        assert result.code == 1 and "Read-only file system" in result.err
        assert len(result.err.splitlines()) == 1
    finally:
        subprocess.run(["umount", state], check=True)
    assert create(tree).code == 0


@pytest.mark.parametrize("syscall", ["fchmod", "fsync", "rename"])
def test_create_killed_anywhere(tree, syscall):
    """After a kill at each call there is a whole pair or none, and the next run makes one."""
    for number in range(1, 20):
        for rest in tree.keys.parent.glob("keys*"):
            shutil.rmtree(rest)
        done = subprocess.run(
            ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}",
             "-e", f"inject={syscall}:signal=KILL:when={number}",
             PROGRAM, "key", "create", "--root", tree.path], capture_output=True, timeout=300,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
        )  # fmt: skip
        if done.returncode != -signal.SIGKILL:
            break
        assert not tree.keys.exists() or len(list(tree.keys.iterdir())) == 3
        assert create(tree).code == 0
        assert [p.name for p in tree.keys.parent.iterdir()] == ["keys"]
        assert status(tree)[0]["problem"] is None
    assert done.returncode == 0 and number > 1
