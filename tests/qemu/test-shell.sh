#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in a guest: takes commands from the test over a virtio serial port, one at
# a time.
#
# A request is a line "run-NUMBER BASE64", the answer "run-NUMBER STATUS BASE64".
# Both sides skip lines that do not look so, such as the rest of a request that a
# reboot cut short.
set -eu

port=$1
while [ ! -e "$port" ]; do sleep 0.2; done
exec <>"$port" >&0
while read -r number request; do
	case $number in
	run-*) ;;
	*) continue ;;
	esac
	status=0
	# In a session of its own, with a file for its output: a daemon that it
	# leaves behind can neither hold up the answer nor write into it.
	echo "$request" | base64 -d >/run/test-shell.command
	setsid /bin/sh /run/test-shell.command </dev/null >/run/test-shell.output 2>&1 || status=$?
	printf '\n%s %s %s\n' "$number" "$status" "$(base64 </run/test-shell.output | tr -d '\n')"
done
