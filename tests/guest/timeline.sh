# SPDX-License-Identifier: GPL-2.0-or-later
# flightrec read on real channels: several in one timeline, losses in their place,
# reading on after SIGKILL, files in the place of channels. Sourced after tools.sh.
# shellcheck shell=sh disable=SC2317,SC3037

# What was written to two channels in turns, by text.
texts() { # FILE
	sed 's/.*\]: //' "$1" | tr '\n' '|'
}

# It ran until it was killed, and did not end by itself before.
ended_by_kill() { # PID
	ended=0
	wait "$1" || ended=$?
	[ "$ended" = 143 ] || {
		echo "process $1 ended with $ended, not by SIGTERM"
		return 1
	}
}

two_channels() {
	flightrec read -c default -c small "$@"
}

timeline_merges_channels() {
	for i in 1 2 3; do
		echo "d$i" >/dev/flightrec/default
		echo "s$i" >/dev/flightrec/small
	done
	expect_status 0 two_channels -g '^[ds][1-3]$' &&
		[ "$(texts /run/out)" = 'd1|s1|d2|s2|d3|s3|' ] &&
		expect_status 0 two_channels -r -n 3 &&
		[ "$(texts /run/out)" = 's3|d3|s2|' ] &&
		expect_status 0 two_channels -n 3 &&
		[ "$(texts /run/out)" = 's2|d3|s3|' ] &&
		grep -q ' small   *info ' /run/out &&
		expect_status 0 flightrec read --all -n 200 -o json &&
		grep -q '"channel":"kernel"' /run/out && ! grep -q '"channel":"selftest"' /run/out
}

timeline_filters() {
	flightrec write -p crit -t backup "disk is full" &&
		flightrec write -c small -p notice "disk is fine" &&
		expect_status 0 two_channels -g disk -p err &&
		grep -q ' crit  *backup\[[0-9]*\]: disk is full$' /run/out && [ "$(wc -l </run/out)" = 1 ] &&
		expect_status 0 two_channels --comm backup -o cat &&
		[ "$(cat /run/out)" = 'disk is full' ] &&
		expect_status 0 two_channels --uid nobody && [ ! -s /run/out ] &&
		expect_status 0 two_channels --until 1h && [ ! -s /run/out ] &&
		expect_status 0 two_channels --since 1h --until now -n 1 &&
		[ "$(texts /run/out)" = 'disk is fine|' ]
}

timeline_follows_several() {
	flightrec read -c default -c small -f -n 0 >/run/follow &
	follower=$!
	sleep 1
	for i in $(seq 100); do
		echo "f$i d" >/dev/flightrec/default
		echo "f$i s" >/dev/flightrec/small
	done
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(wc -l </run/follow)" = 200 ] && break
		sleep 1
	done
	kill "$follower"
	ended_by_kill "$follower" || return 1
	sed 's/.*: //' /run/follow >/run/followed
	for i in $(seq 100); do
		echo "f$i d"
		echo "f$i s"
	done | cmp - /run/followed
}

timeline_puts_a_loss_in_its_place() {
	rm -f /run/cursor
	echo before >/dev/flightrec/small
	two_channels --cursor-file /run/cursor >/run/out || return 1
	echo between >/dev/flightrec/default
	long=$(head -c 4000 /dev/zero | tr '\0' x)
	for _ in $(seq 60); do
		flightrec write -c small "$long"
	done
	echo after >/dev/flightrec/default
	expect_status 0 two_channels --cursor-file /run/cursor &&
		cut -c1-100 /run/out >/run/short && cat /run/short &&
		sed -n 1p /run/short | grep -q 'between$' &&
		sed -n 2p /run/short | grep -q '^# lost [0-9]* records of channel small$' &&
		tail -n 1 /run/short | grep -q 'after$' || return 1
	# Blocks of two processors are overwritten in turns: there may be further losses.
	lost=$(awk '/^# lost / { sum += $3 } END { print sum }' /run/short)
	kept=$(grep -c xxx /run/short)
	echo "$lost lost, $kept kept"
	[ $((lost + kept)) -eq 60 ]
}

# Each number once, or counted as lost: of what the lines say, in awk.
gapless() { # FILE
	awk -F'[:,]' '
		{ seq = lost = ""; for (i = 1; i < NF; i++) {
			if ($i ~ /"seq"$/) seq = $(i + 1) + 0
			if ($i ~ /"lost"$/) lost = $(i + 1) + 0 } }
		NR > 1 && seq != last + lost + 1 { print "line " NR ": " seq " after " last; bad = 1 }
		{ last = seq; total += lost; records++ }
		END { print records " records, " total " lost"; exit bad || records < 200 }' "$1"
}

# A writer that floods, and a reader that is killed again and again.
timeline_survives_sigkill() {
	rm -f /run/cursor /run/out.json /run/err
	i=0
	while :; do
		i=$((i + 1))
		echo "event number $i, and some text so that pieces are large enough to be killed in"
	done >/run/flood.fifo &
	flood=$!
	flightrec write </run/flood.fifo &
	writer=$!
	kills=0
	while [ "$kills" -lt "$1" ]; do
		flightrec read -f -o json --cursor-file /run/cursor >>/run/out.json 2>>/run/err &
		reader=$!
		usleep "$((30000 + kills * 79193 % 250000))"
		kill -9 "$reader" || return 1
		wait "$reader"
		kills=$((kills + 1))
	done 2>/dev/null
	kill "$flood" "$writer"
	ended_by_kill "$flood" && ended_by_kill "$writer" || return 1
	flightrec read -o json --cursor-file /run/cursor >>/run/out.json 2>>/run/err || return 1
	cat /run/err
	[ ! -s /run/err ] || return 1
	# And to the end: the last line is the newest record.
	flightrec read -n 1 -o json >/run/newest
	gapless /run/out.json && tail -n 1 /run/out.json | cmp - /run/newest
}

# Driver loaded again, boot forged, file damaged: said, and nothing is left out.
timeline_cursor_of_another_load() {
	rm -f /run/cursor
	echo old >/dev/flightrec/default
	flightrec read --cursor-file /run/cursor >/dev/null || return 1
	modprobe -r flightrec_events flightrec && sleep 1 && load_driver || return 1
	echo new >/dev/flightrec/default
	expect_status 0 flightrec read --cursor-file /run/cursor -o cat &&
		[ "$(cat /run/out)" = new ] &&
		grep -q 'from another load of the driver: beginning at the oldest' /run/err &&
		sed -i 's/^boot .*/boot 00000000000000000000000000000000/' /run/cursor &&
		expect_status 0 flightrec read --cursor-file /run/cursor -o cat &&
		[ "$(cat /run/out)" = new ] &&
		grep -q 'from another boot' /run/err &&
		expect_status 0 flightrec read --cursor-file /run/cursor &&
		[ ! -s /run/out ] && [ ! -s /run/err ] &&
		echo rubbish >/run/cursor &&
		expect_status 1 flightrec read --cursor-file /run/cursor &&
		grep -q 'not a cursor file' /run/err
}

# What was on its way into a pipe comes again, and that is said.
timeline_cursor_into_a_pipe() {
	rm -f /run/cursor
	flightrec write piped || return 1
	flightrec read --cursor-file /run/cursor -o cat | grep -q 'piped$' || return 1
	flightrec write again || return 1
	flightrec read --cursor-file /run/cursor -o cat | cat >/run/out 2>&1
	[ "$(cat /run/out)" = again ]
}

# A follower of errors sleeps while others are written. When it has been awake, it is past them.
wait_until_awake() { # PID
	before=$(sed -n 's/^voluntary_ctxt_switches:.//p' "/proc/$1/status")
	for _ in $(seq 300); do
		now=$(sed -n 's/^voluntary_ctxt_switches:.//p' "/proc/$1/status")
		[ "$now" -ge $((before + 2)) ] && return 0
		usleep 100000
	done
	echo "process $1 was not awake in 30 s"
	return 1
}

# What a filter passed over is not lost, though it is overwritten.
timeline_filtered_is_not_lost() {
	flightrec write -c small -p err first
	flightrec read -c small -f -p err -o cat >/run/follow &
	follower=$!
	for _ in 1 2 3 4; do
		seq 500 | flightrec write -c small
		wait_until_awake "$follower" || return 1
	done
	flightrec write -c small -p err second
	for _ in $(seq 300); do
		grep -q second /run/follow && break
		usleep 100000
	done
	kill "$follower"
	ended_by_kill "$follower" || return 1
	cat /run/follow
	! grep '^#' /run/follow && [ "$(tail -n 1 /run/follow)" = second ]
}

# The same for the next reader with that cursor file.
timeline_filtered_with_a_cursor() {
	rm -f /run/cursor
	flightrec write -c small -p err third
	flightrec read -c small -f -p err -o cat --cursor-file /run/cursor >/run/follow &
	follower=$!
	for _ in 1 2 3 4; do
		seq 500 | flightrec write -c small
		newest=$(flightrec read -c small -n 1 -o json | sed 's/.*"seq":\([0-9]*\).*/\1/')
		for _ in $(seq 300); do
			grep -q "^channel small $newest " /run/cursor && break
			usleep 100000
		done
		grep -q "^channel small $newest " /run/cursor || return 1
	done
	kill "$follower"
	ended_by_kill "$follower" || return 1
	flightrec write -c small -p err fourth
	expect_status 0 flightrec read -c small -p err -o cat --cursor-file /run/cursor &&
		[ "$(cat /run/out)" = fourth ] && [ ! -s /run/err ]
}

files_are_no_channels() {
	echo lost >/dev/flightrec/typo
	expect_status 0 flightrec stats &&
		grep -q '^flightrec: /dev/flightrec/typo is a file of 5 bytes, not a channel' /run/err &&
		! grep -q selftest /run/out &&
		expect_status 0 flightrec stats --all && grep -q '^selftest ' /run/out &&
		expect_status 3 flightrec write -c typo hi &&
		grep -q 'not a channel of the recorder' /run/err &&
		# Busybox's dd cannot read what the smoke test reads; what it says comes before.
		! /usr/lib/flightrec/smoke-test >/run/out 2>/run/err &&
		grep -q '/dev/flightrec/typo is a file' /run/err &&
		expect_status 3 flightrec write -c kernel x && grep -q 'only the kernel writes' /run/err
}

# As udev calls it when the driver arrives.
files_are_moved_when_the_driver_comes() {
	modprobe -r flightrec_events flightrec && sleep 1 || return 1
	mkdir -p /dev/flightrec
	echo "went into a file" >/dev/flightrec/default
	echo "and another" >/dev/flightrec/typo
	ln -s /run/nowhere /dev/flightrec/link
	load_driver || return 1
	[ -f /dev/flightrec/default ] || return 1
	chmod 755 /usr/lib/flightrec/channel-node
	for channel in default small kernel; do
		IFS=: read -r major minor <"/sys/class/flightrec/$channel/dev"
		DEVNAME=/dev/flightrec/$channel MAJOR=$major MINOR=$minor DEVMODE=0600 \
			/usr/lib/flightrec/channel-node 0640 nogroup || return 1
	done
	ls -l /dev/flightrec /run/flightrec/stray
	[ -c /dev/flightrec/default ] && [ ! -e /dev/flightrec/typo ] && [ ! -L /dev/flightrec/link ] &&
		[ "$(stat -c %a:%G /dev/flightrec/default)" = 640:nogroup ] &&
		grep -q 'went into a file' /run/flightrec/stray/default.* &&
		grep -q 'and another' /run/flightrec/stray/typo.* &&
		[ "$(stat -c %a /run/flightrec/stray)" = 700 ] &&
		dmesg | grep -q '/dev/flightrec/default was a file, not a channel' &&
		expect_status 0 flightrec write now a channel &&
		expect_status 0 flightrec read -n 1 -o cat && [ "$(cat /run/out)" = 'now a channel' ]
}
