/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracepoints of ext4 are described by a header of the kernel's, which
 * leaves types of their arguments to ext4 itself. These stand for them: no
 * tracepoint that has one of them is used.
 */
#ifndef FLIGHTREC_COMPAT_EXT4_H
#define FLIGHTREC_COMPAT_EXT4_H

#include <linux/jbd2.h>
#include <linux/types.h>

typedef u64 ext4_fsblk_t;
typedef u32 ext4_lblk_t;
typedef u32 ext4_group_t;
typedef int ext4_grpblk_t;

#include <trace/events/ext4.h>

#endif
