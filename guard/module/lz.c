// SPDX-License-Identifier: GPL-2.0-or-later
/* Loads liblz4 and liblzo2 and has them unpack blocks. */
#include "guard/module/lz.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/* As their headers declare them; both are stable parts of the libraries' ABI. */
typedef int lz4_decompress_fn(const char *in, char *out, int len, int room);
typedef int lzo_decompress_fn(const unsigned char *in, unsigned long len, unsigned char *out,
			      unsigned long *room, void *unused);

/* The library stays loaded: other threads may be in it. */
static void *function(const char *library, const char *name)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

	return handle ? dlsym(handle, name) : NULL;
}

long lz4_block(const unsigned char *in, size_t len, unsigned char *out, size_t room)
{
	void *found = function("liblz4.so.1", "LZ4_decompress_safe");
	lz4_decompress_fn *decompress;
	int n;

	if (!found)
		return -ELIBACC;
	if (len > INT_MAX || room > INT_MAX)
		return -EBADMSG;
	memcpy(&decompress, &found, sizeof(decompress));
	n = decompress((const char *)in, (char *)out, len, room);
	return n < 0 ? -EBADMSG : n;
}

long lzo_block(const unsigned char *in, size_t len, unsigned char *out, size_t room)
{
	void *found = function("liblzo2.so.2", "lzo1x_decompress_safe");
	lzo_decompress_fn *decompress;
	unsigned long n = room;

	if (!found)
		return -ELIBACC;
	memcpy(&decompress, &found, sizeof(decompress));
	return decompress(in, len, out, &n, NULL) ? -EBADMSG : (long)n;
}
