# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# Part of dkms-package, installed as package-manager.sh: what it has to know of
# RPM and dnf. There is one such file for each package manager.
# shellcheck disable=SC2154 # set by dkms-package

# version_at_least A B: is version A as new as B?
version_at_least() {
    [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]
}

# Start UNIT, if this host starts it at boot: presets and the administrator say so.
start_unit() {
    ! systemctl --quiet is-enabled "$1" || systemctl start "$1"
}

# What to do next, for the administrator.
how_to_retry() { printf 'dnf reinstall %s' "$package"; }
how_to_resume() { how_to_retry; }
how_to_install() { printf 'dnf install %s' "$1"; }
how_to_get_headers() { printf 'install its kernel-devel package, then dnf reinstall %s' "$package"; }
how_to_reinstall_headers() { printf "dnf reinstall the kernel-devel package of %s" "$1"; }
