# SPDX-License-Identifier: GPL-2.0-or-later
# What a kernel that watches itself has found: sourced by the script of the
# guest, after guest-lib.sh.
# shellcheck shell=sh disable=SC2317

LEAKS=/sys/kernel/debug/kmemleak

# What was not freed before the driver came is not its.
start_watching() {
	mount -t debugfs debugfs /sys/kernel/debug
	[ ! -e "$LEAKS" ] || { scan_leaks && echo clear >"$LEAKS"; }
}

# Twice, and not before what is new has come of age: 5 s.
scan_leaks() {
	sleep 6
	echo scan >"$LEAKS" && echo scan >"$LEAKS"
}

no_leaks() {
	scan_leaks || return 1
	awk -f /tests/leaks.awk "$LEAKS" >/run/leaks || return 1
	if [ -s /run/leaks ]; then
		cat /run/leaks
		return 1
	fi
}

# It switches itself off with its first complaint.
lockdep_still_works() {
	grep -Eq '^ *debug_locks: +1$' /proc/lockdep_stats
}
