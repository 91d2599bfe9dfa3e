# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of flightrec(1) for bash.
# shellcheck shell=bash

_flightrec_channels() {
	local node
	for node in /dev/flightrec/*; do
		[[ -e $node ]] && printf '%s\n' "${node##*/}"
	done
}

_flightrec() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} options=
	COMPREPLY=()

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "write read stats recover --help --version" -- "$word")
		return
	fi
	case $before in
	-c | --channel)
		mapfile -t COMPREPLY < <(compgen -W "$(_flightrec_channels)" -- "$word")
		return
		;;
	-p | --severity)
		mapfile -t COMPREPLY < <(compgen -W \
			"emerg alert crit err warning notice info debug" -- "$word")
		return
		;;
	-t | --time)
		mapfile -t COMPREPLY < <(compgen -W "relative wall boot" -- "$word")
		return
		;;
	-n | --lines | -s | --since | -b | --boot)
		return
		;;
	esac
	case $command in
	write) options="--channel --severity --help" ;;
	read) options="--channel --follow --lines --since --time --json --help" ;;
	stats) options="--watch --json --help" ;;
	recover) options="--channel --boot --time --json --quiet --help" ;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
	elif [[ $command == recover ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}

complete -F _flightrec flightrec
