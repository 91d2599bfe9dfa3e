/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The type information (BTF) of a module, which builds on its kernel's. */
#ifndef KMODKEEP_BTF_H
#define KMODKEEP_BTF_H

#include <stddef.h>

/*
 * How many bytes of names the BTF has that a module's own builds on: a mark of
 * that very build of the kernel. -1: the module has no BTF, brings its base with
 * it, or does not let it be told.
 */
long long btf_base_size(const unsigned char *elf, size_t len);

#endif
