// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which of the ways to find records a file needs, and what the library offers of
 * them: the files that were added, and the records one by one.
 */
#include "recover.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file that is no known dump and smaller than this may be text with rubbish in it. */
#define TEXT_ANYWAY (16ULL << 20)

EXPORT int flightrec_recover_new(struct flightrec_recover **recover)
{
	*recover = calloc(1, sizeof(**recover));
	if (*recover && recover_boots_new(*recover))
		return 0;
	free(*recover);
	return -ENOMEM;
}

static void free_source(struct source *source)
{
	memory_close(&source->memory);
	store_close(&source->store);
	free(source);
}

EXPORT void flightrec_recover_free(struct flightrec_recover *recover)
{
	if (!recover)
		return;
	blocks_free(recover);
	text_free(recover);
	death_free(recover);
	while (recover->nsources)
		free_source(recover->sources[--recover->nsources]);
	free(recover->sources);
	free(recover->boots);
	free(recover);
}

EXPORT void flightrec_recover_progress(struct flightrec_recover *recover,
				       void (*call)(void *arg, uint64_t done, uint64_t total),
				       void *arg)
{
	recover->progress = call;
	recover->progress_arg = arg;
}

/* Does a file begin like text? Holes and control characters are none. */
static bool begins_like_text(const struct store *store)
{
	unsigned char head[4096];
	ssize_t n = store_read(store, 0, head, sizeof(head));
	ssize_t odd = 0;
	ssize_t i;

	for (i = 0; i < n; i++)
		odd += head[i] < 0x20 && !strchr("\t\n\r\f\b\033", head[i] ? head[i] : 1);
	return n > 0 && odd <= n / 64;
}

/*
 * A vmcore of the kernel's own /proc, or of QEMU, has a signature. What has
 * none is text, or memory from its first byte on, or a small file that may be
 * both: a console's log with rubbish in it.
 */
static int scan_unknown(struct flightrec_recover *recover, struct source *source)
{
	bool text = begins_like_text(&source->store);
	int err;

	if (text || source->store.size < TEXT_ANYWAY) {
		err = text_scan(recover, &source->store);
		recover->format = "text";
		if (err || text)
			return err;
	}
	recover->format = "raw image of memory";
	err = memory_open_raw(&source->memory, &source->store);
	return err ? err : blocks_scan(recover, &source->memory);
}

static int scan(struct flightrec_recover *recover, struct source *source)
{
	int err = memory_open(&source->memory, &source->store);

	if (err > 0)
		err = blocks_scan(recover, &source->memory);
	else if (!err)
		err = scan_unknown(recover, source);
	if (source->memory.format)
		recover->format = source->memory.format;
	recover->problem = source->memory.problem;
	recover->counts[FLIGHTREC_RECOVER_UNREADABLE] += source->memory.unreadable;
	return err;
}

static int add_source(struct flightrec_recover *recover, struct source *source)
{
	struct source **more;

	more = realloc(recover->sources, (recover->nsources + 1) * sizeof(struct source *));
	if (!more)
		return -ENOMEM;
	recover->sources = more;
	recover->sources[recover->nsources++] = source;
	return 0;
}

EXPORT int flightrec_recover_add(struct flightrec_recover *recover, int fd)
{
	struct source *source;
	int err;

	recover->format = recover->problem = NULL;
	if (recover->stage || recover->nfiles >= FILES_MAX)
		return -EINVAL;
	source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	source->store.fd = -1;
	source->file = recover->file = recover->nfiles++;
	err = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	err = err < 0 ? -errno : store_open(&source->store, err);
	if (!err)
		err = add_source(recover, source);
	if (err) {
		free_source(source);
		return err;
	}
	recover->total = source->store.size;
	return scan(recover, source);
}

EXPORT int flightrec_recover_add_previous(struct flightrec_recover *recover)
{
	int fd = open(FLIGHTREC_PROC "/previous.image", O_RDONLY | O_CLOEXEC);
	int err = errno;

	if (fd < 0)
		return err == ENOENT && access(FLIGHTREC_PROC, F_OK) ? -ENODEV : -err;
	err = flightrec_recover_add(recover, fd);
	close(fd);
	return err;
}

EXPORT const char *flightrec_recover_format(const struct flightrec_recover *recover)
{
	return recover->format ? recover->format : "unknown";
}

EXPORT const char *flightrec_recover_problem(const struct flightrec_recover *recover)
{
	return recover->problem;
}

/* ---- the records */

enum { STAGE_ADDING, STAGE_BLOCKS, STAGE_TEXT };

EXPORT int flightrec_recover_set_order(struct flightrec_recover *recover,
				       enum flightrec_recover_order order)
{
	if (recover->stage != STAGE_ADDING ||
	    (order != FLIGHTREC_RECOVER_BY_CHANNEL && order != FLIGHTREC_RECOVER_BY_TIME))
		return -EINVAL;
	recover->order = order;
	return 0;
}

/* No file is added any more. */
static void settle(struct flightrec_recover *recover)
{
	if (recover->stage != STAGE_ADDING)
		return;
	text_sort(recover);
	death_sort(recover);
	recover->stage = STAGE_BLOCKS;
}

static int next_by_channel(struct flightrec_recover *recover)
{
	int got = 0;

	if (recover->stage == STAGE_BLOCKS) {
		got = blocks_next(recover);
		if (!got)
			recover->stage = STAGE_TEXT;
	}
	if (recover->stage == STAGE_TEXT)
		got = text_next(recover);
	return got;
}

static int next_by_time(struct flightrec_recover *recover)
{
	struct moment block, text;
	int got, blocks, texts;

	do {
		blocks = blocks_peek(recover, &block);
		if (blocks < 0)
			return blocks;
		texts = text_peek(recover, &text);
		if (!blocks && !texts)
			return 0;
		/* What is in both comes from memory first, which has the whole. */
		got = blocks && (!texts || !moment_before(&text, &block)) ?
		      blocks_next(recover) : text_next(recover);
	} while (!got);
	return got;
}

EXPORT int flightrec_recover_next(struct flightrec_recover *recover,
				  const struct flightrec_recovered **found)
{
	int got;

	settle(recover);
	got = recover->order == FLIGHTREC_RECOVER_BY_TIME ? next_by_time(recover) :
							     next_by_channel(recover);
	if (got > 0)
		*found = &recover->found;
	return got;
}

EXPORT int flightrec_recover_death(struct flightrec_recover *recover, size_t number,
				   const struct flightrec_death **death)
{
	settle(recover);
	return death_get(recover, number, death);
}

EXPORT uint64_t flightrec_recover_count(const struct flightrec_recover *recover,
					enum flightrec_recover_count what)
{
	return (unsigned int)what < COUNTS ? recover->counts[what] : 0;
}
