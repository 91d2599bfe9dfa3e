#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Process 1 of a guest that boots a kernel directly.
# shellcheck source=tests/qemu/guest-lib.sh
. /lib/guest.sh

mount_filesystems
announce_kernel
run_script /main
say_done
power_off
