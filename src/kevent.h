/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a module that records kernel events knows of the core: this header
 * and two exported functions, in the symbol namespace FLIGHTREC.
 */
#ifndef FLIGHTREC_KEVENT_H
#define FLIGHTREC_KEVENT_H

#include <linux/types.h>

/* The event sources: the enum's name, and the one in the parameter "events". */
#define FLIGHTREC_SOURCE_LIST(X)					\
	X(MODULE, "module")	/* modules loaded and unloaded */	\
	X(NET, "net")		/* interfaces up and down */		\
	X(REBOOT, "reboot")	/* restart, halt, power off */		\
	X(HEARTBEAT, "heartbeat") /* a timer: the kernel was alive */	\
	X(OOM, "oom")		/* killed for lack of memory */		\
	X(OOPS, "oops")		/* the kernel's own mistakes */		\
	X(SUSPEND, "suspend")	/* to memory, to disk, and back */	\
	X(CPU, "cpu")		/* processors switched on and off */	\
	X(HANG, "hang")		/* tasks that hang, processors that lock up */ \
	X(FS, "fs")		/* errors and remounts of file systems */ \
	X(MCE, "mce")		/* machine checks */			\
	X(THERMAL, "thermal")	/* trip points of temperature */	\
	X(PCI, "pci")		/* devices of PCI that come and go */	\
	X(USB, "usb")		/* devices of USB that come and go */	\
	X(CGROUP, "cgroup")	/* paths of writers' control groups: the core's own */ \
	X(OTHER, "other")	/* other modules, by names of their own */

#define FLIGHTREC_SOURCE_ENUM(id, name) FLIGHTREC_SOURCE_##id,
enum flightrec_source {
	FLIGHTREC_SOURCE_LIST(FLIGHTREC_SOURCE_ENUM)
	FLIGHTREC_SOURCES
};

/* As an array's initialiser, and as a text: "module, net, " and so on. */
#define FLIGHTREC_SOURCE_NAME(id, name) [FLIGHTREC_SOURCE_##id] = name,
#define FLIGHTREC_SOURCE_NAMES { FLIGHTREC_SOURCE_LIST(FLIGHTREC_SOURCE_NAME) }
#define FLIGHTREC_SOURCE_WORD(id, name) name ", "
#define FLIGHTREC_SOURCE_WORDS FLIGHTREC_SOURCE_LIST(FLIGHTREC_SOURCE_WORD)

/* The core asks for this alias when a source is named in "events". */
#define FLIGHTREC_EVENTS_ALIAS "flightrec-event-source"

/**
 * flightrec_emit - record an event in the channel "kernel"
 * @source: where it comes from; must be one of the enum
 * @severity: 0 (emergency) to 7 (debug)
 * @fmt: printf format; the text is cut at 255 bytes
 *
 * May be called from any context, an NMI too; never sleeps.
 *
 * Return: 0; -ENOENT if the administrator did not ask for this source;
 * -ENOBUFS as in flightrec_channel_append().
 */
__printf(3, 4)
int flightrec_emit(enum flightrec_source source, u8 severity,
		   const char *fmt, ...);

/**
 * flightrec_note - record an event of any module in the channel "kernel"
 * @source: the name of where it comes from: 1 to 31 of a-z, 0-9, _ and -; the record's
 *	text begins with it and a space
 * @severity: 0 (emergency) to 7 (debug)
 * @fmt: printf format; the whole text is cut at 255 bytes
 *
 * For modules that are not flightrec's own: MODULE_IMPORT_NS() of FLIGHTREC, this header,
 * and the driver's Module.symvers are all they need. One that calls it often must bound that:
 * the channel keeps the newest records, whosever they are. May be called from any context,
 * an NMI too; never sleeps. The stamp is that of the calling task, if there is one.
 *
 * Return: 0; -EINVAL if @source is no such name or @severity is more than 7; -ENOENT if
 * "other" is not among the parameter "events", or the driver is not ready; -ENOBUFS as in
 * flightrec_emit().
 */
__printf(3, 4)
int flightrec_note(const char *source, u8 severity, const char *fmt, ...);

#endif
