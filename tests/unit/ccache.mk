# SPDX-License-Identifier: GPL-2.0-or-later
# What one run has compiled, the next one takes from the cache: ccache compares the content of
# sources, headers and arguments. Another clone of the tree takes from it as well, since paths below
# its top count from there; a trace of a sanitizer may then name the clone that compiled first.

export CCACHE_DIR := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/flightrec/compiled
export CCACHE_MAXSIZE := 1G
export CCACHE_BASEDIR := $(top)
export CCACHE_NOHASHDIR := true

CC    := ccache gcc
CLANG := ccache clang
