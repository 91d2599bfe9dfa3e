// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads the kernel's keyrings of module keys. */
#include "guard/trust/keyring.h"

#include <errno.h>
#include <keyutils.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

static const struct {
	const char *name;
	bool of_kernel;
} rings[] = {
	{ ".builtin_trusted_keys", true },
	{ ".secondary_trusted_keys", true },
	{ ".machine", false },
	{ ".platform", false },
};

int ring_add(struct ring *r, const char *description, bool of_kernel)
{
	const char *p = description, *id;
	struct ring_key *keys, *k;

	/* type;uid;gid;perm;description */
	for (int i = 0; i < 4; i++) {
		p = strchr(p, ';');
		if (!p)
			return -EINVAL;
		p++;
	}
	id = strrchr(p, ':');
	if (strncmp(description, "asymmetric;", 11) || !id || id[1] != ' ')
		return -EINVAL;
	keys = realloc(r->keys, (r->count + 1) * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	r->keys = keys;
	k = &keys[r->count];
	k->subject = strndup(p, id - p);
	k->id = strdup(id + 2);
	k->of_kernel = of_kernel;
	r->count++;
	return k->subject && k->id ? 0 : -ENOMEM;
}

static int add_ring(struct ring *r, key_serial_t serial, bool of_kernel)
{
	void *list = NULL;
	int len = keyctl_read_alloc(serial, &list), err = 0;

	if (len < 0)
		return 0;
	r->readable = true;
	for (size_t i = 0; !err && i < len / sizeof(key_serial_t); i++) {
		char *text = NULL;

		/* Links between the rings are described as "keyring;...". */
		if (keyctl_describe_alloc(((key_serial_t *)list)[i],
					  &text) < 0)
			continue;
		err = ring_add(r, text, of_kernel);
		if (err == -EINVAL)
			err = 0;
		free(text);
	}
	free(list);
	return err;
}

int ring_read(struct ring *r)
{
	int err = 0;

	memset(r, 0, sizeof(*r));
	for (size_t i = 0; i < ARRAY_SIZE(rings) && !err; i++) {
		key_serial_t serial;

		serial = find_key_by_type_and_desc("keyring", rings[i].name,
						   0);
		if (serial >= 0)
			err = add_ring(r, serial, rings[i].of_kernel);
	}
	return err;
}

void ring_free(struct ring *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->keys[i].subject);
		free(r->keys[i].id);
	}
	free(r->keys);
	memset(r, 0, sizeof(*r));
}

const struct ring_key *ring_by_id(const struct ring *r, const char *id)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->keys[i].id, id))
			return &r->keys[i];
	return NULL;
}

const struct ring_key *ring_by_subject(const struct ring *r, const char *cn)
{
	for (size_t i = 0; i < r->count; i++) {
		const char *s = r->keys[i].subject;

		/* The kernel puts the organisation in front: "O: CN". */
		if (!strcmp(s, cn))
			return &r->keys[i];
		s = strstr(s, ": ");
		if (s && !strcmp(s + 2, cn))
			return &r->keys[i];
	}
	return NULL;
}
