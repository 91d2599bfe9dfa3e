// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoint of trace.h: this file has its code and its data. */
#include <linux/module.h>

#define CREATE_TRACE_POINTS
#include "trace.h"
