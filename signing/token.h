/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A key that stays in a PKCS#11 token and is named by a URI (RFC 7512). */
#ifndef KMODKEEP_TOKEN_H
#define KMODKEEP_TOKEN_H

#include <openssl/evp.h>
#include <stdbool.h>

#define TOKEN_SCHEME "pkcs11:"

bool token_is(const char *key);

/*
 * Finds the key in its token, by OpenSSL's provider "pkcs11". The PIN is the
 * first line of pin_file, or of the systemd credential kmodkeep-pin; it is
 * given once. 0, or -EKEYREJECTED with *problem and *next (malloc'ed), or
 * -ENOMEM. refused: a file that remembers a PIN that did not serve, which is
 * not tried again since tokens lock.
 */
int token_load(const char *uri, const char *pin_file, const char *refused,
	       EVP_PKEY **key, char **problem, char **next);

#endif
