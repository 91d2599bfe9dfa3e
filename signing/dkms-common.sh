# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What the two dkms hooks share: TREE is /var/lib/dkms/MODULE/VERSION. dkms
# tells scripts neither kernel nor architecture, so dkms.conf passes them; where
# it does not, every kernel that this version was built for is looked at.

# shellcheck disable=SC2034 # for those that read this file
kmodkeep=${0%/*}/../../sbin/kmodkeep

# each_build ACTION TREE [KERNEL [ARCH]]: runs ACTION KERNEL FILE... for each.
each_build() {
	action=$1 tree=$2 kernel=${3:-*} arch=${4:-*} failed=0 found=
	# shellcheck disable=SC2231 # * must expand
	for dir in "$tree"/$kernel/$arch/module; do
		rest=${dir#"$tree"/}
		case $rest in
		source/* | build/*) continue ;;
		esac
		set -- "$dir"/*.ko*
		[ -f "$1" ] || continue
		found=yes
		"$action" "${rest%%/*}" "$@" || failed=$?
	done
	if [ -z "$found" ]; then
		printf 'kmodkeep: no module was built in %s\n' "$tree" >&2
		return 1
	fi
	return "$failed"
}
