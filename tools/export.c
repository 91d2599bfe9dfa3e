// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record in the journal's export format, as systemd-journal-remote(8) takes it:
 * fields "NAME=value", or the name, a length and bytes where a value is binary; an
 * empty line ends the record. Names that the journal has are used where they mean
 * the same; the others begin with FLIGHTREC_.
 */
#include "format.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "utf8.h"

static void print_field(FILE *out, const char *name, const char *value, size_t len)
{
	uint64_t size = htole64(len);

	if (utf8_valid(value, len) && !memchr(value, '\n', len)) {
		fprintf(out, "%s=", name);
		fwrite(value, 1, len, out);
	} else {
		fprintf(out, "%s\n", name);
		fwrite(&size, sizeof(size), 1, out);
		fwrite(value, 1, len, out);
	}
	fputc('\n', out);
}

/* The journal knows of no loss: it is a field of the record after it. */
static void print_own_fields(FILE *out, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	const struct flightrec_recovered *found = entry->found;

	fprintf(out, "FLIGHTREC_CHANNEL=%s\nFLIGHTREC_SEQ=%" PRIu64 "\n", entry->channel,
		(uint64_t)record->seq);
	if (entry->lost)
		fprintf(out, "FLIGHTREC_LOST=%" PRIu64 "\n", entry->lost);
	fprintf(out, "FLIGHTREC_ORIGIN=%s\nFLIGHTREC_EUID=%u\nFLIGHTREC_CPU=%u\n",
		record->flags & FLIGHTREC_F_INTERRUPT ? "interrupt" :
		record->origin == FLIGHTREC_ORIGIN_KERNEL ? "kernel" : "user",
		record->euid, record->cpu);
	if (!(record->flags & FLIGHTREC_F_INTERRUPT))
		fprintf(out, "FLIGHTREC_TID=%u\n", record->pid);
	if (flightrec_cgroup(record))
		fprintf(out, "FLIGHTREC_CGROUP=%" PRIu64 "\n", flightrec_cgroup(record));
	if (flightrec_start_ns(record))
		fprintf(out, "FLIGHTREC_START_NS=%" PRIu64 "\n", flightrec_start_ns(record));
	if (found && found->flags & FLIGHTREC_RECOVERED_CUT)
		fprintf(out, "FLIGHTREC_FULL_LEN=%u\n", found->full_len);
	if (found && found->flags & FLIGHTREC_RECOVERED_CONFLICT)
		fputs("FLIGHTREC_CONFLICT=1\n", out);
}

/* Under the names that docker's driver for the journal has. */
static void print_container(FILE *out, const struct container *container)
{
	fprintf(out, "FLIGHTREC_CONTAINER_RUNTIME=%s\n", container->runtime);
	if (container->id[0])
		fprintf(out, "CONTAINER_ID=%.*s\nCONTAINER_ID_FULL=%s\n", CONTAINER_ID_SHOWN,
			container->id, container->id);
	if (container->name[0])
		print_field(out, "CONTAINER_NAME", container->name, strlen(container->name));
}

static void print_writer(FILE *out, const struct flightrec_record *record)
{
	size_t len = strnlen(record->comm, sizeof(record->comm));

	if (record->flags & FLIGHTREC_F_INTERRUPT) {
		fputs("SYSLOG_IDENTIFIER=kernel\n", out);
		return;
	}
	print_field(out, "SYSLOG_IDENTIFIER", record->comm, len);
	print_field(out, "_COMM", record->comm, len);
	fprintf(out, "_PID=%u\n_UID=%u\n", record->tgid, record->uid);
}

/* Of this host, and so not of a record from a crash, which may be another's. */
static void print_host(FILE *out)
{
	static char name[256], machine[33];
	FILE *file;

	if (!name[0]) {
		if (gethostname(name, sizeof(name) - 1))
			strcpy(name, "localhost");
		file = fopen("/etc/machine-id", "re");
		if (file && (!fgets(machine, sizeof(machine), file) ||
			     strspn(machine, "0123456789abcdef") != 32))
			machine[0] = '\0';
		if (file)
			fclose(file);
	}
	print_field(out, "_HOSTNAME", name, strlen(name));
	if (machine[0])
		print_field(out, "_MACHINE_ID", machine, strlen(machine));
}

void print_export(FILE *out, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	size_t len = record->len < FLIGHTREC_PAYLOAD_MAX ? record->len : FLIGHTREC_PAYLOAD_MAX;
	const char *payload = flightrec_payload(record);

	fprintf(out, "__REALTIME_TIMESTAMP=%" PRIu64 "\n__MONOTONIC_TIMESTAMP=%" PRIu64 "\n",
		(uint64_t)record->wall_ns / 1000, (uint64_t)record->boot_ns / 1000);
	/* The journal takes nothing but a whole id. */
	if (entry->boot_id && strlen(entry->boot_id) == 32)
		fprintf(out, "_BOOT_ID=%s\n", entry->boot_id);
	if (!entry->found)
		print_host(out);
	fprintf(out, "_TRANSPORT=flightrec\nPRIORITY=%u\n", record->severity & 7u);
	print_writer(out, record);
	if (entry->cgroup_path)
		print_field(out, "_SYSTEMD_CGROUP", entry->cgroup_path, strlen(entry->cgroup_path));
	if (entry->unit)
		print_field(out, "_SYSTEMD_UNIT", entry->unit, strlen(entry->unit));
	if (entry->container)
		print_container(out, entry->container);
	print_own_fields(out, entry);
	if (len && payload[len - 1] == '\n')
		len--;
	print_field(out, "MESSAGE", payload, len);
	fputc('\n', out);
}
