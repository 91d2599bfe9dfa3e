# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of flightrec(1) for bash.
# shellcheck shell=bash

_flightrec_channels() {
	local node
	for node in /dev/flightrec/*; do
		[[ -e $node ]] && printf '%s\n' "${node##*/}"
	done
}

_flightrec_boots() {
	local boot
	for boot in /var/lib/flightrec/boots/*/; do
		[[ -e $boot ]] && basename "$boot"
	done
}

_flightrec() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} options=
	COMPREPLY=()

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "write run read channel stats recover collect save boots report --help --version" -- "$word")
		return
	fi
	case $before in
	-c | --channel)
		mapfile -t COMPREPLY < <(compgen -W "$(_flightrec_channels)" -- "$word")
		return
		;;
	-S | --since | -U | --until)
		mapfile -t COMPREPLY < <(compgen -W "today yesterday now" -- "$word")
		return
		;;
	-p | --priority)
		mapfile -t COMPREPLY < <(compgen -W \
			"emerg alert crit err warning notice info debug" -- "$word")
		return
		;;
	-o | --output)
		mapfile -t COMPREPLY < <(compgen -W "short iso cat json export" -- "$word")
		return
		;;
	--uid)
		mapfile -t COMPREPLY < <(compgen -u -- "$word")
		return
		;;
	--cursor-file)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	-t | --time | --tag)
		[[ $command == write || $command == run ]] && return
		mapfile -t COMPREPLY < <(compgen -W "relative wall boot" -- "$word")
		return
		;;
	-b | --boot)
		mapfile -t COMPREPLY < <(compgen -W "-1 -2 $(_flightrec_boots)" -- "$word")
		return
		;;
	-g | --group)
		if [[ $command == channel ]]; then
			mapfile -t COMPREPLY < <(compgen -g -- "$word")
		fi
		return
		;;
	-s | --size | -m | --mode)
		return
		;;
	-n | --lines | --grep | --pid | --comm | --unit | --cgroup | --container)
		return
		;;
	esac
	case $command in
	write | run) options="--channel --priority --tag --help" ;;
	read) options="--channel --all --boot --follow --lines --reverse --priority --grep --case-sensitive
		--pid --uid --comm --field --unit --cgroup --container --since --until --output --json --time --utc --cursor-file --help" ;;
	channel) options="--size --mode --group --no-crash --help" ;;
	stats) options="--all --watch --json --metrics --help" ;;
	recover) options="--channel --boot --priority --grep --case-sensitive --pid --uid --comm --field --since
		--until --output --time --json --quiet --help" ;;
	collect) options="--boots --size --help" ;;
	save) options="--size --help" ;;
	boots) options="--json --help" ;;
	report) options="--html --help" ;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
	elif [[ $command == channel ]]; then
		if ((COMP_CWORD == 2)); then
			mapfile -t COMPREPLY < <(compgen -W "create resize remove list" -- "$word")
		elif [[ ${COMP_WORDS[2]} == re[sm]* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_flightrec_channels)" -- "$word")
		fi
	elif [[ $command == run ]]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$word")
	elif [[ $command == recover || $command == collect ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}

complete -F _flightrec flightrec
