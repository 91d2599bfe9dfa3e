// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads and writes state.json, and digests the revocation lists. */
#include "guard/pin/state.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/verdict/doctor_json.h"

void pin_free(struct pin *p)
{
	free(p->kernel);
	free(p->entry);
	free(p->from);
	free(p->previous);
	free(p->instead_of);
	free(p->why);
	free(p->revocations);
	memset(p, 0, sizeof(*p));
}

void guard_state_free(struct guard_state *s)
{
	pin_free(&s->pin);
	for (size_t i = 0; i < s->booted_count; i++) {
		free(s->booted[i].kernel);
		free(s->booted[i].revocations);
	}
	free(s->released);
	free(s->boot_id);
	json_object_put(s->outside);
	json_object_put(s->changes);
	memset(s, 0, sizeof(*s));
}

static int take(char **field, struct json_object *o, const char *key)
{
	const char *value = json_string(o, key);

	*field = value ? strdup(value) : NULL;
	return value && !*field ? -ENOMEM : 0;
}

static const char *const stages[] = { "set", "setting", "lifting" };

static enum pin_stage read_stage(const char *word)
{
	for (size_t i = 0; word && i < ARRAY_SIZE(stages); i++)
		if (!strcmp(word, stages[i]))
			return i;
	return PIN_SET;
}

static int read_pin(struct json_object *o, struct pin *p)
{
	struct json_object *held;

	if (!json_string(o, "kernel") || !json_string(o, "entry") ||
	    !json_string(o, "instead_of"))
		return 0;
	p->since = json_int(o, "since");
	if (json_object_object_get_ex(o, "held", &held))
		p->held = json_object_get_boolean(held);
	p->stage = read_stage(json_string(o, "stage"));
	return take(&p->from, o, "from") || take(&p->kernel, o, "kernel") || take(&p->entry, o, "entry") ||
	       take(&p->previous, o, "previous") ||
	       take(&p->instead_of, o, "instead_of") ||
	       take(&p->why, o, "why") ||
	       take(&p->revocations, o, "revocations") ? -ENOMEM : 0;
}

int guard_note_boot(struct guard_state *s, const char *kernel,
		    const char *revocations)
{
	struct booted new;
	size_t at = 0;

	while (at < s->booted_count && strcmp(s->booted[at].kernel, kernel))
		at++;
	new.kernel = strdup(kernel);
	new.revocations = strdup(revocations);
	if (!new.kernel || !new.revocations) {
		free(new.kernel);
		free(new.revocations);
		return -ENOMEM;
	}
	/* The oldest goes where there is no room. */
	if (at == BOOTED_MAX)
		at = 0;
	if (at < s->booted_count) {
		free(s->booted[at].kernel);
		free(s->booted[at].revocations);
		memmove(&s->booted[at], &s->booted[at + 1],
			(s->booted_count - at - 1) * sizeof(new));
		s->booted_count--;
	}
	s->booted[s->booted_count++] = new;
	return 0;
}

static int read_booted(struct json_object *list, struct guard_state *s)
{
	size_t n = json_object_is_type(list, json_type_array) ?
		   json_object_array_length(list) : 0;

	for (size_t i = 0; i < n && i < BOOTED_MAX; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const char *kernel = json_string(o, "kernel");
		const char *lists = json_string(o, "revocations");

		if (kernel && guard_note_boot(s, kernel, lists ? lists : ""))
			return -ENOMEM;
	}
	return 0;
}

static bool is_this_boot(const struct host *h, const char *id)
{
	char *now = host_boot_id(h);
	bool is = id && now && !strcmp(id, now);

	free(now);
	return is;
}

int guard_state_read(const struct host *h, struct guard_state *out)
{
	char *path = host_path(h, GUARD_STATE);
	struct json_object *o = path ? json_read(path) : NULL;
	struct json_object *part;
	int err = path ? 0 : -ENOMEM;

	free(path);
	memset(out, 0, sizeof(*out));
	if (!err && o && json_int(o, "schema") == GUARD_SCHEMA) {
		if (json_object_object_get_ex(o, "pin", &part))
			err = read_pin(part, &out->pin);
		if (!err && json_object_object_get_ex(o, "booted", &part))
			err = read_booted(part, out);
		if (!err)
			err = take(&out->released, o, "pin_released_for");
		if (!err)
			err = take(&out->boot_id, o, "boot_id");
		if (json_object_object_get_ex(o, "outside", &part) &&
		    json_object_is_type(part, json_type_object))
			out->outside = json_object_get(part);
		/* Those of an earlier boot have been shown while it lasted. */
		if (!err && is_this_boot(h, out->boot_id) &&
		    json_object_object_get_ex(o, "changes", &part) &&
		    json_object_is_type(part, json_type_array))
			out->changes = json_object_get(part);
	}
	json_object_put(o);
	if (err)
		guard_state_free(out);
	return err;
}

static struct json_object *pin_json(const struct pin *p)
{
	struct json_object *o;

	if (!p->kernel)
		return NULL;
	o = json_object_new_object();
	json_add(o, "stage", stages[p->stage]);
	json_add(o, "from", p->from);
	json_add(o, "kernel", p->kernel);
	json_add(o, "entry", p->entry);
	json_add(o, "previous", p->previous);
	json_add(o, "instead_of", p->instead_of);
	json_add(o, "why", p->why);
	json_add_int(o, "since", p->since);
	json_add(o, "revocations", p->revocations);
	json_add_bool(o, "held", p->held);
	return o;
}

static struct json_object *booted_json(const struct guard_state *s)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->booted_count; i++) {
		struct json_object *o = json_object_new_object();

		json_add(o, "kernel", s->booted[i].kernel);
		json_add(o, "revocations", s->booted[i].revocations);
		json_object_array_add(list, o);
	}
	return list;
}

static int make_directory(const struct host *h)
{
	char *dir = host_path(h, GUARD_DIR);
	int err = dir ? 0 : -ENOMEM;

	if (dir && mkdir(dir, 0755) < 0 && errno != EEXIST)
		err = -errno;
	free(dir);
	return err;
}

int guard_state_write(const struct doctor *d, const struct guard_state *s,
		      const struct safety *safety, const char *problem)
{
	struct json_object *o = json_object_new_object();
	char *path = host_path(d->h, GUARD_STATE), *text = NULL;
	char *boot_id = host_boot_id(d->h);
	char when[32];
	time_t now = time(NULL);
	struct tm tm;
	int err = path ? make_directory(d->h) : -ENOMEM;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	json_add_int(o, "schema", GUARD_SCHEMA);
	json_add(o, "time", when);
	json_add(o, "boot_id", boot_id);
	json_add(o, "safe", safety ? safety_word(safety->safe) : NULL);
	json_add(o, "line", safety ? safety->line : NULL);
	json_add(o, "next_step", safety ? safety->next : NULL);
	json_object_object_add(o, "pin", pin_json(&s->pin));
	json_add(o, "pin_problem", problem);
	json_add(o, "pin_released_for", s->released);
	json_object_object_add(o, "booted", booted_json(s));
	json_object_object_add(o, "outside", json_object_get(s->outside));
	json_object_object_add(o, "changes", s->changes ? json_object_get(s->changes) :
						      json_object_new_array());
	json_object_object_add(o, "served", record_json(d));
	json_object_object_add(o, "doctor", doctor_json(d));
	if (!err)
		text = text_of("%s\n", json_text(o));
	if (!err)
		err = text ? file_replace(path, text, strlen(text), 0644) :
			     -ENOMEM;
	json_object_put(o);
	free(boot_id);
	free(path);
	free(text);
	return err;
}

bool guard_change(const struct guard_state *s, size_t i, const char **word, const char **message,
		  const char **next)
{
	struct json_object *o = s->changes && i < json_object_array_length(s->changes) ?
				json_object_array_get_idx(s->changes, i) : NULL;

	if (!o)
		return false;
	*word = json_string(o, "change");
	*message = json_string(o, "message");
	*next = json_string(o, "next_step");
	return *word && *message && *next;
}

char *guard_revocations(const struct host *h)
{
	static const struct {
		const char *name, *guid;
	} lists[] = {
		{ "MokListXRT", SHIM_GUID },
		{ "SbatLevelRT", SHIM_GUID },
		{ "dbx", EFI_SECURITY_GUID },
	};
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char hash[EVP_MAX_MD_SIZE];
	char *hex = calloc(1, 65);
	unsigned int len = 0;
	bool any = false;

	bool ready = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; ready && i < ARRAY_SIZE(lists); i++) {
		struct buf b;

		if (efivar_read(h, lists[i].name, lists[i].guid, &b))
			continue;
		EVP_DigestUpdate(ctx, lists[i].name, strlen(lists[i].name));
		EVP_DigestUpdate(ctx, b.data, b.len);
		any |= b.len > 0;
		buf_free(&b);
	}
	if (hex && any && EVP_DigestFinal_ex(ctx, hash, &len) == 1 &&
	    len == 32)
		hex_encode(hash, len, hex);
	EVP_MD_CTX_free(ctx);
	return hex;
}
