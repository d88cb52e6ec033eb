# SPDX-License-Identifier: MIT
# bash completion for kmemctl. Needs nothing but bash itself.

# The segments that have a socket where the library looks for one.
_kmemctl_segments() {
    local socket
    for socket in "${XDG_RUNTIME_DIR:-/nonexistent}"/kmemd/*.sock /run/kmemd/*.sock; do
        if [[ -S $socket ]]; then
            socket=${socket##*/}
            printf '%s\n' "${socket%.sock}"
        fi
    done
}

# The processes of the default segment, if its daemon answers.
_kmemctl_pids() {
    local pid rest
    "$1" clients 2>/dev/null | while read -r pid rest; do
        if [[ $pid == [0-9]* ]]; then
            printf '%s\n' "$pid"
        fi
    done
}

_kmemctl_reply() {
    mapfile -t COMPREPLY < <(compgen "$@")
}

_kmemctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='usage ledger blocks clients obituaries reconcile run'
    local options='--socket --segment --json --bytes --help --version'
    local command='' i
    COMPREPLY=()

    # The first word that is no option, nor the value of one, is the command. After that of run
    # everything belongs to a program.
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket | --segment | -s | -n | --size | --commit | -c) ((i++)) ;;
        -*) ;;
        *)
            if [[ $command == run ]]; then
                _kmemctl_reply -f -- "$word"
                return
            fi
            command=${command:-${COMP_WORDS[i]}}
            ;;
        esac
    done

    case $command:$before in
    run:--size | run:-s) return ;;
    run:--commit | run:-c)
        _kmemctl_reply -W 'lazy eager' -- "$word"
        return
        ;;
    *:--socket | *:-s)
        _kmemctl_reply -f -- "$word"
        return
        ;;
    *:--segment | *:-n)
        _kmemctl_reply -W "$(_kmemctl_segments)" -- "$word"
        return
        ;;
    ledger:--by | ledger:-g)
        _kmemctl_reply -W 'reason client uid' -- "$word"
        return
        ;;
    blocks:--pid | blocks:-p)
        _kmemctl_reply -W "$(_kmemctl_pids "${COMP_WORDS[0]}")" -- "$word"
        return
        ;;
    ledger:--depth | ledger:-d | blocks:--reason | blocks:-r) return ;;
    esac

    case $command in
    '') [[ $word == -* ]] || options=$commands ;;
    usage) options+=' --all' ;;
    ledger) options+=' --by --depth' ;;
    blocks) options+=' --pid --reason' ;;
    run)
        case $word in
        -*) ;;
        */*)
            _kmemctl_reply -f -- "$word"
            return
            ;;
        *)
            _kmemctl_reply -c -- "$word"
            return
            ;;
        esac
        options='--size --commit --malloc --verbose --help --version'
        ;;
    esac
    _kmemctl_reply -W "$options" -- "$word"
}

complete -F _kmemctl kmemctl
