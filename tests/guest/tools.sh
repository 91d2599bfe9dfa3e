# SPDX-License-Identifier: GPL-2.0-or-later
# flightrec(1) with the driver loaded: sourced by the script of the guest, after
# guest-lib.sh.
# shellcheck shell=sh disable=SC2317

# expect_status STATUS COMMAND...
expect_status() {
	want=$1
	shift
	got=0
	"$@" >/run/out 2>/run/err || got=$?
	[ "$got" -eq "$want" ] || {
		echo "exit status $got, expected $want: $*" >&2
		cat /run/out /run/err >&2
		return 1
	}
}

tool_writes_and_reads() {
	expect_status 0 flightrec write -p err two words &&
		expect_status 0 flightrec read -n 1 &&
		grep -q ' err  *flightrec\[[0-9]*\]: two words$' /run/out
}

tool_reads_lines() {
	printf 'one\n\n<4>three\nfour' | flightrec write &&
		expect_status 0 flightrec read -n 4 &&
		[ "$(sed 's/.*\]: //' /run/out | tr '\n' '|')" = 'one||three|four|' ] &&
		sed -n 3p /run/out | grep -q ' warning '
}

tool_json() {
	printf 'quote " back\\ \377 \001' >/dev/flightrec/default &&
		printf 'text "quoted"\n' >/dev/flightrec/default &&
		expect_status 0 flightrec read -n 2 --json &&
		sed -n 1p /run/out | grep -q '"payload_hex":"71756f746520' &&
		sed -n 2p /run/out | grep -q '"origin":"user".*"uid":0.*"text":"text \\"quoted\\"\\n"}$'
}

tool_goes_on_after_a_refused_line() {
	{
		echo before
		head -c 5000 /dev/zero | tr '\0' x
		echo
		echo after
	} >/run/lines
	expect_status 1 flightrec write </run/lines &&
		grep -q '5000 bytes is too long' /run/err &&
		expect_status 0 flightrec read -n 2 &&
		[ "$(sed 's/.*\]: //' /run/out | tr '\n' '|')" = 'before|after|' ]
}

tool_follows() {
	flightrec read -f -n 0 >/run/follow &
	follower=$!
	sleep 1
	flightrec write followed
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		if grep -q 'followed$' /run/follow; then
			kill "$follower"
			return 0
		fi
		sleep 1
	done
	kill "$follower"
	return 1
}

tool_since() {
	flightrec write long ago
	sleep 3
	flightrec write just now &&
		expect_status 0 flightrec read --since 2s &&
		[ "$(sed 's/.*\]: //' /run/out)" = 'just now' ] &&
		expect_status 0 flightrec read --since 1h &&
		grep -q 'long ago$' /run/out
}

# A reader keeps the driver from being unloaded until it is told to let go.
tool_follows_over_a_reload() {
	flightrec read -f -n 0 >/run/follow 2>/run/follow.err &
	follower=$!
	sleep 1
	flightrec write before the reload
	sleep 1
	if rmmod flightrec 2>/dev/null; then
		echo "the driver was unloaded under a reader" >&2
		return 1
	fi
	kill -HUP "$follower"
	sleep 1
	modprobe -r flightrec_events flightrec && sleep 1 && modprobe flightrec && sleep 2
	flightrec write after the reload
	sleep 1
	kill "$follower"
	cat /run/follow.err
	grep -q 'before the reload$' /run/follow && grep -q 'after the reload$' /run/follow &&
		grep -q 'let go' /run/follow.err && grep -q 'the driver is back' /run/follow.err
}

tool_survives_a_closed_pipe() {
	for _ in 1 2 3 4 5 6 7 8 9; do
		head -c 4000 /dev/zero | tr '\0' y | flightrec write
	done
	flightrec read | head -n 1 >/run/out 2>/run/err
	[ "$(wc -l </run/out)" = 1 ] && [ ! -s /run/err ]
}

tool_stats() {
	# The default grows with the possible CPUs.
	size=$(sed -n 's/^channel=default size_kb=\([0-9][0-9]*\) .*/\1/p' /proc/flightrec/stats)
	[ "$size" -ge 1024 ] && expect_status 0 flightrec stats --json &&
		grep -q '^{"channel":"default","size_kb":'"$size"',"records":[0-9]*,' /run/out &&
		[ "$(grep -c '^{' /run/out)" -eq "$(grep -c '^channel=' /proc/flightrec/stats)" ] &&
		expect_status 0 flightrec stats &&
		grep -q '^default ' /run/out
}

tool_refuses_nonsense() {
	expect_status 2 flightrec &&
		expect_status 2 flightrec frobnicate &&
		expect_status 2 flightrec write -p loud text &&
		expect_status 2 flightrec read -n few &&
		expect_status 2 flightrec read surplus &&
		expect_status 3 flightrec read -c nowhere &&
		grep -q 'there is no such channel' /run/err &&
		expect_status 2 flightrec read -c ../kmsg &&
		expect_status 3 flightrec write -c kernel text &&
		expect_status 0 flightrec --help &&
		expect_status 0 flightrec write --help &&
		expect_status 0 flightrec read --help &&
		expect_status 0 flightrec stats --help
}

tool_without_driver() {
	expect_status 3 flightrec stats &&
		grep -q 'modprobe flightrec' /run/err &&
		expect_status 3 flightrec read &&
		grep -q 'modprobe flightrec' /run/err
}

smoke_test_fails_without_driver() {
	expect_status 1 /usr/lib/flightrec/smoke-test
}

# The quota, which nobody has set, follows the smallest channel.
tool_makes_channels() {
	before=$(cat /sys/module/flightrec/parameters/quota)
	expect_status 0 flightrec channel create --size 200 --mode 0620 --group 7 run &&
		[ "$(stat -c '%a %g' /dev/flightrec/run)" = "620 7" ] &&
		[ "$(cat /sys/module/flightrec/parameters/quota)" -eq $((200 * 1024 / 4)) ] &&
		expect_status 0 flightrec channel list &&
		grep -Eq '^run +200  0620  7$' /run/out &&
		grep -Eq '^kernel +[0-9]+  0400  ' /run/out &&
		expect_status 0 flightrec write -c run first &&
		expect_status 0 flightrec read -c run -o cat &&
		[ "$(cat /run/out)" = first ] &&
		expect_status 0 flightrec channel resize --size 400 run &&
		[ "$(cat /sys/module/flightrec/parameters/quota)" -eq $((400 * 1024 / 4)) ] &&
		expect_status 0 flightrec read -c run -o cat &&
		[ "$(cat /run/out)" = first ] &&
		expect_status 1 flightrec channel resize -s 1 run &&
		grep -q '1 KiB are too few; the least is [0-9]*$' /run/err &&
		expect_status 1 flightrec channel resize -s 400 kernel &&
		grep -q 'have the size that they got' /run/err &&
		expect_status 1 flightrec channel resize -s 400 nowhere &&
		grep -q 'nowhere: there is no such channel' /run/err &&
		expect_status 2 flightrec channel resize run &&
		expect_status 2 flightrec channel resize -s 400 -m 0600 run &&
		expect_status 1 flightrec channel create run &&
		grep -q 'there is one of that name' /run/err &&
		expect_status 1 flightrec channel create -s 1 small-one &&
		grep -q '1 KiB are too few; the least is [0-9]*$' /run/err &&
		expect_status 1 flightrec channel create -s 1000000000 large-one &&
		grep -q 'KiB are too many; of a quarter of memory' /run/err &&
		expect_status 2 flightrec channel create Run &&
		expect_status 2 flightrec channel remove Run &&
		expect_status 1 flightrec channel remove kernel &&
		grep -q 'always exist' /run/err &&
		expect_status 1 flightrec channel remove nowhere run &&
		grep -q 'nowhere: there is no such channel' /run/err &&
		[ ! -e /dev/flightrec/run ] &&
		[ "$(cat /sys/module/flightrec/parameters/quota)" = "$before" ]
}

tool_follows_to_a_removal() {
	flightrec channel create -s 200 run && flightrec write -c run one || return 1
	timeout 60 flightrec read -f -c run -o cat >/run/followed 2>/run/followed.err &
	until grep -q one /run/followed; do sleep 0.1; done
	flightrec write -c run two && flightrec channel remove run
	wait $! && [ "$(cat /run/followed)" = "one
two" ] && grep -q removed /run/followed.err
}
