#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Process 1 of the guest of `make shell`.
# shellcheck source=tests/qemu/guest-lib.sh
. /lib/guest.sh

mount_filesystems
modprobe flightrec || echo "The driver does not load, see dmesg."

cat <<'TEXT'

Some things to try:
    ls -l /dev/flightrec /proc/flightrec
    echo 'hello' >/dev/flightrec/default
    flightrec read -c default
    cat /proc/flightrec/kernel /proc/flightrec/stats
    modinfo flightrec

TEXT

cd /root || exit
setsid cttyhack sh
power_off
