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

# The processes of the segment that the line names, if its daemon answers.
_kmemctl_pids() {
    local pid rest
    "$@" clients 2>/dev/null | while read -r pid rest; do
        if [[ $pid == [0-9]* ]]; then
            printf '%s\n' "$pid"
        fi
    done
}

# What blocks are named, one a line, in the same way. compgen expands its words as the shell does,
# and a name may be anything: those that an expansion would change are left out.
_kmemctl_names() {
    local name rest
    "$@" names 2>/dev/null | while read -r name rest; do
        if [[ $rest == [0-9]* && $name != *[^A-Za-z0-9_./:@+-]* ]]; then
            printf '%s\n' "$name"
        fi
    done
}

_kmemctl_reply() {
    mapfile -t COMPREPLY < <(compgen "$@")
}

# What the line says before the cursor, into words: bash takes "--by=uid" for three, "--by", "=" and
# "uid"; here the first two are one, the option, as in "--by uid".
_kmemctl_words() {
    local i
    words=()
    for ((i = 0; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} != = ]]; then
            words+=("${COMP_WORDS[i]}")
        fi
    done
    word=${COMP_WORDS[COMP_CWORD]}
    if [[ $word == = ]]; then
        word=''
    fi
}

_kmemctl() {
    local words word
    _kmemctl_words
    local before=${words[${#words[@]} - 1]}
    local daemon=("${words[0]}")
    local commands='usage ledger blocks names holders clients obituaries reconcile run'
    local options='--socket --segment --json --bytes --help --version'
    local command='' i
    COMPREPLY=()

    # The first word that is no option, nor the value of one, is the command. After that of run
    # everything belongs to a program.
    for ((i = 1; i < ${#words[@]}; i++)); do
        case $command:${words[i]} in
        run:--size | run:-s | run:--commit | run:-c | run:--output | run:-o) ((i++)) ;;
        run:--leaks-exit-code | run:-e) ((i++)) ;;
        *:--socket | *:--segment | *:-s | *:-n)
            if [[ -n ${words[i + 1]-} ]]; then
                daemon+=("${words[i]}" "${words[i + 1]}")
            fi
            ((i++))
            ;;
        *:--fail-above | *:--by | *:-g | *:--depth | *:-d | *:--pid | *:-p | *:--reason | *:-r) ((i++)) ;;
        *:-*) ;;
        *)
            if [[ $command == run ]]; then
                _kmemctl_reply -f -- "$word"
                return
            fi
            command=${command:-${words[i]}}
            ;;
        esac
    done

    case $command:$before in
    run:--size | run:-s | run:--leaks-exit-code | run:-e) return ;;
    run:--output | run:-o)
        _kmemctl_reply -f -- "$word"
        return
        ;;
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
        _kmemctl_reply -W "$(_kmemctl_pids "${daemon[@]}")" -- "$word"
        return
        ;;
    usage:--fail-above | ledger:--depth | ledger:-d | blocks:--reason | blocks:-r) return ;;
    esac

    case $command in
    '') [[ $word == -* ]] || options=$commands ;;
    usage) options+=' --all --fail-above' ;;
    ledger) options+=' --by --depth' ;;
    blocks) options+=' --pid --reason --shared' ;;
    holders)
        if [[ $word != -* ]]; then
            _kmemctl_reply -W "$(_kmemctl_names "${daemon[@]}")" -- "$word"
            return
        fi
        ;;
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
        options='--size --commit --malloc --verbose --json --output --leaks-exit-code --help --version'
        ;;
    esac
    _kmemctl_reply -W "$options" -- "$word"
}

complete -F _kmemctl kmemctl
