# SPDX-License-Identifier: GPL-2.0-only
"""The scripts of flightrec-dkms as rpm runs them, where that needs no guest."""

from tests.rpm import builder, trees


def test_upgrade_keeps_the_source_that_dkms_links_to(tmp_path):
    """A link of dkms's that leads nowhere stops it from building any driver."""
    build = trees.build_packages().build
    entry = "/var/lib/dkms/flightrec/0.1.0-1"
    with builder.Builder() as clone:
        for release in ("1", "2"):
            name = f"flightrec-dkms-0.1.0-{release}.noarch.rpm"
            files = {rpm.name: rpm for rpm in build(trees.TOP, tmp_path / release, release)}
            (clone.path / name).write_bytes(files[name].read_bytes())
        clone.run("rpm -i --nodeps --noscripts /flightrec-dkms-0.1.0-1.noarch.rpm")
        clone.run(f"mkdir -p {entry} && ln -s /usr/src/flightrec-0.1.0-1 {entry}/source")
        options = "--nodeps --nopost --noposttrans"
        # No dkms and no kmodkeep here: only what comes before them counts.
        said = clone.run(f"rpm -U {options} /flightrec-dkms-0.1.0-2.noarch.rpm",
                         check=False).stdout
        assert not (clone.path / "usr/src/flightrec-0.1.0-1").exists(), said
        clone.run(f"grep -q 0.1.0-1 {entry}/source/dkms.conf && test -f {entry}/source/main.c")
        # Once more, as after a transaction that was killed before it switched.
        clone.run(f"rpm -U --replacepkgs {options} /flightrec-dkms-0.1.0-2.noarch.rpm")
        clone.run(f"test -f {entry}/source/main.c")
