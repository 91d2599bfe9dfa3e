// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads, checks, compares and makes manifests. */
#include "signing/manifest.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/json.h"
#include "guard/module/modsig.h"

#define MANIFEST_MAX (1u << 20)
#define MODULES_MAX 1024
#define TEXT_MAX 255

static int refuse(char **why, char *text)
{
	*why = text;
	return text ? -EBADMSG : -ENOMEM;
}

void manifest_free(struct manifest *m)
{
	json_object_put(m->doc);
	free(m->folder);
	free(m->list);
	memset(m, 0, sizeof(*m));
}

/* One line that can be shown, with no byte after its end. */
static bool is_text(struct json_object *value)
{
	const char *s = json_object_get_string(value);
	size_t len = json_object_get_string_len(value);
	char *copy;
	bool same;

	if (!len || len > TEXT_MAX || strlen(s) != len)
		return false;
	copy = strdup(s);
	if (!copy)
		return false;
	make_printable(copy);
	same = !strcmp(copy, s);
	free(copy);
	return same;
}

static bool is_word(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

/* A plain name of a module, so that no path can lead out of the folder. */
static bool is_file_name(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";

	return *s != '.' && str_ends_with(s, ".ko") && strspn(s, allowed) == strlen(s);
}

static bool is_hash_name(const char *s)
{
	static const char *const known[] = {
		"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512",
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(s, known[i]))
			return true;
	return false;
}

static bool is_sha256(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* A release is a folder of /lib/modules, and no way out of it. */
static bool is_release(const char *s)
{
	return is_word(s) && *s != '.' && !strchr(s, '/');
}

enum want { WANT_TEXT, WANT_WORD, WANT_RELEASE, WANT_FILE, WANT_HASH_NAME, WANT_SHA256 };

/* A text of the manifest; may_be_null: then *out may become NULL. */
static bool take(struct json_object *o, const char *key, enum want want,
		 bool may_be_null, const char **out)
{
	struct json_object *value;
	const char *s;

	*out = NULL;
	if (!json_object_object_get_ex(o, key, &value))
		return false;
	if (!value)
		return may_be_null;
	if (!json_object_is_type(value, json_type_string) || !is_text(value))
		return false;
	s = *out = json_object_get_string(value);
	switch (want) {
	case WANT_WORD: return is_word(s);
	case WANT_RELEASE: return is_release(s);
	case WANT_FILE: return is_file_name(s);
	case WANT_HASH_NAME: return is_hash_name(s);
	case WANT_SHA256: return is_sha256(s);
	default: return true;
	}
}

/* Names of files and of modules are the same but for this. */
static bool same_name(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (a[i] != b[i] && !(strchr("-_", a[i]) && strchr("-_", b[i])))
			return false;
	return true;
}

static bool is_named_after(const char *file, const char *name)
{
	size_t len = strlen(file) - strlen(".ko");

	return strlen(name) == len && same_name(file, name, len);
}

/* NULL, or the key that is wrong. */
static const char *take_module(struct json_object *o, struct manifest_module *m)
{
	struct json_object *size;

	if (!json_object_is_type(o, json_type_object))
		return "an element";
	if (!take(o, "file", WANT_FILE, false, &m->file))
		return "file";
	if (!take(o, "name", WANT_WORD, false, &m->name) ||
	    !is_named_after(m->file, m->name))
		return "name";
	if (!take(o, "vermagic", WANT_TEXT, false, &m->vermagic))
		return "vermagic";
	if (!take(o, "srcversion", WANT_WORD, true, &m->srcversion))
		return "srcversion";
	if (!take(o, "sha256", WANT_SHA256, false, &m->sha256))
		return "sha256";
	if (!json_object_object_get_ex(o, "size", &size) ||
	    !json_object_is_type(size, json_type_int))
		return "size";
	m->size = json_object_get_int64(size);
	return m->size > 0 ? NULL : "size";
}

static bool is_for(const char *vermagic, const char *kernel)
{
	size_t len = strcspn(vermagic, " ");

	return strlen(kernel) == len && !strncmp(vermagic, kernel, len);
}

static int take_modules(struct manifest *m, struct json_object *list, char **why)
{
	size_t n = json_object_array_length(list);

	if (!n || n > MODULES_MAX)
		return refuse(why, text_of("modules: %zu of them; 1 to %d there "
					   "may be", n, MODULES_MAX));
	m->list = calloc(n, sizeof(*m->list));
	if (!m->list)
		return -ENOMEM;
	for (; m->count < n; m->count++) {
		struct manifest_module *one = &m->list[m->count];
		const char *wrong = take_module(
			json_object_array_get_idx(list, m->count), one);

		if (wrong)
			return refuse(why, text_of("modules, number %zu: %s is "
						   "missing or not as it may be",
						   m->count + 1, wrong));
		if (!is_for(one->vermagic, m->kernel))
			return refuse(why, text_of("modules, number %zu: vermagic "
						   "is not of kernel %s",
						   m->count + 1, m->kernel));
		for (size_t i = 0; i < m->count; i++)
			if (strlen(one->name) == strlen(m->list[i].name) &&
			    same_name(one->name, m->list[i].name,
				      strlen(one->name)))
				return refuse(why, text_of("modules: %s is there "
							   "twice", one->name));
	}
	return 0;
}

static int take_all(struct manifest *m, char **why)
{
	struct json_object *o = m->doc, *schema, *list;
	const char *wrong = NULL;

	if (!json_object_object_get_ex(o, "schema", &schema) ||
	    !json_object_is_type(schema, json_type_int) ||
	    json_object_get_int64(schema) != 1)
		return refuse(why, strdup("schema is not 1"));
	if (!take(o, "kernel", WANT_RELEASE, false, &m->kernel))
		wrong = "kernel";
	else if (!take(o, "kernel_package", WANT_WORD, false, &m->package))
		wrong = "kernel_package";
	else if (!take(o, "kernel_package_version", WANT_WORD, false, &m->version))
		wrong = "kernel_package_version";
	else if (!take(o, "signature_hash", WANT_HASH_NAME, false, &m->hash))
		wrong = "signature_hash";
	else if (!take(o, "compiler", WANT_TEXT, false, &m->compiler))
		wrong = "compiler";
	else if (!take(o, "pahole", WANT_TEXT, true, &m->pahole))
		wrong = "pahole";
	else if (!take(o, "builder", WANT_TEXT, false, &m->builder))
		wrong = "builder";
	else if (!json_object_object_get_ex(o, "modules", &list) ||
		 !json_object_is_type(list, json_type_array))
		wrong = "modules";
	if (wrong)
		return refuse(why, text_of("%s is missing or not as it may be",
					   wrong));
	return take_modules(m, list, why);
}

static char *folder_of(const char *path)
{
	char *copy = strdup(path), *folder = copy ? strdup(dirname(copy)) : NULL;

	free(copy);
	return folder;
}

int manifest_read(const char *path, struct manifest *out, char **why)
{
	struct buf text;
	int err;

	memset(out, 0, sizeof(*out));
	*why = NULL;
	err = file_read(path, MANIFEST_MAX, &text);
	if (err == -EFBIG)
		return refuse(why, strdup("it is larger than 1 MiB"));
	if (err)
		return err;
	out->doc = json_parse(text.data, text.len);
	buf_free(&text);
	out->folder = folder_of(path);
	if (!out->folder)
		err = -ENOMEM;
	else
		err = out->doc ? take_all(out, why) :
				 refuse(why, strdup("it is no JSON object"));
	if (err)
		manifest_free(out);
	return err;
}

static int sha256_of(const struct buf *b, char hex[65])
{
	unsigned char hash[32];

	if (EVP_Digest(b->data, b->len, hash, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	hex_encode(hash, sizeof(hash), hex);
	return 0;
}

/* The file itself, not what a link leads to; unpacked and unsigned. */
static int read_plain(const char *path, struct buf *out, char **why)
{
	struct modfile m;
	struct stat st;
	int err;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(why, text_of("%s is a link, or no plain file", path));
	err = modfile_read(path, &m);
	if (err == -EBADMSG || err == -EFBIG)
		return refuse(why, text_of("%s is no module", path));
	if (err)
		return err;
	if (m.type != COMPRESS_NONE)
		err = refuse(why, text_of("%s is compressed: sign first, then "
					  "compress", path));
	else if (modsig_strip(m.bytes.data, m.bytes.len) != m.bytes.len)
		err = refuse(why, text_of("%s is signed already; the bytes as they "
					  "were built are wanted", path));
	if (err)
		modfile_free(&m);
	else
		*out = m.bytes;
	return err;
}

static bool same_or_none(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : !a && !b;
}

static const char *or_none(const char *s)
{
	return s ? s : "none";
}

static int check_info(const struct manifest_module *module, const char *path,
		      const struct buf *bytes, char **why)
{
	struct modinfo info;
	int err = modinfo_read(bytes->data, bytes->len, &info);

	if (err == -ENOEXEC)
		return refuse(why, text_of("%s is no module: not an ELF file with "
					   "a section .modinfo", path));
	if (err)
		return err;
	if (!same_or_none(info.name, module->name))
		err = refuse(why, text_of("%s calls itself %s; the manifest says %s",
					  path, or_none(info.name), module->name));
	else if (!same_or_none(info.vermagic, module->vermagic))
		err = refuse(why, text_of("%s has the vermagic '%s'; the manifest "
					  "says '%s'", path, or_none(info.vermagic),
					  module->vermagic));
	else if (!same_or_none(info.srcversion, module->srcversion))
		err = refuse(why, text_of("%s has the srcversion %s; the manifest "
					  "says %s", path, or_none(info.srcversion),
					  or_none(module->srcversion)));
	modinfo_free(&info);
	if (err == -EBADMSG)
		make_printable(*why);
	return err;
}

int manifest_module_read(const struct manifest *m,
			 const struct manifest_module *module,
			 struct buf *out, char **why)
{
	char *path = text_of("%s/%s", m->folder, module->file), sha256[65];
	int err;

	*why = NULL;
	if (!path)
		return -ENOMEM;
	err = read_plain(path, out, why);
	if (err) {
		free(path);
		return err;
	}
	err = sha256_of(out, sha256);
	if (!err && (out->len != (unsigned long long)module->size ||
		     strcmp(sha256, module->sha256)))
		err = refuse(why, text_of("%s is not what the manifest says: it has "
					  "%zu bytes with the SHA-256 %s, and %lld "
					  "with %s are wanted", path, out->len,
					  sha256, module->size, module->sha256));
	if (!err)
		err = check_info(module, path, out, why);
	free(path);
	if (err)
		buf_free(out);
	return err;
}

static const struct manifest_module *find(const struct manifest *m,
					  const char *file)
{
	for (size_t i = 0; i < m->count; i++)
		if (!strcmp(m->list[i].file, file))
			return &m->list[i];
	return NULL;
}

/* Of a module that differs: the likely cause, from what the builders had. */
static const char *cause(const struct manifest *a, const struct manifest *b)
{
	if (strcmp(a->compiler, b->compiler))
		return "; their compilers differ";
	if (!same_or_none(a->pahole, b->pahole))
		return "; their versions of pahole differ";
	return "";
}

int manifests_agree(const struct manifest *a, const struct manifest *b,
		    char **why)
{
	*why = NULL;
	if (!strcmp(a->builder, b->builder))
		return refuse(why, text_of("both are by builder '%s': one builder is "
					   "not two", a->builder));
	if (strcmp(a->kernel, b->kernel) || strcmp(a->package, b->package) ||
	    strcmp(a->version, b->version) || strcmp(a->hash, b->hash))
		return refuse(why, text_of("'%s' built for %s (%s %s, %s), '%s' for "
					   "%s (%s %s, %s)", a->builder, a->kernel,
					   a->package, a->version, a->hash,
					   b->builder, b->kernel, b->package,
					   b->version, b->hash));
	for (size_t i = 0; i < a->count; i++) {
		const struct manifest_module *x = &a->list[i], *y = find(b, x->file);

		if (!y)
			return refuse(why, text_of("'%s' has not built %s",
						   b->builder, x->file));
		if (x->size != y->size || strcmp(x->sha256, y->sha256) ||
		    strcmp(x->name, y->name) || strcmp(x->vermagic, y->vermagic) ||
		    !same_or_none(x->srcversion, y->srcversion))
			return refuse(why, text_of("the two builders disagree on %s "
						   "(%s by '%s', %s by '%s')%s",
						   x->file, x->sha256, a->builder,
						   y->sha256, b->builder,
						   cause(a, b)));
	}
	for (size_t i = 0; i < b->count; i++)
		if (!find(a, b->list[i].file))
			return refuse(why, text_of("'%s' has not built %s", a->builder,
						   b->list[i].file));
	return 0;
}

char *manifest_kernel_of(const char *file)
{
	struct modinfo info;
	struct modfile m;
	char *kernel = NULL;

	if (modfile_read(file, &m))
		return NULL;
	if (!modinfo_read(m.bytes.data, m.bytes.len, &info)) {
		kernel = modinfo_release(&info);
		modinfo_free(&info);
	}
	modfile_free(&m);
	return kernel;
}

/* The first text of .comment, which compilers write; malloc'ed, NULL: none. */
static char *compiler_of(const struct buf *bytes)
{
	size_t size;
	const unsigned char *p = module_section(bytes->data, bytes->len, ".comment",
						&size);
	char *text;

	for (; p && size && !*p; p++)
		size--;
	text = p && size ? strndup((const char *)p, size < TEXT_MAX ? size : TEXT_MAX) :
			   NULL;
	if (text)
		make_printable(text);
	return text;
}

static int describe(const char *file, const struct manifest_facts *f,
		    struct json_object *doc, struct json_object *list, char **why)
{
	struct json_object *one, *compiler;
	const char *slash = strrchr(file, '/');
	char sha256[65], *made_by;
	struct modinfo info;
	struct buf bytes;
	size_t size;
	int err = read_plain(file, &bytes, why);

	if (err && err != -EBADMSG && err != -ENOMEM)
		return refuse(why, text_of("%s: %s", file, strerror(-err)));
	if (err)
		return err;
	err = modinfo_read(bytes.data, bytes.len, &info);
	if (err) {
		buf_free(&bytes);
		return err == -ENOEXEC ?
		       refuse(why, text_of("%s is no module: not an ELF file with a "
					   "section .modinfo", file)) : err;
	}
	err = sha256_of(&bytes, sha256);
	if (!err && module_section(bytes.data, bytes.len, ".BTF", &size) && !f->pahole)
		err = refuse(why, text_of("%s has BTF, so the version of pahole is "
					  "an input of the build: name it with "
					  "--pahole", file));
	if (!json_object_object_get_ex(doc, "compiler", &compiler)) {
		made_by = f->compiler ? strdup(f->compiler) : compiler_of(&bytes);
		if (!err && !made_by)
			err = refuse(why, text_of("%s does not say which compiler "
						  "made it: name it with "
						  "--compiler", file));
		json_add(doc, "compiler", made_by);
		free(made_by);
	}
	if (!err) {
		one = json_object_new_object();
		json_add(one, "file", slash ? slash + 1 : file);
		json_add(one, "name", info.name);
		json_add(one, "vermagic", info.vermagic);
		json_add(one, "srcversion", info.srcversion);
		json_add_int(one, "size", bytes.len);
		json_add(one, "sha256", sha256);
		json_object_array_add(list, one);
	}
	modinfo_free(&info);
	buf_free(&bytes);
	return err;
}

int manifest_make(const struct manifest_facts *f, char *const *files, size_t n,
		  struct json_object **out, char **why)
{
	struct json_object *doc = json_object_new_object();
	struct json_object *list = json_object_new_array();
	struct manifest check = { .folder = NULL };
	char *kernel = n ? manifest_kernel_of(files[0]) : NULL;
	int err = 0;

	*why = NULL;
	json_add_int(doc, "schema", 1);
	json_add(doc, "kernel", kernel);
	json_add(doc, "kernel_package", f->package);
	json_add(doc, "kernel_package_version", f->version);
	json_add(doc, "signature_hash", f->hash);
	json_add(doc, "pahole", f->pahole);
	json_add(doc, "builder", f->builder);
	free(kernel);
	for (size_t i = 0; i < n && !err; i++)
		err = describe(files[i], f, doc, list, why);
	json_object_object_add(doc, "modules", list);
	/* What is written is what a reader takes. */
	check.doc = doc;
	if (!err)
		err = take_all(&check, why);
	free(check.list);
	if (err)
		json_object_put(doc);
	else
		*out = doc;
	return err;
}
