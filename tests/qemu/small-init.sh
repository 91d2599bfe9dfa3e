#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Process 1 of the small guest with Secure Boot: brings up what keys and modules
# need, then takes the test's commands.
set -eu
# shellcheck source=tests/qemu/guest-lib.sh
. /lib/guest.sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

# What a host remembers over a reboot is on the disk: its keys, and what it asked the
# firmware for.
mount_state() {
	mkdir -p /state /var/lib/kmodkeep
	mount -t ext4 /dev/vdb /state
	mkdir -p /state/kmodkeep
	mount -o bind /state/kmodkeep /var/lib/kmodkeep
	[ -e /state/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/state/machine-id
	cp /state/machine-id /etc/machine-id
}

ln -sf /usr/bin/dash /bin/sh
mount_filesystems
while read -r module; do
	modprobe "$module"
done </etc/modules
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
mount_state
announce_kernel
port=$(grep -lx test-shell /sys/class/virtio-ports/*/name)
exec /sbin/test-shell "/dev/$(basename "$(dirname "$port")")"
