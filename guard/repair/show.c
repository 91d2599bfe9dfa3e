// SPDX-License-Identifier: GPL-2.0-or-later
/* Prints what repair would do, or did not find a command for. */
#include "guard/repair/show.h"

#include <stdio.h>
#include <stdlib.h>

#include "guard/base/json.h"
#include "guard/base/page.h"
#include "guard/base/util.h"

static void show_left(size_t count, size_t max)
{
	char *text = count > max ? text_of("and %zu more: kmodkeep repair --dry-run", count - max) :
				   NULL;

	if (text)
		page_item("", SHOW_COLUMN, text);
	free(text);
}

void show_plan(const struct plan *p, size_t max)
{
	for (size_t i = 0; i < p->count && i < max; i++) {
		char *label = text_of("%s%zu.", i ? "       " : "Repair ", i + 1);

		page_item(label ? label : "", SHOW_COLUMN, p->list[i].command);
		page_item("", SHOW_COLUMN, p->list[i].why);
		free(label);
	}
	show_left(p->count, max);
	for (size_t i = 0; i < p->other_count && i < max; i++)
		page_item(i ? "" : "By hand", SHOW_COLUMN, p->others[i]);
	show_left(p->other_count, max);
}

struct json_object *show_steps_json(const struct plan *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->count; i++) {
		struct json_object *o = json_object_new_object();

		json_add(o, "command", p->list[i].command);
		json_add(o, "cause", cause_word(p->list[i].cause));
		json_add(o, "why", p->list[i].why);
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *show_others_json(const struct plan *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->other_count; i++)
		json_object_array_add(list, json_object_new_string(p->others[i]));
	return list;
}
