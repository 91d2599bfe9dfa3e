// SPDX-License-Identifier: GPL-2.0-only
/* The places of signing keys: this program's own, Ubuntu's, dkms's default. */
#include "guard/trust/key_places.h"

#include <stddef.h>

const struct key_place key_places[] = {
	{ "own", KEY_DIR "/signing.key", KEY_DIR "/signing.der" },
	{ "ubuntu", "/var/lib/shim-signed/mok/MOK.priv",
	  "/var/lib/shim-signed/mok/MOK.der" },
	{ "dkms", "/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub" },
	{ NULL, NULL, NULL },
};
