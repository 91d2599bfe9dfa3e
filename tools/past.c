// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec read --boot: records of a boot before this one, in the order of time:
 * past.h.
 *
 * Where the end of them matters, with --lines or --reverse, they are printed into a
 * file that has no name, with another one that says where each begins: so their
 * number is not bounded by memory.
 */
#include "past.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "cgroups.h"
#include "report.h"
#include "spool.h"
#include "tool.h"

/* Digits of an id that no two boots of a host share. */
#define ID_DIGITS 8

/* A channel that was seen, and what was lost of it since a record was printed. */
struct loss {
	char channel[FLIGHTREC_NAME_MAX];
	uint64_t lost;
};

/**
 * struct reading - one run
 * @recover: the memory of the boot before; or NULL, and it is in @archive
 * @out: standard output, or @text
 * @text, @starts: what is printed in the end, and a uint64_t for each record of it:
 *	where it begins; NULL if all is printed at once
 */
struct reading {
	const struct past *past;
	struct flightrec_recover *recover;
	struct archive *archive;
	FILE *out, *text, *starts;
	struct loss *losses;
	size_t nlosses;
	uint64_t count;		/* of those in @text */
	bool any;		/* there are records of the wanted channels */
};

bool past_boot_is_now(const char *boot)
{
	char now[33];

	if (!strcmp(boot, "0"))
		return true;
	return !boot_id_now(now) && boot_same(now, boot, ID_DIGITS);
}

/* ---- where the records come from */

/* 1, 0 at the end, or an error. */
static int next_record(struct reading *r, const struct flightrec_recovered **found)
{
	return r->recover ? flightrec_recover_next(r->recover, found) :
			    archive_next(r->archive, found);
}

/* The memory of the boot before: 0, -ENOENT if there is none, or an error that was said. */
static int open_memory(struct reading *r)
{
	const char *problem;
	int err = flightrec_recover_new(&r->recover);

	if (err) {
		complain("no memory");
		return err;
	}
	err = flightrec_recover_add_previous(r->recover);
	if (!err) {
		flightrec_recover_set_order(r->recover, FLIGHTREC_RECOVER_BY_TIME);
		return 0;
	}
	problem = flightrec_recover_problem(r->recover);
	if (err != -ENOENT && err != -ENODEV)
		complain("the memory of the boot before: %s", problem ? problem : strerror(-err));
	flightrec_recover_free(r->recover);
	r->recover = NULL;
	return err == -ENODEV ? -ENOENT : err;
}

/* Has flightrec collect run in this boot, so that the boot before it is kept? */
static bool is_collected(const struct boot *boots, int count)
{
	char now[33];

	return count && !boot_id_now(now) && !strcmp(boots[count - 1].name, now);
}

static int open_archive(struct reading *r, const struct boot *boot)
{
	int err;

	if (boot->problem) {
		complain("%s/%s: %s", BOOTS_DIR, boot->name, boot->problem);
		return EXIT_UNKNOWN;
	}
	err = archive_open(&r->archive, boot->name);
	if (err == -ENOENT)
		complain("no record of boot %.8s is left; see \"flightrec report %.8s\"", boot->name,
			 boot->name);
	else if (err)
		complain("%s/%s: %s", BOOTS_DIR, boot->name, strerror(-err));
	return err == -EACCES ? EXIT_UNKNOWN : err ? EXIT_NO : EXIT_YES;
}

/* Finds the boot and opens its records: an exit status; *@boot is NULL for memory. */
static int open_boot(struct reading *r, const struct boot *boots, int count,
		     const struct boot **boot)
{
	bool unsure = !strcmp(r->past->boot, "-1") && !is_collected(boots, count);
	int err = unsure ? open_memory(r) : -ENOENT;
	int at;

	if (!err)
		return EXIT_YES;
	if (err != -ENOENT && !count)
		return EXIT_UNKNOWN;
	if (unsure && !count) {
		complain("nothing is left of the boot before: flightrec collect has kept none, and no memory is reserved for it, or it was lost (\"reserved\" in flightrec(4))");
		return EXIT_NO;
	}
	if (unsure)
		complain("flightrec collect has not run in this boot: this is the newest one that is kept");
	at = boots_find(boots, count, r->past->boot);
	if (at < 0)
		return EXIT_NO;
	*boot = &boots[at];
	return open_archive(r, *boot);
}

/* The names of control groups stand where their tasks wrote first: found beforehand. */
static void learn_groups(const struct reading *r, const struct boot *boot)
{
	struct reading first = { .past = r->past };
	const struct flightrec_recovered *found;

	enum output output = r->past->format.output;
	bool shown = output != OUTPUT_CAT;

	/* People are shown containers only. */
	if (!boot)
		cgroups_of_past_boot();
	else if (!report_names(boot) && output_for_people(output))
		shown = false;
	if (!shown && !r->past->filter->groups_named)
		return;
	/* What cannot be read is said when the records are printed. */
	if (boot ? archive_open(&first.archive, boot->name) : open_memory(&first))
		return;
	while (next_record(&first, &found) > 0)
		cgroups_learn(found->channel, found->record);
	archive_close(first.archive);
	flightrec_recover_free(first.recover);
}

/* ---- printing */

static bool is_wanted(const struct past *past, const char *channel)
{
	size_t i;

	for (i = 0; past->wanted && i < past->wanted->count; i++)
		if (!strcmp(past->wanted->channels[i].name, channel))
			return true;
	return !past->wanted;
}

/* There are as many as a kernel has channels. */
static struct loss *loss_of(struct reading *r, const char *channel)
{
	struct loss *more;
	size_t i;

	for (i = 0; i < r->nlosses; i++)
		if (!strcmp(r->losses[i].channel, channel))
			return &r->losses[i];
	more = reallocarray(r->losses, r->nlosses + 1, sizeof(*more));
	if (!more)
		abort();
	r->losses = more;
	more[r->nlosses] = (struct loss) { .lost = 0 };
	snprintf(more[r->nlosses].channel, sizeof(more->channel), "%s", channel);
	return &more[r->nlosses++];
}

/* 0 or an error of the temporary file. */
static int print_found(struct reading *r, const struct flightrec_recovered *found)
{
	const struct format *format = &r->past->format;
	struct loss *loss;
	struct entry entry = {
		.record = found->record, .channel = found->channel, .boot_id = found->boot_id,
		.found = found,
	};
	uint64_t start;

	if (!is_wanted(r->past, found->channel))
		return 0;
	r->any = true;
	loss = loss_of(r, found->channel);
	loss->lost += found->record->lost;
	if (!filter_wants(r->past->filter, &entry)) {
		/* In its place, though the record that brought it is not shown. */
		if (loss->lost && !r->starts && output_for_people(format->output)) {
			format_lost(r->out, format, found->channel, loss->lost);
			loss->lost = 0;
		}
		return 0;
	}
	if (r->starts) {
		start = ftello(r->text);
		fwrite(&start, sizeof(start), 1, r->starts);
	}
	entry.lost = loss->lost;
	loss->lost = 0;
	r->count++;
	cgroups_name(&entry);
	format_entry_turned(r->out, format, &entry, r->past->reverse);
	return r->starts && (ferror(r->starts) || ferror(r->text)) ? -errno : 0;
}

/* Copies what @text has of records @from up to @to: 0 or an error. */
static int copy_records(struct reading *r, uint64_t from, uint64_t to)
{
	uint64_t at = 0, end = 0, left;
	char part[16384];
	size_t n;

	if (fseeko(r->starts, from * sizeof(at), SEEK_SET) ||
	    fread(&at, sizeof(at), 1, r->starts) != 1 ||
	    fseeko(r->starts, to * sizeof(at), SEEK_SET) ||
	    fread(&end, sizeof(end), 1, r->starts) != 1 || fseeko(r->text, at, SEEK_SET))
		return -EIO;
	for (left = end - at; left && !ferror(stdout); left -= n) {
		n = fread(part, 1, left < sizeof(part) ? left : sizeof(part), r->text);
		if (!n)
			return -EIO;
		fwrite(part, 1, n, stdout);
	}
	return 0;
}

/* 0 or an error of the temporary files. */
static int print_kept_back(struct reading *r)
{
	uint64_t first =
		r->past->limited && r->past->newest < r->count ? r->count - r->past->newest : 0;
	uint64_t end = ftello(r->text), i;
	int err = 0;

	/* Where the last one ends. */
	fwrite(&end, sizeof(end), 1, r->starts);
	if (fflush(r->text) || fflush(r->starts))
		return -errno;
	if (!r->past->reverse)
		return first < r->count ? copy_records(r, first, r->count) : 0;
	for (i = r->count; i > first && !err && !ferror(stdout); i--)
		err = copy_records(r, i - 1, i);
	return err;
}

/* What was lost after the last record that was printed. */
static void say_lost(struct reading *r)
{
	size_t i;

	for (i = 0; i < r->nlosses; i++) {
		if (!r->losses[i].lost)
			continue;
		if (output_for_people(r->past->format.output))
			format_lost(stdout, &r->past->format, r->losses[i].channel,
				    r->losses[i].lost);
		else
			complain("channel %s: %" PRIu64 " records are missing after the last one printed",
				 r->losses[i].channel, r->losses[i].lost);
	}
}

static int hold_back(struct reading *r)
{
	int err = unnamed_file(&r->text);

	if (!err)
		err = unnamed_file(&r->starts);
	r->out = r->text;
	return err;
}

/* An exit status. */
static int print_records(struct reading *r)
{
	const struct flightrec_recovered *found;
	int status = EXIT_YES, got = 0, err = 0;

	if (r->past->reverse || r->past->limited)
		err = hold_back(r);
	while (!err && !ferror(stdout) && (got = next_record(r, &found)) > 0)
		err = print_found(r, found);
	if (!err && r->starts)
		err = print_kept_back(r);
	if (err) {
		complain("temporary file: %s", strerror(-err));
		return EXIT_NO;
	}
	say_lost(r);
	if (got < 0) {
		complain("%s", got == -EBADMSG ?
			 "what is kept of this boot is damaged: what comes after this is missing" :
			 strerror(-got));
		status = EXIT_NO;
	}
	return status;
}

static void print_end(const struct past *past, const struct boot *boot)
{
	if (!boot || !output_for_people(past->format.output) || !report_end(boot))
		return;
	fputs("== ", stdout);
	report_line(stdout, boot);
	fputc('\n', stdout);
}

/* Says why nothing was printed. */
static void say_none(const struct reading *r, const struct boot *boot)
{
	if (!r->any && r->past->wanted)
		complain("nothing of %s is left of that boot; --all has what there is",
			 r->past->wanted->count > 1 ? "these channels" : "this channel");
	else if (!r->any)
		complain("no record is left of boot %.8s", boot ? boot->name : "-1");
}

static int print_boot(struct reading *r, const struct boot *boot)
{
	uint64_t damaged;
	int status, flushed = EXIT_YES;

	/* The newest comes first; so does how it ended. */
	if (r->past->reverse)
		print_end(r->past, boot);
	status = print_records(r);
	if (!r->past->reverse)
		print_end(r->past, boot);
	if (flush_output(&flushed))
		return flushed;
	damaged = r->recover ? flightrec_recover_count(r->recover, FLIGHTREC_RECOVER_DAMAGED) : 0;
	if (damaged)
		complain("%" PRIu64 " pieces of that memory are damaged: their records are missing", damaged);
	if (!status && !r->count) {
		say_none(r, boot);
		status = EXIT_NO;
	}
	return status;
}

int past_read(const struct past *past)
{
	struct reading r = { .past = past, .out = stdout };
	const struct boot *boot = NULL;
	struct boot *boots;
	int count, status;

	count = boots_load(&boots);
	/* Memory that a reset left alone may still be there. */
	if (count < 0 && strcmp(past->boot, "-1")) {
		complain("%s: %s", BOOTS_DIR, strerror(-count));
		return count == -EACCES ? EXIT_UNKNOWN : EXIT_NO;
	}
	if (count < 0)
		count = 0;
	status = open_boot(&r, boots, count, &boot);
	if (!status) {
		learn_groups(&r, boot);
		status = print_boot(&r, boot);
		filter_say_nameless(past->filter);
	}
	cgroups_free();
	archive_close(r.archive);
	flightrec_recover_free(r.recover);
	if (r.text)
		fclose(r.text);
	if (r.starts)
		fclose(r.starts);
	free(r.losses);
	boots_free(boots, count);
	return status;
}
