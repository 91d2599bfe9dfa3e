// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opens a key in a PKCS#11 token. What the provider tells of a failure does not
 * say whether the PIN was wrong, so each failure with a PIN counts as one: the
 * same PIN file is not tried again until it is changed.
 */
#include "signing/token.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/opensslv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"

#define PIN_MAX 64
#define CREDENTIAL "kmodkeep-pin"

bool token_is(const char *key)
{
	return !strncmp(key, TOKEN_SCHEME, strlen(TOKEN_SCHEME));
}

static int refuse(char **problem, char **next, char *why, char *what)
{
	*problem = why;
	*next = what;
	return why && what ? -EKEYREJECTED : -ENOMEM;
}

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/ui.h>

struct pin {
	char text[PIN_MAX + 1];
	size_t len;
	bool given;
	char identity[96];	/* of its file: another after each change */
};

/* Asked for a second time it was wrong, and a third may lock the token. */
static int give_pin(char *buf, int size, int rwflag, void *arg)
{
	struct pin *p = arg;

	(void)rwflag;
	if (p->given || !p->len || size < 0 || p->len >= (size_t)size)
		return -1;
	p->given = true;
	memcpy(buf, p->text, p->len + 1);
	return p->len;
}

static char *pin_path(const char *pin_file)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");

	if (pin_file)
		return strdup(pin_file);
	return dir && *dir == '/' ? text_of("%s/" CREDENTIAL, dir) : NULL;
}

/* The first line of a file that nobody else can read. */
static int read_pin(const char *path, struct pin *p, char **problem,
		    char **next)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return refuse(problem, next,
			      text_of("the PIN file %s cannot be read: %s", path,
				      err == ELOOP ? "it is a symbolic link" :
				      strerror(err)),
			      strdup("put the PIN into it, with mode 0600"));
	}
	if (S_ISREG(st.st_mode) && !(st.st_mode & 077) &&
	    (st.st_uid == geteuid() || st.st_uid == 0))
		n = read(fd, p->text, PIN_MAX);
	close(fd);
	if (n < 0)
		return refuse(problem, next,
			      text_of("the PIN file %s can be read or written "
				      "by others (mode %04o, user %u), or is no "
				      "plain file", path,
				      (unsigned int)st.st_mode & 07777,
				      (unsigned int)st.st_uid),
			      strdup("chmod 600 it, chown it to root, and "
				     "change the PIN"));
	p->text[n] = '\0';
	p->len = strcspn(p->text, "\r\n");
	p->text[p->len] = '\0';
	if (!p->len)
		return refuse(problem, next,
			      text_of("the PIN file %s is empty", path),
			      strdup("put the PIN into it, with mode 0600"));
	snprintf(p->identity, sizeof(p->identity), "%llu:%llu:%lld.%09ld",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	return 0;
}

static bool was_refused(const char *file, const char *uri, const struct pin *p)
{
	char *mark = text_of("%s %s", p->identity, uri), *line = NULL;
	bool is = mark && !file_read_line(file, &line) && !strcmp(line, mark);

	free(line);
	free(mark);
	return is;
}

static void remember_refusal(const char *file, const char *uri,
			     const struct pin *p)
{
	char *mark = text_of("%s %s\n", p->identity, uri);

	if (mark)
		file_replace(file, mark, strlen(mark), 0600);
	free(mark);
}

static EVP_PKEY *find_key(const char *uri, struct pin *pin)
{
	UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(give_pin, 0);
	OSSL_STORE_CTX *store = NULL;
	OSSL_STORE_INFO *info;
	EVP_PKEY *key = NULL;

	if (ui)
		store = OSSL_STORE_open(uri, ui, pin, NULL, NULL);
	if (store)
		OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY);
	while (store && !key && !OSSL_STORE_eof(store)) {
		info = OSSL_STORE_load(store);
		if (info && OSSL_STORE_INFO_get_type(info) ==
		    OSSL_STORE_INFO_PKEY)
			key = OSSL_STORE_INFO_get1_PKEY(info);
		OSSL_STORE_INFO_free(info);
		if (!info && OSSL_STORE_error(store))
			break;
	}
	OSSL_STORE_close(store);
	UI_destroy_method(ui);
	ERR_clear_error();
	return key;
}

/*
 * What OpenSSL does at the end of a process crashes in some versions of this
 * provider, after a signature that is right: this comes before it.
 */
static void leave(int code, void *arg)
{
	(void)arg;
	fflush(NULL);
	_exit(code);
}

/*
 * The token's library, as the URI names it (module-path, RFC 7512): the provider
 * itself takes it from its settings alone.
 */
static int name_library(const char *uri)
{
	static const char key[] = "module-path=";
	const char *p = strstr(uri, key);
	char *path;
	int err;

	if (!p)
		return 0;
	p += strlen(key);
	path = strndup(p, strcspn(p, "&;"));
	if (!path)
		return -ENOMEM;
	err = *path == '/' && !setenv("PKCS11_PROVIDER_MODULE", path, 1) ?
	      0 : -EINVAL;
	free(path);
	return err;
}

static bool load_provider(void)
{
	return OSSL_PROVIDER_load(NULL, "default") &&
	       OSSL_PROVIDER_load(NULL, "pkcs11") && !on_exit(leave, NULL);
}

int token_load(const char *uri, const char *pin_file, const char *refused,
	       EVP_PKEY **key, char **problem, char **next)
{
	struct pin pin = { .len = 0 };
	char *path;
	int err = 0;

	if (strstr(uri, "pin-value") || strstr(uri, "pin-source"))
		return refuse(problem, next,
			      strdup("the URI of the token key names a PIN"),
			      strdup("leave it out, and name the file of the "
				     "PIN: --pin-file, or pin_file in "
				     "/etc/kmodkeep/signing.conf"));
	path = pin_path(pin_file);
	if (path)
		err = read_pin(path, &pin, problem, next);
	if (!err && path && was_refused(refused, uri, &pin))
		err = refuse(problem, next,
			     text_of("the token did not open the key with the "
				     "PIN of %s before; it is not tried again, "
				     "since tokens lock", path),
			     text_of("correct the PIN file (or, if the token "
				     "was not there, remove %s)", refused));
	if (!err && name_library(uri))
		err = refuse(problem, next,
			     strdup("the module-path in the URI of the token "
				    "key is no full path"),
			     strdup("name the token's library by its full path"));
	if (!err && !load_provider()) {
		ERR_clear_error();
		err = refuse(problem, next,
			     strdup("OpenSSL's provider pkcs11 cannot be loaded"),
			     strdup("install pkcs11-provider (Debian 12: from "
				    "backports)"));
	}
	if (!err) {
		*key = find_key(uri, &pin);
		if (!*key && pin.given)
			remember_refusal(refused, uri, &pin);
		if (!*key)
			err = refuse(problem, next,
				     text_of("no private key was found at %s: "
					     "%s", uri, pin.given ?
					     "the PIN was refused, or there is "
					     "no such key" : path ?
					     "the token is not there, or there "
					     "is no such key" :
					     "the token is not there, or asks "
					     "for a PIN"),
				     strdup("look at the token and at the PIN "
					    "file; the PIN is not tried again "
					    "until that changes"));
	}
	OPENSSL_cleanse(&pin, sizeof(pin));
	free(path);
	return err;
}
#else
int token_load(const char *uri, const char *pin_file, const char *refused,
	       EVP_PKEY **key, char **problem, char **next)
{
	(void)uri;
	(void)pin_file;
	(void)refused;
	*key = NULL;
	return refuse(problem, next,
		      strdup("keys in tokens need OpenSSL 3, which is not here"),
		      strdup("sign on another machine"));
}
#endif
