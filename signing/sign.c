// SPDX-License-Identifier: GPL-2.0-or-later
/* Signs a module file in place: unpack, sign, verify, pack, rename. */
#include "signing/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/module/modfile.h"
#include "guard/module/modsig.h"
#include "guard/trust/rules.h"
#include "guard/verdict/verify.h"

/*
 * What the kernel was built with is what it can surely check early: others
 * may be modules that the initramfs lacks.
 */
static int choose_hash(const struct host *h, const char *kernel,
		       const char *asked, const struct buf *elf, char hash[32])
{
	struct modinfo info;
	char *release, *value = NULL;
	int err;

	err = modinfo_read(elf->data, elf->len, &info);
	if (err)
		return err;
	release = kernel ? strdup(kernel) : modinfo_release(&info);
	modinfo_free(&info);
	if (!asked && release)
		value = host_kernel_config(h, release,
					   "CONFIG_MODULE_SIG_HASH");
	snprintf(hash, 32, "%s", asked ? asked : value && *value ? value :
				 "sha256");
	free(release);
	free(value);
	return 0;
}

/* May the kernel know the algorithm of the key? What no kernel knows: never. */
static bool may_know(const struct host *h, const char *kernel, EVP_PKEY *key,
		     const struct buf *elf)
{
	struct modinfo info;
	char *release;
	bool may = true;

	if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA)
		return true;
	if (EVP_PKEY_base_id(key) != EVP_PKEY_EC)
		return false;
	if (modinfo_read(elf->data, elf->len, &info))
		return true;
	release = kernel ? strdup(kernel) : modinfo_release(&info);
	modinfo_free(&info);
	if (release)
		may = rules_on(h, release).ecdsa != ANSWER_NO;
	free(release);
	return may;
}

/* Is cert among the signers, and does its signature fit? -1: not there. */
static int find_signer(const struct modsig *sig, X509 *cert,
		       const struct buf *bytes, bool *fits)
{
	for (size_t i = 0; i < modsig_signers(sig); i++)
		if (modsig_names(sig, i, cert)) {
			*fits = !modsig_signer(sig, i)->has_attributes &&
				!modsig_check(sig, i, cert, bytes->data);
			return i;
		}
	return -1;
}

/* One signature, by these keys and others more signers, and all keys' fit. */
static bool bears(const struct buf *bytes, const struct signkey *const *keys,
		  size_t n, size_t others)
{
	struct modsig *sig;
	size_t content;
	bool right;

	if (modsig_parse(bytes->data, bytes->len, &sig))
		return false;
	content = modsig_content_len(sig);
	right = modsig_signers(sig) == n + others &&
		modsig_strip(bytes->data, content) == content;
	for (size_t i = 0; right && i < n; i++) {
		bool fits = false;

		right = find_signer(sig, keys[i]->cert, bytes, &fits) >= 0 &&
			fits;
	}
	modsig_free(sig);
	return right;
}

/* How many signers of a file are none of these; -1: it has no signature. */
static int count_others(const struct buf *bytes,
			const struct signkey *const *keys, size_t n)
{
	struct modsig *sig;
	int others;
	bool fits;

	if (modsig_parse(bytes->data, bytes->len, &sig))
		return -1;
	others = modsig_signers(sig);
	for (size_t i = 0; i < n; i++)
		others -= find_signer(sig, keys[i]->cert, bytes, &fits) >= 0;
	modsig_free(sig);
	return others;
}

/* 1: signed by a key that is really trusted here, not just let through. */
static int is_trusted(const struct signing *s, const struct buf *bytes)
{
	struct report r = { 0 };
	int ret = 0;

	if (s->trust)
		ret = verify_bytes(s->h, s->trust, bytes, s->kernel, &r);
	if (!ret && s->trust)
		ret = r.verdict == VERDICT_OK && !r.waived;
	report_free(&r);
	return ret;
}

/* What is to become of the signature of a file. */
struct change {
	struct modsig *old;		/* NULL: all goes */
	unsigned int drop;		/* signers of old to take away */
	const struct signkey *keys[SIGN_KEYS_MAX];
	size_t count;			/* keys that sign anew */
	/* What is checked in the end: these, and so many more. */
	const struct signkey *wanted[SIGN_KEYS_MAX];
	size_t wanted_count, others;
};

/* Reads the file to be, exactly as it will lie on the disk. */
static int check_packed(const struct buf *packed, enum compression type,
			const struct change *c)
{
	struct buf plain;
	int err;

	if (type == COMPRESS_NONE)
		return bears(packed, c->wanted, c->wanted_count, c->others) ?
		       0 : -EIO;
	err = decompress(type, packed->data, packed->len, SIZE_MAX, &plain);
	if (err)
		return err;
	err = bears(&plain, c->wanted, c->wanted_count, c->others) ? 0 : -EIO;
	buf_free(&plain);
	return err;
}

/* Did anything replace or write to the file since it was read? */
static bool is_same(const char *path, const struct stat *was)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_ino == was->st_ino &&
	       st.st_dev == was->st_dev && st.st_size == was->st_size &&
	       st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
	       st.st_mtim.tv_nsec == was->st_mtim.tv_nsec &&
	       st.st_ctim.tv_sec == was->st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

static int write_changed(const char *path, const struct stat *was,
			 const struct modfile *m, const struct change *c,
			 const char *hash)
{
	struct modsig_key keys[SIGN_KEYS_MAX];
	struct buf signed_elf = { 0 }, packed = { 0 };
	const struct buf *final = &signed_elf;
	size_t len = c->old ? modsig_content_len(c->old) :
			      modsig_strip(m->bytes.data, m->bytes.len);
	int err;

	for (size_t i = 0; i < c->count; i++)
		keys[i] = (struct modsig_key){ c->keys[i]->cert,
					       c->keys[i]->key };
	err = modsig_change(m->bytes.data, len, c->old, c->drop, keys,
			    c->count, hash, &signed_elf);
	if (err)
		return err;
	if (m->type != COMPRESS_NONE) {
		err = compress_bytes(m->type, signed_elf.data, signed_elf.len,
				     &packed);
		final = &packed;
	}
	if (!err)
		err = check_packed(final, m->type, c);
	/* dkms may have installed another build over it. */
	if (!err && !is_same(path, was))
		err = -ESTALE;
	if (!err)
		err = file_replace(path, final->data, final->len, 0644);
	buf_free(&signed_elf);
	buf_free(&packed);
	return err;
}

/* Does every signer that stays fit, as far as its certificate is known? */
static int check_kept(const struct signing *s, const struct modsig *sig,
		      const struct buf *bytes)
{
	for (size_t i = 0; i < modsig_signers(sig); i++) {
		if (modsig_signer(sig, i)->has_attributes)
			return -EPROTO;
		for (size_t c = 0; s->trust && c < trust_certs(s->trust); c++) {
			X509 *cert = trust_cert(s->trust, c)->x509;

			if (modsig_names(sig, i, cert) &&
			    modsig_check(sig, i, cert, bytes->data) ==
			    -EKEYREJECTED)
				return -EKEYREJECTED;
		}
	}
	return 0;
}

/* The change that keeps who has signed, and adds who has not. */
static int plan_adding(const struct signing *s, const struct buf *bytes,
		       struct change *c)
{
	size_t content;
	int err = modsig_parse(bytes->data, bytes->len, &c->old);

	c->count = 0;
	if (err == -ENODATA) {
		c->count = s->count;
		return 0;
	}
	if (err == -ENOPKG)
		return -EPROTO;
	if (err)
		return err;
	content = modsig_content_len(c->old);
	/* One signature behind another: what the kernel sees is the last. */
	if (modsig_strip(bytes->data, content) != content)
		return -EBADMSG;
	err = check_kept(s, c->old, bytes);
	c->others = modsig_signers(c->old);
	for (size_t i = 0; i < s->count && !err; i++) {
		bool fits = false;

		if (find_signer(c->old, s->keys[i]->cert, bytes, &fits) < 0)
			c->keys[c->count++] = s->keys[i];
		else if (!fits)
			err = -EKEYREJECTED;
		else
			c->others--;
	}
	return err;
}

static int plan(const struct signing *s, const struct buf *bytes,
		struct change *c)
{
	c->count = c->wanted_count = s->count;
	for (size_t i = 0; i < s->count; i++)
		c->keys[i] = c->wanted[i] = s->keys[i];
	return s->add ? plan_adding(s, bytes, c) : 0;
}

/* May the file stay as it is, by its signers? */
static bool is_right(const struct signing *s, const struct buf *bytes)
{
	int others = s->add ? count_others(bytes, s->keys, s->count) : 0;

	return others >= 0 && bears(bytes, s->keys, s->count, others);
}

int sign_file(const struct signing *s, const char *path,
	      enum sign_result *result, char hash_used[32])
{
	struct change c = { 0 };
	struct modfile m;
	struct stat was;
	char *real = realpath(path, NULL);
	int err;

	/* The file itself is replaced, not a link that leads to it. */
	if (!real)
		return -errno;
	err = stat(real, &was) < 0 ? -errno : modfile_read(real, &m);
	if (err) {
		free(real);
		return err;
	}
	err = choose_hash(s->h, s->kernel, s->hash, &m.bytes, hash_used);
	if (err)
		goto out;
	for (size_t i = 0; !err && i < s->count; i++)
		if (!may_know(s->h, s->kernel, s->keys[i]->key, &m.bytes))
			err = -EAFNOSUPPORT;
	if (err)
		goto out;
	*result = SIGN_NOT_NEEDED;
	/* Every kernel can read what is written here: such a file is packed again. */
	if (s->if_needed && !m.signed_outside && !m.kernel_refuses &&
	    is_right(s, &m.bytes))
		goto out;
	if (s->if_needed && !m.signed_outside && !m.kernel_refuses && !s->add) {
		*result = SIGN_TRUSTED;
		err = is_trusted(s, &m.bytes);
		if (err)
			goto out;
	}
	*result = SIGN_DONE;
	err = plan(s, &m.bytes, &c);
	if (!err && !s->dry_run)
		err = write_changed(real, &was, &m, &c, hash_used);
	modsig_free(c.old);
out:
	modfile_free(&m);
	free(real);
	return err > 0 ? 0 : err;
}

static enum goal_state state_of(const struct sign_goal *g,
				const struct modsig *sig,
				const struct buf *bytes, int at[2])
{
	for (int i = 0; i < 2; i++) {
		bool fits = false;

		at[i] = g->cert[i] ?
			find_signer(sig, g->cert[i], bytes, &fits) : -1;
		if (at[i] >= 0 && !fits)
			return GOAL_DAMAGED;
	}
	return at[0] >= 0 && at[1] >= 0 ? GOAL_BOTH :
	       at[0] >= 0 ? GOAL_FIRST : at[1] >= 0 ? GOAL_SECOND : GOAL_OTHER;
}

enum goal_state sign_state_of(const struct sign_goal *g,
			      const struct buf *bytes)
{
	enum goal_state state;
	struct modsig *sig;
	int at[2];
	int err = modsig_parse(bytes->data, bytes->len, &sig);

	if (err)
		return err == -EBADMSG ? GOAL_DAMAGED : GOAL_OTHER;
	state = state_of(g, sig, bytes, at);
	modsig_free(sig);
	return state;
}

enum goal_state sign_state(const struct sign_goal *g, const char *path)
{
	enum goal_state state;
	struct modfile m;

	if (modfile_read(path, &m))
		return GOAL_DAMAGED;
	state = m.signed_outside ? GOAL_OTHER : sign_state_of(g, &m.bytes);
	modfile_free(&m);
	return state;
}

int sign_by(const char *path, X509 *cert, size_t *others)
{
	struct modsig *sig;
	struct modfile m;
	bool fits;
	int ret = modfile_read(path, &m);

	if (ret)
		return ret;
	ret = modsig_parse(m.bytes.data, m.bytes.len, &sig);
	if (!ret) {
		ret = find_signer(sig, cert, &m.bytes, &fits) >= 0;
		*others = modsig_signers(sig) - ret;
		modsig_free(sig);
	} else if (ret == -ENODATA || ret == -ENOPKG || ret == -EBADMSG) {
		ret = 0;
	}
	modfile_free(&m);
	return ret;
}

/* 1: the change is needed; 0: not; or -errno. */
static int plan_goal(const struct sign_goal *g, const struct buf *bytes,
		     const struct signkey named[2], struct change *c)
{
	int at[2], err = modsig_parse(bytes->data, bytes->len, &c->old);
	enum goal_state state;

	if (err)
		return err == -ENODATA || err == -ENOPKG ? 0 : err;
	state = state_of(g, c->old, bytes, at);
	if (state == GOAL_OTHER)
		return 0;
	if (state == GOAL_DAMAGED)
		return -EKEYREJECTED;
	c->others = modsig_signers(c->old) - (at[0] >= 0) - (at[1] >= 0);
	for (int i = 0; i < 2; i++) {
		if (!g->wanted[i] && at[i] >= 0)
			c->drop |= 1u << at[i];
		if (g->wanted[i] && at[i] < 0 && g->key[i])
			c->keys[c->count++] = g->key[i];
		/* One that has not signed and cannot is not waited for. */
		if (g->wanted[i] && (at[i] >= 0 || g->key[i]))
			c->wanted[c->wanted_count++] = &named[i];
	}
	/* Signed by what goes, and what stays cannot sign it. */
	if (!c->wanted_count)
		return -ENOKEY;
	return c->drop || c->count;
}

int sign_reach(const struct sign_goal *g, const char *path)
{
	struct signkey named[2] = { { .cert = g->cert[0] },
				    { .cert = g->cert[1] } };
	struct change c = { 0 };
	struct modfile m;
	struct stat was;
	char hash[32];
	int ret;

	if (stat(path, &was) < 0)
		return -errno;
	ret = modfile_read(path, &m);
	if (ret)
		return ret;
	ret = m.signed_outside ? 0 : plan_goal(g, &m.bytes, named, &c);
	if (ret > 0)
		ret = choose_hash(g->h, NULL, NULL, &m.bytes, hash);
	else
		goto out;
	if (!ret)
		ret = write_changed(path, &was, &m, &c, hash);
	if (!ret)
		ret = 1;
out:
	modsig_free(c.old);
	modfile_free(&m);
	return ret;
}
