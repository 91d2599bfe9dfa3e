# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages: what is in them, and the spec file with other distributions' macros."""

import re

import pytest

from tests.rpm import builder, trees

# What Fedora and EL define and Debian's rpm does not, as far as the spec file asks.
MACROS = {
    "fedora": """\
%fedora 42
%dist .fc42
%_unitdir /usr/lib/systemd/system
%_presetdir /usr/lib/systemd/system-preset
%_udevrulesdir /usr/lib/udev/rules.d
%_modulesloaddir /usr/lib/modules-load.d
%_sysusersdir /usr/lib/sysusers.d
%_licensedir /usr/share/licenses
%_sharedstatedir /var/lib
%_sysconfdir /etc
%set_build_flags CFLAGS="${CFLAGS:--O2}" ; export CFLAGS
%systemd_post() if [ $1 -eq 1 ]; then /usr/lib/systemd/systemd-update-helper install-system-units %{?*} || :; fi
%systemd_preun() if [ $1 -eq 0 ]; then /usr/lib/systemd/systemd-update-helper remove-system-units %{?*} || :; fi
""",
    "el9": """\
%rhel 9
%dist .el9
%_unitdir /usr/lib/systemd/system
%_presetdir /usr/lib/systemd/system-preset
%_udevrulesdir /usr/lib/udev/rules.d
%_sysusersdir /usr/lib/sysusers.d
%_licensedir /usr/share/licenses
%set_build_flags CFLAGS="${CFLAGS:--O2}" ; export CFLAGS
%systemd_post() if [ $1 -eq 1 ]; then systemctl --no-reload preset %{?*} || :; fi
%systemd_preun() if [ $1 -eq 0 ]; then systemctl --no-reload disable --now %{?*} || :; fi
""",
    "debian": "",
}


@pytest.fixture(name="packages", scope="module")
def fixture_packages(tmp_path_factory):
    """A Builder with our packages in /packages."""
    into = tmp_path_factory.mktemp("rpm")
    built = trees.build_packages().build(trees.TOP, into / "packages")
    with builder.Builder() as clone:
        (clone.path / "packages").mkdir()
        for rpm in built:
            (clone.path / "packages" / rpm.name).write_bytes(rpm.read_bytes())
        spec = (trees.TOP / "rpm/flightrec.spec").read_bytes()
        (clone.path / "flightrec.spec").write_bytes(spec)
        yield clone


@pytest.mark.parametrize("name", MACROS)
def test_macros(packages, name):
    """Each unit name and path is filled in, whoever's macros do it."""
    (packages.path / "macros").write_text(MACROS[name], encoding="ascii")
    macros = packages.run("rpm --eval '%_rpmconfigdir'").stdout.strip() + "/macros:/macros"
    spec = packages.run(["rpmspec", "--macros", macros, "-P", "/flightrec.spec"]).stdout
    for scriptlet in ("%post -n kmodkeep", "%preun -n kmodkeep"):
        part = spec.split(f"\n{scriptlet}\n")[1].split("\n%")[0]
        assert re.search(r"(systemctl|update-helper) .*kmodkeep-smoke\.service", part), part
    assert "/usr/lib/systemd/system/kmodkeep-smoke.service" in spec
    assert "/usr/lib/udev/rules.d/60-flightrec.rules" in spec
    unknown = re.findall(r"%(?:\{[a-z_?!]+|[a-z]*systemd\w*)", spec)
    assert not unknown, unknown
    version = trees.FIRST + {"fedora": ".fc42", "el9": ".el9", "debian": ""}[name]
    assert f"kmodkeep package configure flightrec {version}\n" in spec


def test_sources_are_delivered_as_they_are(packages):
    packages.run("mkdir /x && cd /x && rpm2cpio /packages/flightrec-dkms*.noarch.rpm | cpio -id --quiet")
    source = next((packages.path / "x/usr/src").iterdir())
    assert source.name == f"flightrec-{trees.FIRST}"
    ours = [p for p in (trees.TOP / "src").rglob("*") if p.is_file()]
    tracked = [p for p in ours if str(p.relative_to(trees.TOP)) in
               trees.build_packages().source_files(trees.TOP)]
    assert tracked
    for path in tracked:
        delivered = source / path.relative_to(trees.TOP / "src")
        assert delivered.read_bytes() == path.read_bytes(), path
        assert delivered.stat().st_mode & 0o111 == path.stat().st_mode & 0o111, path
    assert f'PACKAGE_VERSION="{trees.FIRST}"' in (source / "dkms.conf").read_text(encoding="ascii")


def test_scriptlets_never_ask_and_hide_nothing(packages):
    seen = ""
    for rpm in sorted((packages.path / "packages").glob("*.rpm")):
        seen += packages.run(["rpm", "-qp", "--scripts", "--filetriggers",
                              f"/packages/{rpm.name}"]).stdout
    # Those of each kind are among what is looked at.
    for known in ("kmodkeep package configure", "kmodkeep key create", "kmodkeep guard --trigger"):
        assert known in seen
    assert not re.search(r"^\s*read\b|/dev/tty|--import", seen, re.M), seen
    assert not re.search(r"\|\|\s*(:|true|/bin/true|exit 0)(\s|;|$)", seen), seen
