#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Process 1 of a guest that boots a kernel directly.
# shellcheck source=tests/qemu/guest-lib.sh
. /lib/guest.sh

mount_filesystems
announce_kernel
# Before anything patches the kernel: see there.
[ ! -e /modules/guest-int3.ko ] || insmod /modules/guest-int3.ko
run_script /main
[ ! -e /modules/guest-int3.ko ] ||
	echo "guest: stale breakpoints of the emulator: $(cat /sys/module/guest_int3/parameters/met)"
say_done
power_off
