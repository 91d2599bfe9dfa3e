# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What the key verbs share. They are started by kmodkeep, whose path is $front;
# it alone reads certificates, keyrings and EFI variables, of the system in $root.
: "${front:?}" "${root:?}"

say() { printf '%s\n' "kmodkeep: $*"; }

# stop CODE MESSAGE [NEXT-STEP]
stop() {
	code=$1 line="kmodkeep: $2"
	[ -z "${3-}" ] || line="$line. Next: $3"
	if [ "$code" -eq 0 ]; then
		printf '%s\n' "$line"
	else
		printf '%s\n' "$line" >&2
	fi
	exit "$code"
}

# --first: while an adopted key is enrolled, an own one can be made and enrolled.
read_state() {
	if [ -n "${given-}" ]; then
		set -- --cert "$given"
	else
		set -- --first
	fi
	# Exit code 3 has said why.
	state=$("$front" key status --shell "$@" --root "$root") || {
		[ $? != 3 ] || exit 3
		stop 3 "the state of this host could not be read"
	}
}

# get NAME: one value of the state; never eval'ed, so nothing in it can run.
get() { printf '%s\n' "$state" | sed -n "s/^$1=//p"; }

# Keys and boot menus belong to a machine; images and containers have neither.
only_on_a_host() {
	case $(get place) in
	container) stop 0 "no signing key is made or enrolled in a container; do it on its host" ;;
	chroot) stop 0 "no signing key is made or enrolled in a chroot; do it on the installed system" ;;
	esac
}

only_as_root() {
	[ "$root" != / ] || [ "$(id -u)" -eq 0 ] ||
		stop 1 "only root may do this" "run it as root"
}
