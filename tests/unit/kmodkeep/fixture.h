/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the C tests share: keys, certificates, modules and a host in a folder. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "guard/host/host.h"
#include "guard/base/util.h"

#define KERNEL "6.1.0-30-amd64"

struct pair {
	EVP_PKEY *key;
	X509 *cert;
};

/* Made once per program and name. */
const struct pair *rsa_pair(const char *cn);
const struct pair *ec_pair(const char *cn);

/* An ELF file with a .modinfo section of these NUL-separated entries. */
void make_elf(struct buf *out, bool is64, bool big, const char *modinfo,
	      size_t len);
/* A module for KERNEL. */
void make_module(struct buf *out);

/* content + CMS + trailer; flags are OpenSSL's, added to those needed. */
void sign_with(const struct buf *content, const struct pair *const *signers,
	       size_t count, unsigned int flags, const char *hash,
	       struct buf *out);
void add_trailer(struct buf *b, const unsigned char *der, size_t size);

/* A new empty directory, removed with all in it by remove_tree(). */
char *make_tree(void);
void remove_tree(char *tree);
void put_file(const char *tree, const char *path, const void *data,
	      size_t len);
void put_text(const char *tree, const char *path, const char *text);

/* An EFI variable with its four bytes of attributes. */
void put_variable(const char *tree, const char *name_guid, const void *data,
		  size_t len);
/* Secure Boot on, and a list of these certificates in the variable. */
void put_secure_boot(const char *tree, bool on);
void put_certs(const char *tree, const char *name_guid,
	       const struct pair *const *pairs, size_t count);
void put_hash(const char *tree, const char *name_guid,
	      const unsigned char hash[32]);

/* xorshift: the same numbers for the same seed on every machine. */
uint32_t next_random(uint32_t *state);

#define MOK_LIST "MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
#define MOK_LIST_X "MokListXRT-605dab50-e046-4300-abb6-3dd810dd8b23"
#define MOK_NEW "MokNew-605dab50-e046-4300-abb6-3dd810dd8b23"
#define MOK_AUTH "MokAuth-605dab50-e046-4300-abb6-3dd810dd8b23"
#define DB "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"

#endif
