# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# Part of dkms-package, installed as package-manager.sh: what it has to know of
# dpkg and apt. There is one such file for each package manager.
# shellcheck disable=SC2154 # set by dkms-package

# version_at_least A B: is version A as new as B?
version_at_least() {
    dpkg --compare-versions "$1" ge "$2"
}

# Start UNIT, if this host starts services by itself (policy-rc.d).
start_unit() {
    deb-systemd-invoke start "$1"
}

# What to do next, for the administrator.
how_to_retry() { printf 'dpkg-reconfigure %s' "$package"; }
how_to_resume() { printf 'dpkg --configure -a'; }
how_to_install() { printf 'apt install %s' "$1"; }
how_to_get_headers() { printf 'apt install linux-headers-%s' "$1"; }
how_to_reinstall_headers() { printf 'apt install --reinstall linux-headers-%s' "$1"; }
