// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two versions of one driver that dkms has, of which one does not build. Some versions of dkms
 * try it nevertheless once the other one is installed, and fail by it.
 */
#include "guard/verdict/beside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

/* What must be there before the version may go: on kernels that have it. "" for nothing. */
static char *steps_before(const struct doctor *d, const struct finding *f)
{
	const char *name = f->driver->dkms, *version = f->dkms.version;
	char *all = strdup("");

	for (size_t i = 0; all && i < d->kernels.count; i++) {
		const char *release = d->kernels.list[i].release;
		struct dkms other;
		char *more;

		if (dkms_read(d->h, name, release, &other)) {
			free(all);
			return NULL;
		}
		if (other.state == DKMS_INSTALLED && !strcmp(other.version, f->dkms.beside)) {
			more = text_of("%sdkms install %s/%s -k %s, which has that version, then: ",
				       all, name, version, release);
			free(all);
			all = more;
		}
		dkms_free(&other);
	}
	return all;
}

int beside_warning(const struct doctor *d, const struct finding *f, char **text)
{
	char *before;

	*text = NULL;
	if (!f->driver || !f->driver->dkms || !f->dkms.beside)
		return 0;
	before = steps_before(d, f);
	if (before)
		*text = text_of("%s on %s: dkms has version %s registered beside %s, and could not "
				"build it for that kernel. Where dkms tries it again, which old ones "
				"do, packages of the kernel stay unfinished. Next: %sdkms remove "
				"%s/%s --all", f->driver->dkms, f->kernel->release, f->dkms.beside,
				f->dkms.version, before, f->driver->dkms, f->dkms.beside);
	free(before);
	return *text ? 0 : -ENOMEM;
}
