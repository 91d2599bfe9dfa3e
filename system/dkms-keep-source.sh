# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Copied into the preinst of each package that uses kmodkeep package: a preinst
# runs before anything is unpacked, so it must bring along what it needs.

# dkms's tree, where its configuration may have moved it. Its files are written
# for bash, and dkms sources them as root each time that it is run: bash is asked,
# no other shell. Where bash fails there, so does dkms.
dkms_tree() {
    # shellcheck disable=SC2016 # for bash to expand
    bash -c '
        dkms_tree=/var/lib/dkms
        for conf in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
            if [ -r "$conf" ]; then . "$conf" >/dev/null; fi
        done
        printf "%s\n" "${dkms_tree:-/var/lib/dkms}"
    ' </dev/null
}

# point LINK TARGET: make the symbolic link LINK lead to TARGET. It never leads
# to nothing meanwhile: one dangling link stops dkms from building any driver.
point() {
    ln -sfn "$2" "$1.new"
    mv -fT "$1.new" "$1"
}

# Does FILE belong to the package whose script this is?
is_packaged() {
    if [ -n "${DPKG_MAINTSCRIPT_PACKAGE-}" ]; then
        owner=$(dpkg-query -S "$1" 2>/dev/null) || return 1
        [ "${owner%%:*}" = "$DPKG_MAINTSCRIPT_PACKAGE" ]
    else
        # Not asked of rpm: inside a transaction its database does not answer.
        # A copy that was kept before has the file too, and is nobody's.
        case $1 in /usr/src/*) ;; *) return 1 ;; esac
        [ "$(cat "${1%/*}/package" 2>/dev/null)" = "$RPM_SCRIPT_PACKAGE" ] # see the spec file
    fi
}

# keep_source NAME: dpkg or rpm is about to delete the sources that dkms's entries for
# NAME link to. Copy them to where dkms removes them together with the entry,
# and link to the copy. What the administrator registered himself is left alone.
keep_source() {
    for link in "$(dkms_tree)/$1"/*/source; do
        [ -L "$link" ] || continue
        # As the package manager names it, which may be by way of a link.
        source=$(readlink "$link")
        if ! is_packaged "$source/dkms.conf"; then
            source=$(readlink -f "$link") || continue
            is_packaged "$source/dkms.conf" || continue
        fi
        kept=${link%/*}/kept-source
        rm -rf "$kept" "$kept.new"
        cp -a "$source" "$kept.new"
        sync -f "$kept.new" # the original is gone soon, and a power cut may follow
        mv -T "$kept.new" "$kept"
        point "$link" kept-source
    done
}
