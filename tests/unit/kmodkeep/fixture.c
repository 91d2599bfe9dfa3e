// SPDX-License-Identifier: GPL-2.0-or-later
/* Keys, signed modules and hosts in a folder for the C tests; see fixture.h. */
#include "fixture.h"

#include <elf.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static EVP_PKEY *make_key(int type)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(type, NULL);
	EVP_PKEY *key = NULL;

	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	if (type == EVP_PKEY_EC)
		assert_int_equal(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(
				ctx, NID_X9_62_prime256v1), 1);
	else
		assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048),
				 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static X509 *make_cert(const char *cn, EVP_PKEY *key)
{
	static long serial;
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1000 + ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
				   (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_key_identifier,
				  "hash");
	assert_non_null(ext);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static const struct pair *pair(const char *cn, int type)
{
	static struct {
		char cn[64];
		int type;
		struct pair pair;
	} made[8];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(made) && made[i].cn[0]; i++)
		if (made[i].type == type && !strcmp(made[i].cn, cn))
			return &made[i].pair;
	assert_true(i < ARRAY_SIZE(made));
	snprintf(made[i].cn, sizeof(made[i].cn), "%s", cn);
	made[i].type = type;
	made[i].pair.key = make_key(type);
	made[i].pair.cert = make_cert(cn, made[i].pair.key);
	return &made[i].pair;
}

const struct pair *rsa_pair(const char *cn)
{
	return pair(cn, EVP_PKEY_RSA);
}

const struct pair *ec_pair(const char *cn)
{
	return pair(cn, EVP_PKEY_EC);
}

static void put(unsigned char *p, bool big, size_t size, uint64_t v)
{
	for (size_t i = 0; i < size; i++)
		p[big ? size - 1 - i : i] = v >> (8 * i);
}

#define PUT(p, type, name, v)						     \
	(is64 ? put((p) + offsetof(Elf64_##type, name), big,		     \
		    sizeof(((Elf64_##type *)0)->name), (v)) :		     \
		put((p) + offsetof(Elf32_##type, name), big,		     \
		    sizeof(((Elf32_##type *)0)->name), (v)))

void make_elf(struct buf *out, bool is64, bool big, const char *modinfo,
	      size_t len)
{
	static const char names[] = "\0.modinfo\0.shstrtab";
	size_t head = is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
	size_t each = is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	size_t table = (head + len + sizeof(names) + 7) & ~(size_t)7;
	unsigned char *p;

	out->len = table + 3 * each;
	out->data = p = calloc(1, out->len);
	memcpy(p, ELFMAG, SELFMAG);
	p[EI_CLASS] = is64 ? ELFCLASS64 : ELFCLASS32;
	p[EI_DATA] = big ? ELFDATA2MSB : ELFDATA2LSB;
	p[EI_VERSION] = EV_CURRENT;
	PUT(p, Ehdr, e_type, ET_REL);
	PUT(p, Ehdr, e_machine, EM_X86_64);
	PUT(p, Ehdr, e_version, EV_CURRENT);
	PUT(p, Ehdr, e_ehsize, head);
	PUT(p, Ehdr, e_shoff, table);
	PUT(p, Ehdr, e_shentsize, each);
	PUT(p, Ehdr, e_shnum, 3);
	PUT(p, Ehdr, e_shstrndx, 2);
	memcpy(p + head, modinfo, len);
	memcpy(p + head + len, names, sizeof(names));
	p += table + each;
	PUT(p, Shdr, sh_name, 1);
	PUT(p, Shdr, sh_type, SHT_PROGBITS);
	PUT(p, Shdr, sh_offset, head);
	PUT(p, Shdr, sh_size, len);
	p += each;
	PUT(p, Shdr, sh_name, 10);
	PUT(p, Shdr, sh_type, SHT_STRTAB);
	PUT(p, Shdr, sh_offset, head + len);
	PUT(p, Shdr, sh_size, sizeof(names));
}

void make_module(struct buf *out)
{
	static const char info[] =
		"name=sample\0version=1.2\0srcversion=ABCDEF0123\0"
		"vermagic=" KERNEL " SMP preempt mod_unload modversions ";

	make_elf(out, true, false, info, sizeof(info));
}

void add_trailer(struct buf *b, const unsigned char *der, size_t size)
{
	static const char magic[] = "~Module signature appended~\n";
	unsigned char *p;

	b->data = realloc(b->data, b->len + size + 12 + 28);
	p = b->data + b->len;
	memcpy(p, der, size);
	p += size;
	memset(p, 0, 12);
	p[2] = 2;
	put(p + 8, true, 4, size);
	memcpy(p + 12, magic, 28);
	b->len += size + 40;
}

void sign_with(const struct buf *content, const struct pair *const *signers,
	       size_t count, unsigned int flags, const char *hash,
	       struct buf *out)
{
	BIO *bio = BIO_new_mem_buf(content->data, content->len);
	CMS_ContentInfo *cms;
	unsigned char *der = NULL;
	int size;

	flags |= CMS_NOCERTS | CMS_BINARY | CMS_NOSMIMECAP;
	cms = CMS_sign(NULL, NULL, NULL, NULL, flags | CMS_PARTIAL);
	assert_non_null(cms);
	for (size_t i = 0; i < count; i++)
		assert_non_null(CMS_add1_signer(cms, signers[i]->cert,
						signers[i]->key,
						EVP_get_digestbyname(hash),
						flags));
	assert_int_equal(CMS_final(cms, bio, NULL, flags), 1);
	size = i2d_CMS_ContentInfo(cms, &der);
	assert_true(size > 0);
	out->len = content->len;
	out->data = malloc(content->len);
	memcpy(out->data, content->data, content->len);
	add_trailer(out, der, size);
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	BIO_free(bio);
}

char *make_tree(void)
{
	char *tree = strdup("/tmp/kmodkeep-test.XXXXXX");

	assert_non_null(mkdtemp(tree));
	return tree;
}

void remove_tree(char *tree)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", tree);
	assert_int_equal(system(command), 0);
	free(tree);
}

void put_file(const char *tree, const char *path, const void *data,
	      size_t len)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", tree, path);
	for (char *p = full + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

void put_text(const char *tree, const char *path, const char *text)
{
	put_file(tree, path, text, strlen(text));
}

void put_variable(const char *tree, const char *name_guid, const void *data,
		  size_t len)
{
	unsigned char *with = calloc(1, len + 4);
	char path[256];

	with[0] = 6;
	memcpy(with + 4, data, len);
	snprintf(path, sizeof(path), "/sys/firmware/efi/efivars/%s",
		 name_guid);
	put_file(tree, path, with, len + 4);
	free(with);
}

void put_secure_boot(const char *tree, bool on)
{
	put_variable(tree, "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
		     on ? "\1" : "\0", 1);
}

static void append_list(struct buf *b, const unsigned char type[16],
			const void *data, size_t len)
{
	unsigned char *p;

	b->data = realloc(b->data, b->len + 28 + 16 + len);
	p = b->data + b->len;
	memcpy(p, type, 16);
	put(p + 16, false, 4, 28 + 16 + len);
	put(p + 20, false, 4, 0);
	put(p + 24, false, 4, 16 + len);
	memset(p + 28, 'O', 16);
	memcpy(p + 44, data, len);
	b->len += 44 + len;
}

static const unsigned char type_x509[] = {
	0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
	0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
};
static const unsigned char type_sha256[] = {
	0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40,
	0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
};

void put_certs(const char *tree, const char *name_guid,
	       const struct pair *const *pairs, size_t count)
{
	struct buf list = { 0 };

	for (size_t i = 0; i < count; i++) {
		unsigned char *der = NULL;
		int len = i2d_X509(pairs[i]->cert, &der);

		append_list(&list, type_x509, der, len);
		OPENSSL_free(der);
	}
	put_variable(tree, name_guid, list.data, list.len);
	buf_free(&list);
}

void put_hash(const char *tree, const char *name_guid,
	      const unsigned char hash[32])
{
	struct buf list = { 0 };

	append_list(&list, type_sha256, hash, 32);
	put_variable(tree, name_guid, list.data, list.len);
	buf_free(&list);
}

uint32_t next_random(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}
