// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads what the firmware and shim hold, and tells two such readings apart. */
#include "guard/pin/outside.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/boot/loader.h"
#include "guard/host/efivars.h"
#include "guard/host/esp.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"

#define SHIM_MAX (16u << 20)
#define DAY (24 * 3600LL)
#define CLOCK_BACK DAY
#define CLOCK_AHEAD (400 * DAY)

static const struct list {
	const char *key, *name, *guid, *called;
} lists[] = {
	{ "dbx", "dbx", EFI_SECURITY_GUID, "what the firmware refuses to boot (dbx)" },
	{ "mokx", "MokListXRT", SHIM_GUID, "what shim refuses (MokListX)" },
	{ "sbat", "SbatLevelRT", SHIM_GUID, "which generations of boot loaders shim refuses "
					    "(SBAT)" },
};

static bool digest(const void *data, size_t len, char hex[65])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (EVP_Digest(data, len, hash, &n, EVP_sha256(), NULL) != 1 || n != 32)
		return false;
	hex_encode(hash, n, hex);
	return true;
}

/* The digest of a variable; null: it cannot be read, "": it is not there. */
static void add_variable(struct json_object *o, const struct host *h, const struct list *l)
{
	struct buf b;
	char hex[65] = "";
	int err = efivar_read(h, l->name, l->guid, &b);

	if (!err) {
		if (!digest(b.data, b.len, hex))
			err = -EIO;
		buf_free(&b);
	}
	/* Not json_add(), for which "" is not known. */
	json_object_object_add(o, l->key, !err || err == -ENOENT ? json_object_new_string(hex) :
							    NULL);
}

static int add_key(void *arg, enum efi_sig type, const unsigned char *data, size_t len)
{
	struct json_object *list = arg, *o = json_object_new_object();
	const unsigned char *p = data;
	X509 *cert = type == EFI_SIG_X509 ? d2i_X509(NULL, &p, len) : NULL;
	char *name = cert ? cert_name(cert) : NULL;
	char hex[65] = "";

	ERR_clear_error();
	digest(data, len, hex);
	json_add(o, "sha256", hex);
	json_add(o, "name", name);
	json_object_array_add(list, o);
	free(name);
	X509_free(cert);
	return 0;
}

/* The keys that shim trusts; null: the list cannot be read, or is damaged. */
static struct json_object *read_keys(const struct host *h)
{
	struct json_object *list = json_object_new_array();
	struct buf b = { 0 };
	int err = efivar_read(h, "MokListRT", SHIM_GUID, &b);

	if (!err)
		err = efi_siglist_walk(&b, add_key, list);
	buf_free(&b);
	if (err && err != -ENOENT) {
		json_object_put(list);
		return NULL;
	}
	return list;
}

/* The file of shim that this boot came through; NULL: it cannot be seen. */
static char *shim_digest(const struct host *h, const char *booted_from)
{
	static const char *const names[] = { "shimx64.efi", "shimaa64.efi" };
	char *hex = NULL;

	for (size_t i = 0; booted_from && !hex && i < ARRAY_SIZE(names); i++) {
		char *file = text_of("%s/%s", booted_from, names[i]);
		char *path = file ? esp_file(h, NULL, file, NULL) : NULL;
		struct buf b = { 0 };

		if (path && !file_read(path, SHIM_MAX, &b) && (hex = calloc(1, 65)) &&
		    !digest(b.data, b.len, hex)) {
			free(hex);
			hex = NULL;
		}
		buf_free(&b);
		free(path);
		free(file);
	}
	return hex;
}

struct json_object *outside_read(const struct host *h)
{
	struct json_object *o = json_object_new_object();
	bool readable = efivars_readable(h);
	enum secure_boot sb = host_secure_boot(h);
	char *from = efi_boot_directory(h), *shim = shim_digest(h, from);
	char *loader = loader_variable(h, "LoaderInfo");

	/* A newer version of the same one is no other one. */
	if (loader)
		loader[strcspn(loader, " ")] = '\0';
	if (from)
		make_printable(from);
	json_add(o, "secure_boot", sb == SB_ON || sb == SB_OFF ? secure_boot_word(sb) : NULL);
	json_object_object_add(o, "keys", readable ? read_keys(h) : NULL);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (readable)
			add_variable(o, h, &lists[i]);
		else
			json_add(o, lists[i].key, NULL);
	}
	json_add(o, "shim", shim);
	json_add(o, "booted_from", from);
	json_add(o, "loader", loader);
	json_add_int(o, "time", time(NULL));
	free(from);
	free(shim);
	free(loader);
	return o;
}

/* Takes over message. */
static void add(struct json_object *list, const char *word, char *message, const char *next)
{
	struct json_object *o = json_object_new_object();

	json_add(o, "change", word);
	json_add(o, "message", message);
	json_add(o, "next_step", next);
	json_object_array_add(list, o);
	free(message);
}

/* Both are known, and differ. */
static bool differs(struct json_object *was, struct json_object *now, const char *key)
{
	const char *a = json_string(was, key), *b = json_string(now, key);

	return a && b && strcmp(a, b) != 0;
}

static struct json_object *keys_of(struct json_object *o)
{
	struct json_object *list = NULL;

	return json_object_object_get_ex(o, "keys", &list) &&
	       json_object_is_type(list, json_type_array) ? list : NULL;
}

static bool has_key(struct json_object *list, const char *sha256)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *is = json_string(json_object_array_get_idx(list, i), "sha256");

		if (is && !strcmp(is, sha256))
			return true;
	}
	return false;
}

/* Does this host sign with it? */
static bool is_hosts(const struct trust *t, const char *sha256)
{
	bool is = false;

	for (size_t i = 0; i < trust_certs(t) && !is; i++) {
		const struct trust_cert *c = trust_cert(t, i);
		unsigned char *der = NULL;
		int len = c->from & CERT_HOST ? i2d_X509(c->x509, &der) : -1;
		char hex[65];

		is = len > 0 && digest(der, len, hex) && !strcmp(hex, sha256);
		OPENSSL_free(der);
	}
	return is;
}

/* The names of the keys of one list that the other has not, "'A', 'B'"; NULL: none. */
static char *missing(struct json_object *list, struct json_object *from, const struct trust *t,
		     bool skip_hosts, bool *hosts)
{
	char *all = NULL;

	*hosts = false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *k = json_object_array_get_idx(list, i);
		const char *sha256 = json_string(k, "sha256"), *name = json_string(k, "name");
		char *more;
		bool is;

		if (!sha256 || has_key(from, sha256))
			continue;
		is = is_hosts(t, sha256);
		*hosts |= is;
		if (is && skip_hosts)
			continue;
		more = text_of("%s%s'%s'", all ? all : "", all ? ", " : "",
			       name ? name : "a hash of a file");
		free(all);
		all = more;
	}
	return all;
}

static void compare_keys(struct json_object *out, struct json_object *was,
			 struct json_object *now, const struct trust *t)
{
	struct json_object *before = keys_of(was), *after = keys_of(now);
	char *gone, *new;
	bool hosts;

	if (!before || !after)
		return;
	gone = missing(before, after, t, false, &hosts);
	if (gone)
		add(out, json_object_array_length(after) ? "keys-removed" : "keys-cleared",
		    text_of("shim trusts these keys no more: %s", gone),
		    hosts ? "kmodkeep key enroll; drivers that this host's key signed do not load "
			    "until then, if Secure Boot is on" :
			    "if nobody here took them away (mokutil --delete): a firmware update "
			    "may have; enrol again what is needed");
	free(gone);
	new = missing(after, before, t, true, &hosts);
	if (new)
		add(out, "keys-added", text_of("shim trusts a key that it did not: %s", new),
		    "if nobody here enrolled it: mokutil --list-enrolled, and mokutil --delete");
	free(new);
}

static void compare_clock(struct json_object *out, struct json_object *was,
			  struct json_object *now)
{
	long long a = json_int(was, "time"), b = json_int(now, "time");

	if (!a || (b >= a - CLOCK_BACK && b <= a + CLOCK_AHEAD))
		return;
	add(out, "clock", b < a ?
	    text_of("the clock is %lld days behind the last boot's", (a - b) / DAY) :
	    text_of("the clock is %lld days ahead of the last boot's", (b - a) / DAY),
	    "look at it: date, timedatectl; after a while without power its battery may be "
	    "empty. What is dated by it (certificates, pins) may be wrong");
}

struct json_object *outside_compare(struct json_object *was, struct json_object *now,
				    const struct trust *t)
{
	struct json_object *out = json_object_new_array();

	if (!was || !now)
		return out;
	if (differs(was, now, "secure_boot"))
		add(out, !strcmp(json_string(now, "secure_boot"), "on") ? "secure-boot-on" :
		    "secure-boot-off", text_of("Secure Boot was switched %s",
					       json_string(now, "secure_boot")),
		    !strcmp(json_string(now, "secure_boot"), "on") ?
		    "kmodkeep status says which drivers need a signature now" :
		    "if nobody here did that, look at the firmware's settings: unsigned modules "
		    "load now");
	compare_keys(out, was, now, t);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (differs(was, now, lists[i].key))
			add(out, lists[i].key, text_of("%s has changed", lists[i].called),
			    "kmodkeep doctor --all: older kernels and their drivers may be refused "
			    "now");
	if (differs(was, now, "shim") && !differs(was, now, "booted_from"))
		add(out, "shim", text_of("shim is another file than at the last boot"),
		    "if no package or firmware update brought it, look where it came from");
	if (differs(was, now, "booted_from"))
		add(out, "booted-from",
		    text_of("the firmware started this system from %s, and before from %s",
			    json_string(now, "booted_from"), json_string(was, "booted_from")),
		    "if that was not wanted: efibootmgr shows and sets the order");
	if (differs(was, now, "loader"))
		add(out, "boot-loader", text_of("%s started this kernel, and before it was %s",
						json_string(now, "loader"),
						json_string(was, "loader")),
		    "if that was not wanted: efibootmgr shows and sets the order");
	compare_clock(out, was, now);
	return out;
}
