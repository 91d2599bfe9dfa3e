// SPDX-License-Identifier: GPL-2.0-or-later
/* Opens a host for a verb that changes keys: one at a time, as root, no dumps. */
#include "signing/keyverb.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/lock.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "signing/newkey.h"

#define LOCK_SECONDS 60

static int refuse_place(const struct host *h)
{
	switch (host_place(h)) {
	case PLACE_CONTAINER:
		puts("kmodkeep: no signing key is made or enrolled in a "
		     "container; do it on its host");
		return -1;
	case PLACE_CHROOT:
		puts("kmodkeep: no signing key is made or enrolled in a chroot; "
		     "do it on the installed system");
		return -1;
	default:
		return EXIT_YES;
	}
}

static int take_lock(const struct host *h, int *lock)
{
	char *dir = host_path(h, "/run");
	char *path = host_path(h, "/run/kmodkeep/key.lock");
	int code = EXIT_YES;

	if (dir && path) {
		mkdir(dir, 0755);
		*lock = lock_take(path, LOCK_SECONDS);
	} else {
		*lock = -ENOMEM;
	}
	if (*lock == -ETIMEDOUT)
		code = EXIT_NO;	/* which was said */
	else if (*lock < 0)
		code = keyverb_failed(*lock, path);
	free(dir);
	free(path);
	return code;
}

int keyverb_open(const char *verb, const char *root, struct host **h,
		 int *lock)
{
	int code, err = host_new(root, h);

	*lock = -1;
	if (err)
		return complain_root(err, root, verb);
	code = refuse_place(*h);
	if (code)
		return code;
	if (host_is_live(*h) && geteuid())
		return complain(EXIT_NO, "only root may do this. Next: run it "
				"as root");
	err = no_dumps();
	if (err)
		return complain(EXIT_NO, "%s: dumps of this process could not "
				"be prevented: %s; nothing changed", verb,
				strerror(-err));
	return take_lock(*h, lock);
}

void keyverb_close(struct host *h, int lock)
{
	if (lock >= 0)
		close(lock);
	host_free(h);
}

int keyverb_failed(int err, const char *what)
{
	const char *next = err == -ENOSPC || err == -EDQUOT ?
				"make room on that file system" :
			   err == -EROFS ? "mount that file system writable" :
			   err == -EPERM ? "chown it to root" :
			   err == -ELOOP ? "put a directory there" :
			   err == -EACCES ? "run it as root" :
					    "look at that place, and try again";

	return complain(EXIT_NO, "%s: %s; no key was made or changed. Next: %s",
			what ? what : "making the key",
			err == -EPERM ? "it belongs to another user" :
			err == -ELOOP ? "it is a symbolic link" :
			strerror(-err), next);
}
