# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What preflight has to know of apt and dpkg.
# shellcheck disable=SC2034,SC2154 # both sides of what preflight reads
manager=apt
tools='apt-get apt-cache dpkg-deb'
radar_tools='apt-get apt-cache'

how_to_look() { printf 'apt-get update, then look at: apt-get download linux-headers-%s' "$1"; }
how_to_keep() { printf 'apt-mark hold linux-image-%s' "$(dpkg --print-architecture)"; }

# The releases of images that a full upgrade would install or replace.
candidates() {
	apt-get -s -q full-upgrade >"$scratch/simulation" 2>"$scratch/apt.log" ||
		fail 3 "preflight: apt-get -s full-upgrade: $(tail -n 1 "$scratch/apt.log"). Next: apt-get -f install"
	sed -n 's/^Inst linux-image-\([0-9][^ ]*\) .*/\1/p' "$scratch/simulation" |
		grep -v -e '-dbg$' -e '-unsigned$' | sort -u
}

# The version of a kernel's package, as it would be installed.
version_of() {
	apt-cache policy "linux-image-$1" 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)/\1/p'
}

# The header packages of a release: its own, and those it is made of.
header_packages() {
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
		--no-replaces --no-enhances "linux-headers-$1" 2>/dev/null |
		grep -E '^linux-(headers|kbuild)-[0-9]' | sort -u
}

# fetch_headers KERNEL DIR: into DIR; prints where they are now.
fetch_headers() {
	into=$2
	packages=$(header_packages "$1")
	[ -n "$packages" ] || return 1
	# shellcheck disable=SC2086 # one word is one package
	(cd "$into/packages" && apt-get -q -o APT::Sandbox::User=root download $packages) >"$into/log" 2>&1 ||
		return 1
	for deb in "$into"/packages/*.deb; do
		dpkg-deb -x "$deb" "$into/root" || return 1
	done
	headers=$into/root/usr/src/linux-headers-$1
	[ -e "$headers/Makefile" ] || return 1
	printf '%s\n' "$headers"
}
