// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Containers by the paths of their control groups: containers.h.
 */
#include "containers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A folder of a path. */
struct part {
	const char *text;
	size_t len;
};

static bool takes(struct part *part, const char *begin)
{
	size_t len = strlen(begin);

	if (part->len <= len || memcmp(part->text, begin, len))
		return false;
	part->text += len;
	part->len -= len;
	return true;
}

static bool drops(struct part *part, const char *end)
{
	size_t len = strlen(end);

	if (part->len <= len || memcmp(part->text + part->len - len, end, len))
		return false;
	part->len -= len;
	return true;
}

static bool is(struct part part, const char *text)
{
	return part.len == strlen(text) && !memcmp(part.text, text, part.len);
}

static bool is_id(struct part part)
{
	size_t i;

	for (i = 0; i < part.len; i++)
		if (!(part.text[i] >= '0' && part.text[i] <= '9') &&
		    !(part.text[i] >= 'a' && part.text[i] <= 'f'))
			return false;
	return part.len == CONTAINER_ID_DIGITS;
}

bool container_name_ok(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!(name[i] >= '0' && name[i] <= '9') && !(name[i] >= 'a' && name[i] <= 'z') &&
		    !(name[i] >= 'A' && name[i] <= 'Z') && !(i && strchr("._-", name[i])))
			return false;
	return len && len < sizeof(((struct container *)0)->name);
}

bool container_full_name_ok(const char *name)
{
	size_t len = strlen(name), part;

	if (len >= sizeof(((struct container *)0)->name))
		return false;
	for (;; name += part + 1) {
		part = strcspn(name, "/");
		if (!container_name_ok(name, part))
			return false;
		if (!name[part])
			return true;
	}
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As systemd-escape(1) writes: "\x2d" is a dash, and a dash a slash, which no name has. */
static bool take_machine(struct container *container, const char *runtime, struct part part)
{
	char name[sizeof(container->name)];
	size_t n = 0, i;

	for (i = 0; i < part.len && n < sizeof(name); i++) {
		if (part.text[i] == '\\' && part.len - i > 3 && part.text[i + 1] == 'x' &&
		    digit(part.text[i + 2]) >= 0 && digit(part.text[i + 3]) >= 0) {
			name[n++] = digit(part.text[i + 2]) << 4 | digit(part.text[i + 3]);
			i += 3;
		} else {
			name[n++] = part.text[i];
		}
	}
	if (i < part.len || !container_name_ok(name, n))
		return false;
	container->runtime = runtime;
	memcpy(container->name, name, n);
	return true;
}

static bool take_name(struct container *container, const char *runtime, struct part part)
{
	if (!container_name_ok(part.text, part.len))
		return false;
	container->runtime = runtime;
	memcpy(container->name, part.text, part.len);
	return true;
}

static bool take_id(struct container *container, const char *runtime, struct part part)
{
	if (!is_id(part))
		return false;
	container->runtime = runtime;
	memcpy(container->id, part.text, part.len);
	return true;
}

/* "pod" and a uid; systemd's names have '_' for each '-' of it. */
static void take_pod(struct container *container, struct part part)
{
	bool slice = drops(&part, ".slice");
	size_t i;

	for (i = part.len; slice && i >= 4; i--)
		if (!memcmp(part.text + i - 4, "-pod", 4)) {
			part.text += i - 3;
			part.len -= i - 3;
			break;
		}
	if (!takes(&part, "pod") || part.len >= sizeof(container->pod))
		return;
	for (i = 0; i < part.len; i++)
		if (digit(part.text[i]) < 0 && part.text[i] != (slice ? '_' : '-'))
			return;
	for (i = 0; i < part.len; i++)
		container->pod[i] = part.text[i] == '_' ? '-' : part.text[i];
	container->pod[i] = '\0';
}

static const struct {
	const char *begin, *runtime;
} scopes[] = {
	{ "docker-", "docker" },
	{ "libpod-payload-", "podman" },	/* in a service: of a Quadlet */
	{ "libpod-", "podman" },
	{ "crio-", "cri-o" },
	{ "cri-containerd-", "containerd" },
	{ "nerdctl-", "containerd" },
};

/* The folder of a container, if @part is one; @before it are its parent and all others. */
static bool take_part(struct container *container, struct part part, struct part parent, bool pods)
{
	struct part rest = part;
	size_t i;

	if (takes(&rest, "systemd-nspawn@") && drops(&rest, ".service"))
		return take_machine(container, "systemd-nspawn", rest);
	rest = part;
	if (is(parent, "machine.slice") && takes(&rest, "machine-") && drops(&rest, ".scope"))
		return take_machine(container, "machine", rest);
	rest = part;
	if (takes(&rest, "lxc.payload."))
		return take_name(container, "lxc", rest);
	/* Up to LXC 3, and a version of 4. */
	if (is(parent, "lxc") || is(parent, "lxc.payload"))
		return take_name(container, "lxc", part);
	rest = part;
	drops(&rest, ".scope");
	for (i = 0; i < sizeof(scopes) / sizeof(*scopes); i++) {
		struct part id = rest;

		/* What looks after a container is not in it: "libpod-conmon-" is no id. */
		if (takes(&id, scopes[i].begin) && take_id(container, scopes[i].runtime, id))
			return true;
	}
	return take_id(container, is(parent, "docker") ? "docker" : pods ? "kubernetes" : "unknown", part);
}

static void take_user(struct container *container, struct part part)
{
	unsigned long uid = 0;
	size_t i;

	if (!takes(&part, "user-") || !drops(&part, ".slice") || part.len > 10)
		return;
	for (i = 0; i < part.len; i++) {
		if (part.text[i] < '0' || part.text[i] > '9')
			return;
		uid = uid * 10 + part.text[i] - '0';
	}
	container->of_user = true;
	container->uid = uid;
}

bool container_of(const char *path, struct container *container)
{
	struct part part, parent = { .len = 0 };
	bool pods = false;

	*container = (struct container) { .runtime = "unknown" };
	for (; *path; path += part.len, parent = part) {
		path += strspn(path, "/");
		part = (struct part) { path, strcspn(path, "/") };
		if (!part.len)
			return false;
		if (is(parent, "user.slice") && !container->of_user)
			take_user(container, part);
		if (take_part(container, part, parent, pods))
			return true;
		pods |= memmem(part.text, part.len, "kubepods", 8) != NULL;
		if (pods)
			take_pod(container, part);
	}
	return false;
}

void container_label(const struct container *container, char *label, size_t size)
{
	char user[24] = "";

	if (container->of_user)
		snprintf(user, sizeof(user), " of uid %u", container->uid);
	if (container->name[0])
		snprintf(label, size, "%s%s", container->name, user);
	else
		snprintf(label, size, "%s %.*s%s", container->runtime, CONTAINER_ID_SHOWN,
			 container->id, user);
}
