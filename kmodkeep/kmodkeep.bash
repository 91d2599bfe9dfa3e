# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of kmodkeep(8) for bash. Verbs and options are those that --help names.
# shellcheck shell=bash

_kmodkeep_words() {
	"${COMP_WORDS[0]}" "$@" --help 2>/dev/null
}

_kmodkeep() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local -a verb=("${COMP_WORDS[1]}")
	COMPREPLY=()

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$(_kmodkeep_words | sed -n 's/^  \([a-z]*\) .*/\1/p') --help --version" -- "$word")
		return
	fi
	case $before in
	--root)
		compopt -o dirnames
		return
		;;
	--image | --cert)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--policy)
		mapfile -t COMPREPLY < <(compgen -W "warn pin-last-good" -- "$word")
		return
		;;
	key)
		mapfile -t COMPREPLY < <(compgen -W "create enroll rotate revoke retire status" -- "$word")
		return
		;;
	manifest)
		mapfile -t COMPREPLY < <(compgen -W "create check sign join" -- "$word")
		return
		;;
	log)
		mapfile -t COMPREPLY < <(compgen -W "verify" -- "$word")
		return
		;;
	fleet)
		mapfile -t COMPREPLY < <(compgen -W "$(_kmodkeep_words fleet | sed -n 's/^    \([a-z][a-z]*\) .*/\1/p')" -- "$word")
		return
		;;
	--via)
		mapfile -t COMPREPLY < <(compgen -W "varstore setup-mode redfish" -- "$word")
		return
		;;
	pin)
		mapfile -t COMPREPLY < <(compgen -W "hold release" -- "$word")
		return
		;;
	rotate)
		mapfile -t COMPREPLY < <(compgen -W "begin status continue finish abort" -- "$word")
		return
		;;
	esac
	[[ ${verb[0]} != @(key|manifest|log|fleet) ]] || verb+=("${COMP_WORDS[2]}")
	# Each way to enrol a key has options of its own.
	[[ " ${COMP_WORDS[*]} " != *' --via setup-mode '* ]] || verb+=(--via setup-mode)
	[[ " ${COMP_WORDS[*]} " != *' --via redfish '* ]] || verb=(fleet redfish)
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_kmodkeep_words "${verb[@]}" | grep -o -e '--[a-z-]*' | sort -u)" -- "$word")
	elif [[ ${verb[0]} == adopt || ${verb[0]} == smoke ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" doctor --drivers 2>/dev/null | cut -d' ' -f1)" -- "$word")
	elif [[ ${verb[0]} == @(verify|sign|manifest|log|fleet) ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}

complete -F _kmodkeep kmodkeep
