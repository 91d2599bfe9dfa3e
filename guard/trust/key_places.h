/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the keys lie that modules of this host are signed with. */
#ifndef KMODKEEP_KEY_PLACES_H
#define KMODKEEP_KEY_PLACES_H

#define KEY_DIR "/var/lib/kmodkeep/keys"

/* Where keys lie, in the order of preference. Ends with cert == NULL. */
struct key_place {
	const char *origin;	/* "own", "ubuntu", "dkms" */
	const char *key, *cert;
};
extern const struct key_place key_places[];

#endif
