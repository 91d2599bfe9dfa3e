# SPDX-License-Identifier: GPL-2.0-only
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

# An object of ours is known by the functions that allocated it. The names of
# functions of a module that is gone are gone, too: bare addresses are left.
no_leaks() {
	scan_leaks || return 1
	cat "$LEAKS" >/run/leaks
	if grep -E 'flightrec|^ +\[<[0-9a-f]+>\] 0x[0-9a-f]+$' /run/leaks; then
		cat /run/leaks
		return 1
	fi
}

# It switches itself off with its first complaint.
lockdep_still_works() {
	grep -Eq '^ *debug_locks: +1$' /proc/lockdep_stats
}
