/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracepoint flightrec:flightrec_record: each record of each channel, when it has
 * been published, for ftrace, perf and BPF. In /sys/kernel/tracing its fields can be
 * filtered; a program at the raw tracepoint gets the arguments below as they are.
 *
 * Nothing is paid for while nobody listens: see trace_flightrec_record_enabled().
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM flightrec

#if !defined(FLIGHTREC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FLIGHTREC_TRACE_H

#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "uapi/flightrec.h"

/*
 * Of a longer payload, what an event has: escaped it fits into a line of the trace, and
 * before 5.16 an event of perf has 2 KiB at most.
 */
#ifndef FLIGHTREC_TRACE_PAYLOAD
#define FLIGHTREC_TRACE_PAYLOAD 512U
#endif

/**
 * flightrec_record - a record was published
 * @channel: the channel's name, FLIGHTREC_NAME_MAX bytes, zero-padded
 * @seq: the record's number there
 * @severity: 0 (emergency) to 7 (debug)
 * @origin: enum flightrec_origin
 * @uid: the writing task's real user, in the initial user namespace
 * @pid: its thread, in the initial pid namespace; 0: no task
 * @payload: @len bytes; an event has the first FLIGHTREC_TRACE_PAYLOAD of them
 * @len: bytes of payload
 *
 * Comes from the context that wrote the record, which may be an interrupt or an NMI.
 * Records of different processors may come in another order than that of their numbers.
 */
TRACE_EVENT(flightrec_record,
	TP_PROTO(const char *channel, u64 seq, u8 severity, u8 origin, u32 uid, u32 pid,
		 const void *payload, u32 len),

	TP_ARGS(channel, seq, severity, origin, uid, pid, payload, len),

	TP_STRUCT__entry(
		__array(char, channel, FLIGHTREC_NAME_MAX)
		__field(u64, seq)
		__field(u8, severity)
		__field(u8, origin)
		__field(u32, uid)
		__field(u32, pid)
		__field(u32, len)
		__dynamic_array(u8, payload, min(len, FLIGHTREC_TRACE_PAYLOAD))
	),

	TP_fast_assign(
		memcpy(__entry->channel, channel, FLIGHTREC_NAME_MAX);
		__entry->seq = seq;
		__entry->severity = severity;
		__entry->origin = origin;
		__entry->uid = uid;
		__entry->pid = pid;
		__entry->len = len;
		memcpy(__get_dynamic_array(payload), payload, min(len, FLIGHTREC_TRACE_PAYLOAD));
	),

	TP_printk("channel=%s seq=%llu severity=%u origin=%s uid=%u pid=%u len=%u payload=%*pE",
		  __entry->channel, __entry->seq, __entry->severity,
		  __entry->origin ? "kernel" : "user", __entry->uid, __entry->pid, __entry->len,
		  __get_dynamic_array_len(payload), __get_dynamic_array(payload))
);

#endif

/* Built outside of the kernel's tree: Kbuild has this folder among those of headers. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
