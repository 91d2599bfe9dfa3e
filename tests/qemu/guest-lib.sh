# SPDX-License-Identifier: GPL-2.0-or-later
# What the shell scripts in a guest have in common: reporting results, and the
# steps of process 1.  Results go to the verdict channel, all else to the
# console.
# shellcheck shell=sh

RESULTS=/run/results

# ---- for test scripts

ok() { # NAME
	record "ok $1"
}

not_ok() { # NAME REASON
	record "not ok $1 - $2"
}

skip() { # NAME REASON
	record "skip $1 - $2"
}

# check NAME COMMAND...: ok if the command succeeds
check() {
	check_name=$1
	shift
	check_status=0
	"$@" || check_status=$?
	if [ "$check_status" -eq 0 ]; then
		ok "$check_name"
	else
		not_ok "$check_name" "exit status $check_status of: $*"
	fi
}

# run_program PROGRAM [ARGUMENT...]: run a program that writes its result lines
# to the file that its first argument names.  One that says nothing, or fails
# without saying what, has failed.
run_program() {
	program=$1
	shift
	lines=/run/program-results
	: >"$lines"
	program_status=0
	"$program" "$lines" "$@" || program_status=$?
	record_lines <"$lines"
	sed 's/^/[result] /' "$lines"
	if [ ! -s "$lines" ]; then
		not_ok "${program##*/}" "no results, exit status $program_status"
	elif [ "$program_status" -ne 0 ] && ! grep -q '^not ok ' "$lines"; then
		not_ok "${program##*/}" "exit status $program_status"
	fi
}

# tell TEXT: a line for Guest.wait_told()
tell() {
	record "note $1"
}

# note NAME COMMAND...: what the command prints is told to the test, line by line; ok
# if it succeeds
note() {
	note_name=$1
	shift
	note_status=0
	"$@" >/run/noted || note_status=$?
	sed 's/^/note /' /run/noted | record_lines
	rm /run/noted
	check "$note_name" [ "$note_status" -eq 0 ]
}

# ---- for those above

record() { # LINE
	verdict "$RESULTS" "$1" || end_without_verdict
	echo "[result] $1"
}

record_lines() {
	verdict "$RESULTS" || end_without_verdict
}

# The test sees no last line, and why is on the console.
end_without_verdict() {
	echo "a result could not be told"
	power_off
}

# ---- for process 1

mount_filesystems() {
	mount -t devtmpfs devtmpfs /dev
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /tmp
	mkdir /dev/shm /dev/pts
	mount -t tmpfs tmpfs /dev/shm
	mount -t devpts devpts /dev/pts
}

announce_kernel() {
	echo "guest: $(uname -r), $(nproc) CPUs"
}

# A script that ends early, for whatever reason, is a failure of its own.
run_script() { # SCRIPT
	script_status=0
	sh "$1" || script_status=$?
	[ "$script_status" -eq 0 ] || not_ok "${1##*/}" "exit status $script_status"
}

# With what the test needs to see that every line before this one arrived as it was.
say_done() {
	touch "$RESULTS"
	lines=$(wc -l <"$RESULTS")
	digest=$(sha256sum <"$RESULTS")
	record "GUEST-DONE lines=$lines sha256=${digest%% *}"
}

power_off() {
	sync
	# A PC without ACPI cannot switch off; QEMU ends for a reset, too.
	[ -d /sys/firmware/acpi ] || [ -d /sys/firmware/devicetree ] || reboot -f
	poweroff -f
}
