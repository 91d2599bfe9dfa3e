# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What preflight has to know of dnf and RPM.
# shellcheck disable=SC2034,SC2154 # both sides of what preflight reads
manager=dnf
tools='dnf rpm2cpio cpio'
radar_tools=dnf

how_to_look() { printf 'look at: dnf install --downloadonly kernel-devel-%s' "$1"; }
how_to_keep() { printf "put excludepkgs=kernel* into /etc/dnf/dnf.conf"; }

# The newest kernel among the updates; a package's version with its architecture
# is what its kernel calls itself. A key that nobody has accepted yet is not
# accepted here.
candidates() {
	dnf -q --assumeno repoquery --upgrades --latest-limit=1 --qf '%{version}-%{release}.%{arch}\n' \
		kernel-core >"$scratch/updates" 2>"$scratch/dnf.log" ||
		fail 3 "preflight: dnf repoquery: $(tail -n 1 "$scratch/dnf.log"). Next: dnf check-update"
	# dnf goes on without a repository that it may not use: that is no "no update".
	! trouble=$(grep -h -m 1 -iE 'gpg key|is this ok|error|fail|ignor|skipp' "$scratch/dnf.log" "$scratch/updates") ||
		fail 3 "preflight: dnf repoquery: $(printf '%s\n' "$trouble" | head -n 1). Next: dnf check-update"
	grep -E '^[0-9][^ ]*\.[a-z0-9_]+$' "$scratch/updates" | sort -u
}

# The version of a kernel's package, without its architecture.
version_of() { printf '%s\n' "${1%.*}"; }

# fetch_headers KERNEL DIR: into DIR; prints where they are now.
fetch_headers() {
	into=$2
	dnf -q -y install --downloadonly --destdir="$into/packages" "kernel-devel-$1" >"$into/log" 2>&1 ||
		return 1
	mkdir -p "$into/root"
	for rpm in "$into"/packages/kernel-devel-*.rpm; do
		rpm2cpio "$rpm" | (cd "$into/root" && cpio -idm --quiet) || return 1
	done
	release=$(find "$into/root/usr/src" -path '*/include/config/kernel.release' | head -n 1)
	headers=${release%/include/config/kernel.release}
	[ -e "$headers/Makefile" ] || return 1
	printf '%s\n' "$headers"
}
