/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payloads that are objects of JSON, as structured loggers write them, chosen by their
 * members.
 */
#ifndef TOOLS_FIELDS_H
#define TOOLS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include <flightrec.h>

struct field {
	const char *name, *value;	/* @name ends at '=' */
	size_t name_len;
};

struct fields {
	struct field *wanted;
	size_t count;
	void *tokener;
};

/* Takes "NAME=VALUE", which must last as long as @fields; false if it is none. */
bool fields_add(struct fields *fields, const char *text);

/*
 * Is the payload an object in which each name that is wanted has one of the values
 * wanted for it? "disk.name" is a member of that name, else "name" of the object "disk".
 * A string is compared as it is, any other value as JSON writes it.
 */
bool fields_match(const struct fields *fields, const struct flightrec_record *record);

void fields_free(struct fields *fields);

#endif
