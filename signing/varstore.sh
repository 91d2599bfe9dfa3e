# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Enrols $cert in the variable store of a virtual machine that is off, $store, as if
# MokManager had been through it; with $in_db in the firmware's own list. Comes after
# common.sh. The store is changed in a copy, looked at, and put in place by one rename.
: "${cert:?}" "${store:?}"

shim=605dab50-e046-4300-abb6-3dd810dd8b23
if [ -n "${in_db-}" ]; then list=db add=--add-db; else list=MokList add=--add-mok; fi
tool='virt-fw-vars'

# The certificate in hexadecimal, whichever form its file has.
certificate_hex() {
	if head -n 1 "$cert" | grep -q '^-----BEGIN CERTIFICATE-----'; then
		sed '/^-----END/,$d; /^-----BEGIN/d' "$cert" | base64 -d
	else
		cat "$cert"
	fi | od -An -v -tx1 | tr -d ' \n'
}

# has_certificate STORE: is it in its list? Its name comes before its data.
has_certificate() {
	"$tool" --input "$1" --output-json "$work/json" >"$work/said" 2>&1 ||
		stop 1 "$store: no variable store that $tool can read: $(tail -n 1 "$work/said")"
	tr -d ' \n' <"$work/json" | tr '}' '\n' | grep "\"name\":\"$list\"" | grep -q "$hex"
}

enrol_in_store() {
	if [ ! -f "$store" ] || [ -L "$store" ]; then
		stop 1 "$store is no plain file" "name the variable store of the machine, such as its copy of OVMF_VARS.fd"
	fi
	command -v "$tool" >/dev/null ||
		stop 1 "$tool is not installed" "install python3-virt-firmware (Debian 12: from backports)"
	work=$(mktemp -d "$store.XXXXXX") ||
		stop 1 "no file can be made beside $store; nothing changed"
	trap 'rm -rf "$work"' EXIT
	hex=$(certificate_hex)
	[ -n "$hex" ] || stop 1 "$cert is empty or cannot be read"
	if has_certificate "$store"; then
		stop 0 "the key '$(get name)' is in the list $list of $store already"
	fi
	[ -z "${dry_run-}" ] ||
		stop 0 "would enrol the key '$(get name)' in $store, in its list $list"
	cp -p "$store" "$work/new" ||
		stop 1 "$store could not be copied; nothing changed"
	"$tool" --inplace "$work/new" "$add" "$shim" "$cert" >"$work/said" 2>&1 ||
		stop 1 "$store: $tool refused: $(tail -n 1 "$work/said"); nothing changed"
	has_certificate "$work/new" ||
		stop 1 "$store: $tool did not add the key; nothing changed"
	{ sync "$work/new" && mv -f "$work/new" "$store"; } || stop 1 "$store could not be replaced; nothing changed"
	stop 0 "the key '$(get name)' is enrolled in $store, in its list $list" "start the machine with it"
}
