# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
# Part of dkms-package: install the build in $staged for $kernel, over the one
# that is installed; and repair what an interrupted run left behind.
#
# In dkms's tree $entry is a build's place VERSION/KERNEL/ARCH, and the link
# kernel-KERNEL-ARCH, which leads to the one that is installed. While a version
# is installed over itself the old build waits in VERSION/KERNEL/.kept-ARCH.
# shellcheck disable=SC2034,SC2154 # set or used by dkms-package
: "${entry:?}" "${arch:?}" "${modules:?}" "${name:?}" "${version:?}"

# Install what is staged for $kernel over what is installed. dkms may fail
# half-way, and removes the module when depmod fails: then the old one is put back.
switch() {
    link=$entry/kernel-$kernel-$arch
    new=$entry/$version/$kernel/$arch
    old=
    old_files=
    if register && hold; then
        # --force: else dkms compares version strings to guess which module is better
        if move_in &&
            dkms install --force -m "$name" -v "$version" -k "$kernel" -a "$arch" >>"$log" 2>&1 &&
            is_installed; then
            drop_stale
            return 0
        fi
        put_back
    fi
    why="dkms could not install it"
    return 1
}

# Let $old be the build that is installed now, in a place where the new build
# does not overwrite it: a reinstallation has both in one version.
hold() {
    [ -d "$link/module" ] || return 0
    old=$(readlink -f "$link")
    for file in "$old"/module/*.ko*; do
        old_files="$old_files $(module_file "$kernel" "${file##*/}")"
    done
    [ "$old" = "$(readlink -f "$new")" ] || return 0
    old=$entry/$version/$kernel/.kept-$arch
    rm -rf "$old" && cp -al "$new" "$old" && point "$link" "$version/$kernel/.kept-$arch"
}

# $staged becomes $new. The first mv may be a copy, from another file system.
move_in() {
    mkdir -p "$entry/$version/$kernel" &&
        rm -rf "$entry/$version/$kernel/.staged" &&
        mv "$staged" "$entry/$version/$kernel/.staged" &&
        rm -rf "$new" &&
        mv -T "$entry/$version/$kernel/.staged" "$new"
}

# Did dkms copy what is in its tree to where the kernel looks for it? It has
# reasons not to, and exits 0.
is_installed() {
    [ "$(readlink -f "$link")" = "$(readlink -f "$new")" ] || return 1
    for file in "$new"/module/*.ko*; do
        there=$(module_file "$kernel" "${file##*/}")
        { [ -n "$there" ] && cmp -s "$file" "$there"; } || return 1
    done
}

# Files that the old version installed and the new one did not replace: a module
# that is no more, or the same one compressed in another way.
drop_stale() {
    [ -n "$old" ] || return 0
    dropped=
    for file in "$old"/module/*.ko*; do
        [ ! -e "$new/module/${file##*/}" ] || continue
        there=$(module_file "$kernel" "${file##*/}")
        [ -n "$there" ] || continue
        rm -f "$there"
        dropped=yes
    done
    case $old in */.kept-*) rm -rf "$old" ;; esac
    [ -z "$dropped" ] || run_depmod
}

# The switch failed half-way: the old module goes back to where it was, and only
# then the new one's traces go.
put_back() {
    if [ -z "$old" ]; then
        undo_first_installation
        return 0
    fi
    for there in $old_files; do
        put_file "$old/module/${there##*/}" "$there" || {
            say "kernel $kernel: cannot put $there back; a copy is in $old/module. Next: make room on its file system, then $(how_to_retry)"
            return 0
        }
    done
    rm -rf "$new"
    case $old in
        */.kept-*)
            mv -T "$old" "$new"
            old=$new
            ;;
    esac
    target=${old#"$(readlink -f "$entry")"/}
    point "$link" "${target#"$entry"/}"
    run_depmod
}

undo_first_installation() {
    [ "$(readlink -f "$link")" = "$(readlink -f "$new")" ] || return 0
    dkms uninstall -m "$name" -v "$version" -k "$kernel" -a "$arch" >>"$log" 2>&1 ||
        echo "dkms uninstall failed too" >>"$log"
}

# put_file FILE PLACE: at no moment is there less than a whole file.
put_file() {
    mkdir -p "${2%/*}" && cp -f "$1" "$2.new" && chmod 644 "$2.new" && mv -f "$2.new" "$2" && return 0
    rm -f "$2.new"
    return 1
}

# As dkms does: headers without their kernel have no list of modules to renew.
run_depmod() {
    [ -f "$modules/$kernel/modules.dep" ] || return 0
    depmod "$kernel" >>"$log" 2>&1 || say "kernel $kernel: depmod failed. Next: depmod $kernel, and see what it says"
}

# An interrupted run left a build put aside: if it is the installed one it goes
# back to its place, else it is rubbish.
mend() {
    for kept in "$entry"/*/*/.kept-"$arch"; do
        [ -d "$kept" ] || continue
        dir=${kept%/*}
        link=$entry/kernel-${dir##*/}-$arch
        if [ "$(readlink -f "$link")" = "$(readlink -f "$kept")" ]; then
            rm -rf "${dir:?}/$arch"
            cp -al "$kept" "$dir/$arch"
            point "$link" "${dir#"$entry"/}/$arch"
        fi
        rm -rf "$kept"
    done
    for kernel in $(kernels); do mend_link; done
}

# dkms was interrupted between removing its link and making it again. Without
# one, some versions take our module for the distribution's and put it aside.
mend_link() {
    link=$entry/kernel-$kernel-$arch
    [ ! -e "$link/module" ] || return 0
    for dir in "$entry"/*/"$kernel/$arch"; do
        [ -d "$dir/module" ] || continue
        for file in "$dir"/module/*.ko*; do
            there=$(module_file "$kernel" "${file##*/}")
            { [ -n "$there" ] && cmp -s "$file" "$there"; } || continue 2
        done
        point "$link" "${dir#"$entry"/}"
        return 0
    done
}
