# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What asks MokManager for something at the next boot: the checks before it, and
# the one-time password. Comes after common.sh; $verb is the key verb, $done_word
# what it does to a key, $cert the certificate that it is about.
: "${verb:?}" "${done_word:?}" "${root:?}"

base=${root%/}
# Its mokutil would write into the firmware of this machine, and be run as root. The
# program tells what may be acted on: one that is built for the unit tests, their folder.
[ -z "$base" ] || read_state
if [ -n "$base" ] && [ "$(get may_act)" != yes ]; then
	stop 1 "a key is $done_word on the system that runs, not on the one in $root" "kmodkeep key $verb, after it has booted"
fi
mokutil=$base/usr/bin/mokutil
record=$base/var/lib/kmodkeep/enrol-request

# A request that was granted: when the key is gone later, nobody has declined it.
forget_granted() {
	if grep -qsx "fingerprint=$(get fingerprint)" "$record"; then rm -f "$record"; fi
}

# The directory of the ESP, empty if it is not mounted where it usually is.
find_esp() {
	for d in "$base/boot/efi" "$base/efi" "$base/boot"; do
		if [ -d "$d/EFI" ]; then
			printf '%s' "$d"
			return
		fi
	done
}

has_mokmanager() {
	for f in "$1"/mm*.efi "$1"/MM*.EFI "$1"/MokManager.efi; do
		[ ! -f "$f" ] || return 0
	done
	return 1
}

# With a request but no MokManager beside it, shim stops the boot.
only_with_mokmanager() {
	esp=$(find_esp)
	if [ -z "$esp" ]; then
		say "note: the EFI system partition is not mounted, so MokManager was not looked for"
		return
	fi
	booted=$(get boot_dir)
	case $booted in
	/*..*) booted='' ;;
	esac
	if [ -n "$booted" ] && [ -d "$esp$booted" ]; then
		has_mokmanager "$esp$booted" && return
		where=$esp$booted
	else
		# Booted without an entry that names a file: one of these it was.
		for d in "$esp"/EFI/*/; do
			if has_mokmanager "${d%/}"; then
				return
			fi
		done
		where=$esp/EFI
	fi
	stop 1 "MokManager (mmx64.efi) is not beside the boot loader in $where; with a request waiting this machine would not boot" "install shim-signed, or run: grub-install"
}

# Some distributions and hardening guides mount it so.
only_with_writable_variables() {
	[ "$(get nvram_read_only)" != yes ] ||
		stop 1 "$base/sys/firmware/efi/efivars is mounted read-only, so nothing can be asked of the firmware" "mount -o remount,rw /sys/firmware/efi/efivars, then again: kmodkeep key $verb"
}

# Firmware with no room left can fail to boot; MokNew and MokAuth need some.
only_with_space() {
	free=$(get nvram_free)
	# shellcheck disable=SC2154 # set by the script that reads this file
	need=$(($(stat -c %s "$cert") + 2048))
	if [ "$free" -lt 0 ]; then
		say "note: this kernel (before Linux 6.6) does not say how much room the firmware has left, so that was not judged"
	elif [ "$free" -lt "$need" ]; then
		stop 1 "the firmware has only $free bytes left for variables, and $need are needed" "remove old dumps: rm /sys/firmware/efi/efivars/dump-*"
	fi
}

# shim measures the keys it trusts, so the TPM may not open a disk at the next boot.
warn_of_encrypted_disks() {
	warning=$(get tpm_warning)
	[ -z "$warning" ] || say "warning: $warning"
}

# The boot menu's keyboard is always QWERTY. These letters sit alike on QWERTY,
# AZERTY and QWERTZ; digits do not: AZERTY wants Shift for them.
make_password() {
	LC_ALL=C tr -dc 'bcdefghijklnoprstuvx' </dev/urandom | head -c 10
}

get_password() {
	if [ -n "$from_stdin" ]; then
		IFS= read -r password || [ -n "$password" ] ||
			stop 1 "no password on standard input; nothing was asked for"
		case $password in
		*[!\ -~]*) stop 1 "the password has characters that the boot menu cannot read; nothing was asked for" "use plain letters and digits" ;;
		esac
		if [ ${#password} -lt 8 ] || [ ${#password} -gt 64 ]; then
			stop 1 "the password must have 8 to 64 characters; nothing was asked for"
		fi
		return
	fi
	# Package scripts have a terminal that is logged.
	if [ -n "${DPKG_MAINTSCRIPT_PACKAGE-}" ] || ! ( : <>/dev/tty ) 2>/dev/null; then
		stop 1 "there is no terminal to show the one-time password on; nothing was asked for" "kmodkeep key $verb on a terminal, or with --password-stdin"
	fi
	password=$(make_password)
}

# All that must hold before mokutil is told anything; then there is a password.
ready_to_ask() {
	[ -x "$mokutil" ] || stop 1 "mokutil is not installed" "install mokutil"
	only_with_mokmanager
	only_with_writable_variables
	only_with_space
	warn_of_encrypted_disks
	[ -z "${dry_run-}" ] ||
		stop 0 "would ask shim at the next boot: the key '$(get name)' of $cert is to be $done_word"
	get_password
}

# withdraw_half OPTION...: take back what a killed mokutil left of such a request. Nobody can
# grant it, and mokutil would add nothing to what is in its list.
withdraw_half() {
	case $* in
	--mokx*) half=MokXNew back='--mokx --revoke-import' ;;
	--delete*) half=MokDel back=--revoke-delete ;;
	*) half=MokNew back=--revoke-import ;;
	esac
	case "$(get half_requests) " in
	*" $half "*) ;;
	*) return 0 ;;
	esac
	# shellcheck disable=SC2086 # two words
	answer=$("$mokutil" $back 2>&1) ||
		stop 1 "mokutil did not withdraw half a request: $(printf '%s' "$answer" | tail -n 1)"
}

# ask_mokutil OPTION...: twice on standard input, as mokutil asks; it stores only
# a salted hash.
ask_mokutil() {
	withdraw_half "$@"
	answer=$(printf '%s\n%s\n' "$password" "$password" |
		"$mokutil" "$@" 2>&1) ||
		stop 1 "mokutil refused: $(printf '%s' "$answer" | tail -n 1)"
}

# The end of the instructions; the password goes to the terminal alone.
show_password() {
	if [ -z "${from_stdin-}" ]; then
		printf '     One-time password:  %s\n\n' "$password" >/dev/tty
	fi
}
