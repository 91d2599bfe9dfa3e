# SPDX-License-Identifier: GPL-2.0-or-later
"""A driver that neither dkms nor a kernel has any more is lost, unless somebody took it away."""

import json
import shutil

import pytest

from tests.unit.kmodkeep.system import NEW, OLD, System

CONF = 'PACKAGE_NAME="sample"\nBUILT_MODULE_NAME[0]="sample"\nDEST_MODULE_LOCATION[0]="/extra"\n'
UNFINISHED = ["unpacked", "half-configured", "half-installed"]


class Host(System):
    """Its driver is known by no drop-in: its package brings dkms's source."""

    def __init__(self, tree):
        super().__init__(tree)
        (self.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
        tree.put("usr/sbin/apt-get").chmod(0o755)
        tree.put("var/lib/dpkg/info/format", "1\n")
        self.unpack("1.0")
        self.package("installed")
        self.register("1.0")

    def package(self, state, name="sample_dkms"):
        self.packages(**{name: state})

    def unpack(self, version, name="sample-dkms"):
        for old in self.path.glob("usr/src/sample-*"):
            shutil.rmtree(old)
        self.tree.put(f"usr/src/sample-{version}/dkms.conf", CONF)
        self.brings(f"/usr/src/sample-{version}/dkms.conf", name=name)

    def brings(self, *files, name="sample-dkms"):
        self.tree.put(f"var/lib/dpkg/info/{name}.list", "\n".join(["/.", *files, ""]))

    def register(self, version):
        place = self.path / f"var/lib/dkms/sample/{version}"
        place.mkdir(parents=True)
        (place / "source").symlink_to(f"/usr/src/sample-{version}")

    def dkms_removes(self):
        shutil.rmtree(self.path / "var/lib/dkms/sample")
        for kernel in (OLD, NEW):
            self.remove(kernel)

    def guard(self):
        result = self.tree.run("guard")
        return result.code, result.text

    def served(self):
        state = json.loads((self.path / "var/lib/kmodkeep/state.json").read_text())
        return {one["driver"] for one in state["served"]}

    def finding(self):
        result = self.tree.run("doctor", "--json", "--next-boot")
        found = [f for f in json.loads(result.out)["findings"] if f["module"] == "sample"]
        return found[0] if found else None


@pytest.fixture
def host(tree):
    return Host(tree)


@pytest.mark.parametrize("state", UNFINISHED)
def test_new_version_that_is_not_configured_has_lost_what_served(host, state):
    assert host.guard()[0] == 0 and host.served() == {"sample"}
    host.dkms_removes()
    host.unpack("1.1")
    host.package(state)
    # Also where the guard has been asked in between.
    for _ in range(3):
        code, text = host.guard()
        assert code == 1 and "next boot would lose sample" in text, text
    assert f"package sample-dkms is {state}, so dkms does not know sample 1.1 yet" in text
    found = host.finding()
    assert (found["verdict"], found["cause"], found["command"], found["note"]) == (
        "missing", "unfinished", "dpkg --configure -a", False)  # fmt: skip
    status = host.tree.run("status")
    assert status.code == 1 and status.out.startswith("NOT SAFE")
    assert [s["command"] for s in json.loads(host.tree.run("next", "--json").out)["repair"]] == [
        "dpkg --configure -a"
    ]
    # As dpkg goes on.
    host.package("installed")
    host.register("1.1")
    for kernel in (OLD, NEW):
        host.install(kernel)
    assert host.guard()[0] == 0 and host.served() == {"sample"}


@pytest.mark.parametrize("name", ["sample-dkms", "sample"])
def test_of_what_served_before_nothing_is_known(host, name):
    host.dkms_removes()
    host.unpack("1.1", name=name)
    host.package("unpacked", name=name.replace("-", "_"))
    for _ in range(2):
        code, text = host.guard()
        assert code == 3 and "next boot: cannot tell for sample" in text, text
    assert f"package {name} is unpacked" in text and "Next: dpkg --configure -a" in text
    assert host.finding()["verdict"] == "unknown"


def test_the_source_is_not_unpacked_yet(host):
    host.dkms_removes()
    shutil.rmtree(host.path / "usr/src/sample-1.0")
    host.package("half-installed")
    assert host.guard()[0] == 3


def test_the_module_is_loaded(host):
    host.tree.put("sys/module/sample/taint", "OE\n")
    host.dkms_removes()
    host.package("unpacked")
    assert host.guard()[0] == 1
    found = host.finding()
    assert found["cause"] == "unfinished" and found["command"] == "dpkg --configure -a"


@pytest.mark.parametrize("before", [True, False])
def test_a_build_that_failed_while_the_package_was_configured(host, before):
    """dkms knows the new version, and has built it for no kernel."""
    if before:
        assert host.guard()[0] == 0
    host.dkms_removes()
    host.unpack("1.1")
    host.register("1.1")
    host.package("half-configured")
    code, text = host.guard()
    assert code == (1 if before else 3), text
    assert "would lose sample" in text if before else "cannot tell for sample" in text


def test_a_script_that_failed_where_packages_have_no_such_state(host):
    """As with rpm: the package counts as installed, and dkms was not told of it."""
    assert host.guard()[0] == 0
    host.dkms_removes()
    host.unpack("1.1")
    (host.path / "var/lib/dpkg/status").write_text("")
    for _ in range(2):
        code, text = host.guard()
        assert code == 1 and "dkms does not know sample 1.1, whose source is in /usr/src" in text
    found = host.finding()
    assert found["command"] == f"dkms install sample/1.1 -k {NEW}"


def test_a_source_that_never_served_is_no_driver(host):
    host.dkms_removes()
    host.tree.put("usr/src/other-2/dkms.conf", CONF.replace("sample", "other"))
    code, text = host.guard()
    assert code == 0 and "no out-of-tree driver was found" in text


@pytest.mark.parametrize("state", ["config-files", None])
def test_a_package_that_was_removed_is_no_loss(host, state):
    assert host.guard()[0] == 0
    host.dkms_removes()
    shutil.rmtree(host.path / "usr/src/sample-1.0")
    host.brings()
    host.package(state) if state else host.tree.put("var/lib/dpkg/status")
    code, text = host.guard()
    assert code == 0 and "no out-of-tree driver was found" in text
    assert not host.served()
    # And stays none when a source comes by itself.
    host.unpack("1.1")
    assert host.guard()[0] == 0


def test_one_that_is_to_be_ignored(host):
    assert host.guard()[0] == 0
    host.dkms_removes()
    host.package("unpacked")
    assert host.guard()[0] == 1
    host.tree.put("etc/kmodkeep/drivers.d/sample.conf", "ignore = yes\n")
    assert host.guard()[0] == 0 and not host.served()


def test_source_and_builds_deleted_by_hand(host):
    assert host.guard()[0] == 0
    host.dkms_removes()
    shutil.rmtree(host.path / "usr/src/sample-1.0")
    for _ in range(2):
        code, text = host.guard()
        assert code == 1 and "/usr/src/sample-1.0/dkms.conf is gone, which a package" in text


@pytest.mark.parametrize("folder", ["/lib", "/usr/lib"])
@pytest.mark.parametrize("owned", [True, False])
def test_a_module_file_that_vanished(host, owned, folder):
    shutil.rmtree(host.path / "var/lib/dkms/sample")
    shutil.rmtree(host.path / "usr/src/sample-1.0")
    host.brings(f"{folder}/modules/{NEW}/updates/dkms/sample.ko" if owned else "/etc/else")
    assert host.guard()[0] == 0 and host.served() == {"sample"}
    for kernel in (OLD, NEW):
        host.remove(kernel)
    for _ in range(2):
        code, text = host.guard()
        assert code == (1 if owned else 0), text
    assert ("would lose sample" in text and "install that package again" in text) == owned


def test_what_served_is_kept_while_a_pin_is_released(host):
    assert host.guard()[0] == 0
    host.dkms_removes()
    host.package("unpacked")
    host.tree.put("usr/sbin/grub-set-default", "#!/bin/sh\n").chmod(0o755)
    host.tree.run("pin", "hold", OLD)
    host.tree.run("pin", "release")
    assert host.served() == {"sample"}


def test_a_database_of_dpkg_that_is_damaged(host):
    """It does not say that all packages are configured."""
    assert host.guard()[0] == 0
    host.tree.put("var/lib/dpkg/status", "nonsense\n\n")
    code, text = host.guard()
    assert code == 3 and "it is not known which packages are unfinished. Next: " in text, text


@pytest.mark.parametrize("unfinished", [True, False])
def test_a_package_manager_that_does_not_say_what_it_has(host, unfinished):
    assert host.guard()[0] == 0
    host.dkms_removes()
    shutil.rmtree(host.path / "usr/src/sample-1.0")
    host.package("unpacked" if unfinished else "installed")
    host.tree.put("var/lib/dpkg/info/sample-dkms.list", "/.\n\n")  # which dpkg does not read
    code, text = host.guard()
    assert code == 3 and "a place where drivers may be cannot be read" in text, text
    assert host.served() == {"sample"}
    host.brings("/usr/src/sample-1.0/dkms.conf")
    assert host.guard()[0] == 1
