// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever a control group is called, and whatever the files of runtimes have: a container
 * has an id and a name of harmless characters, or none.
 */
#include "fuzz.h"

#include "containers.h"

static void check(const struct container *container)
{
	char label[CONTAINER_LABEL_MAX];

	if (container->id[0] && (strlen(container->id) != CONTAINER_ID_DIGITS ||
				 strspn(container->id, "0123456789abcdef") != CONTAINER_ID_DIGITS))
		abort();
	if (container->name[0] && !container_full_name_ok(container->name))
		abort();
	if (!container->id[0] && !container->name[0])
		abort();
	container_label(container, label, sizeof(label));
	if (strlen(label) + 1 >= sizeof(label) || strpbrk(label, "\n\033\""))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char id[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct container container;
	char name[256], *path = malloc(size + 1);

	if (!path)
		abort();
	if (size)
		memcpy(path, data, size);
	path[size] = '\0';
	if (container_of(path, &container))
		check(&container);
	free(path);
	if (container_name_in((const char *)data, size, id, name, sizeof(name)) &&
	    !container_name_ok(name, strlen(name)))
		abort();
	return 0;
}
