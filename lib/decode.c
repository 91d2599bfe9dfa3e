// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Records out of a buffer that nobody vouches for, and errors in words.
 */
#include "internal.h"

#include <string.h>

/*
 * Earlier versions of the driver have fewer members in front of the payload, later ones
 * may have more: only what all have must be there.
 */
static bool fits(const struct flightrec_record *record, size_t room)
{
	return record->version >= FLIGHTREC_ABI_VERSION && record->size <= room &&
	       !(record->size % 8) && record->header_size >= FLIGHTREC_RECORD_MIN &&
	       record->header_size % 8 == 0 && record->header_size <= record->size &&
	       record->len <= record->size - record->header_size;
}

EXPORT int flightrec_decode(const void *buffer, size_t size, size_t *offset,
			    const struct flightrec_record **record)
{
	const struct flightrec_record *here;

	if (*offset >= size)
		return 0;
	if ((uintptr_t)buffer % 8 || *offset % 8 || size - *offset < FLIGHTREC_RECORD_MIN)
		return -EBADMSG;
	here = (const void *)((const char *)buffer + *offset);
	if (!fits(here, size - *offset))
		return -EBADMSG;
	*offset += here->size;
	*record = here;
	return 1;
}

EXPORT const char *flightrec_explain(int error)
{
	switch (-error) {
	case 0:
		return "no error";
	case ENODEV:
		return "the driver is not loaded. Next: modprobe flightrec";
	case ENOENT:
		return "there is no such channel: \"flightrec stats\" lists them";
	case EOPNOTSUPP:
		return "the driver that is loaded cannot do that. Next: load a later one";
	case EACCES:
		return "permission denied: reading needs the group flightrec, writing flightrec-write";
	case EPERM:
		return "not permitted: clearing needs CAP_SYSLOG, and a container the module's parameter \"containers\"";
	case EMSGSIZE:
		return "too long: a record has at most 4096 bytes, its \"<N>\" counted";
	case EDQUOT:
		return "over the quota of bytes per second for this user: write less, or raise the module's parameter \"quota\"";
	case ENOBUFS:
		return "no block to write to: writers that were stopped in the middle hold them";
	case EBADMSG:
		return "what the driver delivered is no record: library and driver do not fit together";
	case ENOTTY:
		return "not a channel of the recorder: a file of that name in /dev/flightrec is a mistake; remove it";
	default:
		/* Of known errors the text is constant, so any thread may ask. */
		return strerror(-error);
	}
}

EXPORT const char *flightrec_version(void)
{
	return FLIGHTREC_VERSION;
}
