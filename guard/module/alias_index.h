/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The index of aliases that depmod makes, modules.alias.bin, asked for an alias as it stands
 * in a module. libkmod takes it for the name of a device, which it compares with all patterns
 * that begin alike: those of the device tree ("of:N*T*C...") are ten thousand.
 */
#ifndef KMODKEEP_ALIAS_INDEX_H
#define KMODKEEP_ALIAS_INDEX_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Does it lead from this very alias, without brackets, to the module (with underscores)?
 * false also where it is damaged, or of another version.
 */
bool alias_index_has(const unsigned char *index, size_t len, const char *alias, const char *module);

#endif
