// SPDX-License-Identifier: GPL-2.0-or-later
/* Disks that a TPM unlocks with the register that a new owner key changes. */
#include "guard/host/tpm.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/run.h"

#define BLOCK "/sys/class/block"
#define TOOL_SECONDS 60
#define METADATA_MAX (4u << 20)	/* LUKS2's own limit */
#define NESTING_MAX 4
#define PCRS 24

/* A policy of systemd-pcrlock: what it covers is not in the disk's metadata. */
#define PCRLOCK_PCRS (1u << TPM_PCR_KEYS)

void tpm_free(struct tpm *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->list[i].name);
	free(t->gap);
	memset(t, 0, sizeof(*t));
}

static int add(struct tpm *t, const char *name, const char *kind,
	       unsigned int pcrs)
{
	struct tpm_volume *v = &t->list[t->count];

	if (!pcrs || t->count == TPM_VOLUMES_MAX)
		return 0;
	v->name = strdup(name);
	if (!v->name)
		return -ENOMEM;
	make_printable(v->name);
	v->kind = kind;
	v->pcrs = pcrs;
	t->count++;
	return 0;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *found = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &found);
	return found;
}

/* systemd-cryptenroll: "tpm2-pcrs":[7,14] */
static unsigned int pcrs_of_list(struct json_object *list)
{
	unsigned int pcrs = 0;

	if (!json_object_is_type(list, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		int n = json_object_get_int(json_object_array_get_idx(list, i));

		if (n >= 0 && n < PCRS)
			pcrs |= 1u << n;
	}
	return pcrs;
}

static unsigned int pcrs_of_systemd(struct json_object *token)
{
	unsigned int pcrs = pcrs_of_list(member(token, "tpm2-pcrs")) |
			    pcrs_of_list(member(token, "tpm2_pubkey_pcrs"));

	if (json_object_get_boolean(member(token, "tpm2_pcrlock")))
		pcrs |= PCRLOCK_PCRS;
	return pcrs;
}

/* clevis: "pcr_ids":"7,14" */
static unsigned int pcrs_of_text(const char *text)
{
	unsigned int pcrs = 0;

	while (text && *text) {
		char *end;
		unsigned long n = strtoul(text, &end, 10);

		if (end == text)
			break;
		if (n < PCRS)
			pcrs |= 1u << n;
		text = end + (*end == ',');
	}
	return pcrs;
}

/* The part of a JWE before its first dot, in base64url, as JSON. */
static struct json_object *jwe_header(const char *jwe)
{
	size_t len = strcspn(jwe, "."), padded = (len + 3) / 4 * 4;
	char *text = malloc(padded + 1);
	unsigned char *out = malloc(padded + 1);
	struct json_object *o = NULL;
	int n = -1;

	if (text && out) {
		for (size_t i = 0; i < padded; i++)
			text[i] = i >= len ? '=' : jwe[i] == '-' ? '+' :
				  jwe[i] == '_' ? '/' : jwe[i];
		n = EVP_DecodeBlock(out, (unsigned char *)text, padded);
	}
	if (n > 0) {
		/* The padding was decoded as zeros. */
		out[n] = '\0';
		o = json_tokener_parse((char *)out);
	}
	free(text);
	free(out);
	return o;
}

/*
 * What unlocks a clevis volume: a TPM, or some of several ("sss"), each again a
 * JWE of its own.
 */
static unsigned int pcrs_of_jwe(const char *jwe, int depth)
{
	struct json_object *header = jwe ? jwe_header(jwe) : NULL;
	struct json_object *clevis = member(header, "clevis");
	struct json_object *parts = member(member(clevis, "sss"), "jwe");
	struct json_object *ids = member(member(clevis, "tpm2"), "pcr_ids");
	unsigned int pcrs = pcrs_of_text(json_object_get_string(ids));

	if (depth < NESTING_MAX && json_object_is_type(parts, json_type_array))
		for (size_t i = 0; i < json_object_array_length(parts); i++)
			pcrs |= pcrs_of_jwe(json_object_get_string(
				json_object_array_get_idx(parts, i)), depth + 1);
	json_object_put(header);
	return pcrs;
}

static int take_token(struct tpm *t, const char *name,
		      struct json_object *token)
{
	const char *type = json_object_get_string(member(token, "type"));
	struct json_object *jwe = member(token, "jwe");

	if (type && !strcmp(type, "systemd-tpm2"))
		return add(t, name, "systemd-tpm2", pcrs_of_systemd(token));
	if (type && !strcmp(type, "clevis"))
		return add(t, name, "clevis", pcrs_of_jwe(
			json_object_get_string(member(jwe, "protected")), 0));
	return 0;
}

int tpm_take(struct tpm *t, const char *name, const struct buf *metadata)
{
	struct json_tokener *parser = json_tokener_new();
	struct json_object *doc, *tokens;
	int err = 0;

	if (!parser)
		return -ENOMEM;
	doc = json_tokener_parse_ex(parser, (const char *)metadata->data,
				    metadata->len);
	tokens = member(doc, "tokens");
	if (!doc)
		err = -EBADMSG;
	else if (json_object_is_type(tokens, json_type_object)) {
		json_object_object_foreach(tokens, id, token) {
			(void)id;
			if (!err)
				err = take_token(t, name, token);
		}
	}
	json_object_put(doc);
	json_tokener_free(parser);
	return err;
}

static bool has_entry(const struct host *h, const char *path)
{
	char *full = host_path(h, path);
	DIR *dir = full ? opendir(full) : NULL;
	struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir)))
		found = e->d_name[0] != '.';
	if (dir)
		closedir(dir);
	free(full);
	return found;
}

/* What the encrypted disk is, below the open one; malloc'ed. */
static char *device_below(const struct host *h, const char *block)
{
	char *rel = text_of(BLOCK "/%s/slaves", block);
	char *path = rel ? host_path(h, rel) : NULL;
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *e;
	char *device = NULL;

	while (dir && !device && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			device = text_of("/dev/%s", e->d_name);
	if (dir)
		closedir(dir);
	free(rel);
	free(path);
	return device;
}

static int note_gap(struct tpm *t, const char *device, int err)
{
	if (t->gap)
		return 0;
	t->gap = text_of("how %s is unlocked cannot be read: %s", device,
			 err == -ENOENT ? "cryptsetup is not installed" :
			 err == -EBADMSG ? "its metadata is damaged" :
			 "it takes root, and cryptsetup 2.4 or later");
	return t->gap ? 0 : -ENOMEM;
}

static int take_device(const struct host *h, struct tpm *t, const char *name,
		       const char *device)
{
	static const char *const names[] = { "cryptsetup", NULL };
	char *tool = host_tool(h, names);
	char *argv[] = {
		tool, (char *)"luksDump", (char *)"--dump-json-metadata",
		(char *)device, NULL,
	};
	struct buf metadata = { 0 };
	int err = -ENOENT;

	if (tool)
		err = run_output(argv, TOOL_SECONDS, METADATA_MAX, &metadata);

	if (!err)
		err = tpm_take(t, name, &metadata);
	free(tool);
	buf_free(&metadata);
	return err && err != -ENOMEM ? note_gap(t, device, err) : err;
}

static int take_block(const struct host *h, struct tpm *t, const char *block)
{
	char *uuid_path = text_of(BLOCK "/%s/dm/uuid", block);
	char *name_path = text_of(BLOCK "/%s/dm/name", block);
	char *uuid = uuid_path ? host_line(h, uuid_path) : NULL;
	char *name = name_path ? host_line(h, name_path) : NULL;
	char *device = NULL;
	int err = uuid_path && name_path ? 0 : -ENOMEM;

	if (uuid && !strncmp(uuid, "CRYPT-LUKS2-", 12))
		device = device_below(h, block);
	if (device)
		err = take_device(h, t, name ? name : block, device);
	free(uuid_path);
	free(name_path);
	free(uuid);
	free(name);
	free(device);
	return err;
}

/* Looks at the LUKS2 disks that are open. 0 or -ENOMEM. */
static int tpm_read(const struct host *h, struct tpm *out)
{
	char *path = NULL;
	struct dirent *e;
	DIR *dir;
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->present = has_entry(h, "/sys/class/tpm");
	/* Disks of another system are not open, and not to be looked for. */
	if (!out->present || host_place(h) != PLACE_HOST)
		return 0;
	path = host_path(h, BLOCK);
	dir = path ? opendir(path) : NULL;
	while (dir && !err && (e = readdir(dir)))
		if (!strncmp(e->d_name, "dm-", 3))
			err = take_block(h, out, e->d_name);
	if (dir)
		closedir(dir);
	free(path);
	if (err)
		tpm_free(out);
	return err;
}

char *tpm_warning(const struct tpm *t)
{
	char *names = NULL, *text;

	for (size_t i = 0; i < t->count; i++) {
		const struct tpm_volume *v = &t->list[i];
		char *more;

		if (!(v->pcrs & (1u << TPM_PCR_KEYS)))
			continue;
		more = text_of("%s%s%s (%s)", names ? names : "",
			       names ? ", " : "", v->name, v->kind);
		free(names);
		names = more;
	}
	if (!names)
		return t->gap ? strdup(t->gap) : NULL;
	text = text_of("the TPM unlocks %s by PCR %d, which changes when a key "
		       "is enrolled or deleted: have the recovery key at hand "
		       "at that boot, and bind it again after it", names,
		       TPM_PCR_KEYS);
	free(names);
	return text;
}

char *tpm_warning_of(const struct host *h)
{
	struct tpm tpm;
	char *text;

	if (tpm_read(h, &tpm))
		return NULL;
	text = tpm_warning(&tpm);
	tpm_free(&tpm);
	return text;
}
