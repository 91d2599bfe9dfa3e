// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes a key pair. All its files are written into a directory of a temporary
 * name, which is then renamed: a power cut or a kill leaves a whole pair or
 * none, and the next run removes what is left.
 */
#include "signing/newkey.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/trust/key_places.h"

#define STATE_DIR "/var/lib/kmodkeep"
#define KEY_BITS 2048
/* Kernels do not look at the date; a key is replaced by rotation, not by age. */
#define VALID_DAYS 36500
#define SERIAL_BITS 159		/* positive, and at most 20 bytes */

int no_dumps(void)
{
	static const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

int newkey_remove(const char *path)
{
	char *key = text_of("%s/signing.key", path);
	int err = key ? 0 : -ENOMEM;

	/* What must not be left goes first. */
	if (key && unlink(key) < 0 && errno != ENOENT)
		err = -errno;
	free(key);
	if (!err && nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS))
		err = -errno;
	return err;
}

/* At most 64 bytes, the limit of a common name; unique per host and date. */
static int common_name(const struct host *h, char out[65])
{
	char *host = host_line(h, "/etc/hostname"), name[33] = "", date[11];
	unsigned char random[4];
	char hex[2 * sizeof(random) + 1];
	time_t now = time(NULL);
	struct utsname uts;
	struct tm tm;
	size_t n = 0;

	if (!host && uname(&uts) == 0)
		host = strdup(uts.nodename);
	for (const char *p = host; p && *p && n < sizeof(name) - 1; p++)
		if ((unsigned char)*p < 0x80 &&
		    (isalnum((unsigned char)*p) || strchr(".-", *p)))
			name[n++] = *p;
	free(host);
	if (RAND_bytes(random, sizeof(random)) != 1)
		return -EIO;
	hex_encode(random, sizeof(random), hex);
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&now, &tm));
	snprintf(out, 65, "kmodkeep %s %s %s", name, date, hex);
	return 0;
}

static int key_bits(void)
{
#ifdef KMODKEEP_TESTING
	/* Built for the tests alone, most of which want any key, and soon. */
	const char *bits = getenv("KMODKEEP_TEST_KEY_BITS");

	if (bits)
		return atoi(bits);
#endif
	return KEY_BITS;
}

static EVP_PKEY *generate(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
	EVP_PKEY *key = NULL;

	if (!ctx || EVP_PKEY_keygen_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, key_bits()) != 1 ||
	    EVP_PKEY_keygen(ctx, &key) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static bool set_serial(X509 *cert)
{
	BIGNUM *n = BN_new();
	bool done = n && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ANY,
				 BN_RAND_BOTTOM_ANY) == 1 &&
		    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));

	BN_free(n);
	return done;
}

/*
 * The usage 1.3.6.1.4.1.2312.16.1.2 (module signing only) keeps shim from
 * booting what this key signs: root may sign drivers, not boot loaders.
 */
static bool set_extensions(X509 *cert)
{
	static const struct {
		int nid;
		const char *value;
	} wanted[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "codeSigning,1.3.6.1.4.1.2312.16.1.2" },
		{ NID_subject_key_identifier, "hash" },
	};
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx,
				wanted[i].nid, wanted[i].value);
		bool added = e && X509_add_ext(cert, e, -1) == 1;

		X509_EXTENSION_free(e);
		if (!added)
			return false;
	}
	return true;
}

static X509 *certify(EVP_PKEY *key, const char *cn)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_NAME_new();

	if (cert && name && X509_set_version(cert, 2) == 1 &&
	    set_serial(cert) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
				       (const unsigned char *)cn, -1, -1,
				       0) == 1 &&
	    X509_set_subject_name(cert, name) == 1 &&
	    X509_set_issuer_name(cert, name) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), VALID_DAYS, 0, NULL) &&
	    X509_set_pubkey(cert, key) == 1 && set_extensions(cert) &&
	    X509_sign(cert, key, EVP_sha256()) > 0) {
		X509_NAME_free(name);
		return cert;
	}
	X509_NAME_free(name);
	X509_free(cert);
	return NULL;
}

int newkey_in_memory(const struct host *h, EVP_PKEY **key, X509 **cert)
{
	char cn[65];
	int err = common_name(h, cn);

	if (err)
		return err;
	*key = generate();
	*cert = *key ? certify(*key, cn) : NULL;
	ERR_clear_error();
	if (*cert)
		return 0;
	EVP_PKEY_free(*key);
	return -EIO;
}

static int write_new(int dir, const char *name, const void *data, size_t len,
		     mode_t mode)
{
	const char *p = data;
	int fd, err = 0;

	/* Born private: a later mode comes too late for one who has it open. */
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC |
		    O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (len && !err) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			err = -errno;
		if (n > 0) {
			p += n;
			len -= n;
		}
	}
	if (!err && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		err = -errno;
	if (close(fd) < 0 && !err)
		err = -errno;
	return err;
}

/* The buffer with the key's text is wiped when it is freed. */
static int write_key(int dir, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int err = -EIO;
	char *text;
	long len;

	if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL,
					    NULL) == 1) {
		len = BIO_get_mem_data(bio, &text);
		err = len > 0 ? write_new(dir, "signing.key", text, len, 0600) :
				-EIO;
	}
	BIO_free(bio);
	return err;
}

static int write_cert(int dir, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	int err = len > 0 ? write_new(dir, "signing.der", der, len, 0644) : -EIO;

	OPENSSL_free(der);
	return err;
}

static int write_machine(int dir, const struct host *h)
{
	char *id = host_machine_id(h), *line = id ? text_of("%s\n", id) : NULL;
	int err = line ? write_new(dir, "machine-id", line, strlen(line), 0644) :
			 -ENOMEM;

	free(line);
	free(id);
	return err;
}

/* The files of a pair in an open, empty directory. */
static int fill(int dir, const struct host *h)
{
	EVP_PKEY *key;
	X509 *cert;
	int err = newkey_in_memory(h, &key, &cert);

	if (err)
		return err;
	err = write_key(dir, key);
	if (!err)
		err = write_cert(dir, cert);
	if (!err)
		err = write_machine(dir, h);
	if (!err && fsync(dir) < 0)
		err = -errno;
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return err;
}

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* One process at a time is here: what is left of others was left by a kill. */
static void remove_leftovers(const char *parent)
{
	DIR *d = opendir(parent);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (!fnmatch(".keys.??????", e->d_name, 0)) {
			char *path = text_of("%s/%s", parent, e->d_name);

			if (path)
				nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
			free(path);
		}
	if (d)
		closedir(d);
}

int newkey_prepare(const struct host *h, char **what)
{
	static const char *const above[] = { "/var", "/var/lib" };
	char *parent = host_path(h, STATE_DIR);
	struct stat st;
	int err = 0;

	*what = parent;
	if (!parent)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(above); i++) {
		char *dir = host_path(h, above[i]);

		if (dir)
			mkdir(dir, 0755);
		free(dir);
	}
	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		err = -errno;
	else if (lstat(parent, &st) < 0)
		err = -errno;
	else if (!S_ISDIR(st.st_mode))
		err = S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
	else if (st.st_uid != geteuid())
		err = -EPERM;
	else if (chmod(parent, 0755) < 0)
		err = -errno;
	if (err)
		return err;
	remove_leftovers(parent);
	*what = NULL;
	free(parent);
	return 0;
}

int newkey_clear(const struct host *h, const char *dir, char **aside)
{
	char *path = host_path(h, dir), when[20];
	time_t now = time(NULL);
	struct tm tm;
	int err = 0;

	*aside = NULL;
	if (!path)
		return -ENOMEM;
	if (rmdir(path) < 0 && errno != ENOENT) {
		strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ",
			 gmtime_r(&now, &tm));
		*aside = text_of("%s.before-%s", path, when);
		if (!*aside)
			err = -ENOMEM;
		else if (path_exists(*aside))
			err = -EEXIST;
		else if (rename(path, *aside) < 0)
			err = -errno;
	}
	free(path);
	return err;
}

int newkey_make(const struct host *h, const char *dir, char **what)
{
	char *parent = host_path(h, STATE_DIR), *target = host_path(h, dir);
	char *tmp = parent ? text_of("%s/.keys.XXXXXX", parent) : NULL;
	int fd = -1, err = 0;

	*what = NULL;
	if (!tmp || !target)
		err = -ENOMEM;
	else if (!mkdtemp(tmp))
		err = -errno;
	if (err)
		goto out;
	fd = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	err = fd < 0 ? -errno : fill(fd, h);
	if (!err && rename(tmp, target) < 0)
		err = errno == ENOTEMPTY ? -EEXIST : -errno;
	if (err)
		nftw(tmp, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	else
		err = sync_dir(parent);
out:
	if (fd >= 0)
		close(fd);
	if (err)
		*what = target ? strdup(target) : NULL;
	free(tmp);
	free(target);
	free(parent);
	return err;
}
