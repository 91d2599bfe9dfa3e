# SPDX-License-Identifier: GPL-2.0-or-later
# What one run has compiled, the next one takes from the cache: ccache compares the content of
# sources, headers and arguments.

export CCACHE_DIR := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/flightrec/compiled
export CCACHE_MAXSIZE := 1G

CC    := ccache gcc
CLANG := ccache clang
