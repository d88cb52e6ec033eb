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

# One column of what the segment that the line names has, if its daemon answers, one a line: "clients
# pid", "names name", "ledger reason". compgen expands its words as the shell does, and a name may be
# anything: those that an expansion would change are left out.
_kmemctl_rows() {
    local listing=$1 column=$2 text
    shift 2
    "$@" "$listing" --output=csv --no-headers --columns="$column" 2>/dev/null |
        while IFS= read -r text; do
            if [[ $text == *[!\ ]* && $text != *[^A-Za-z0-9_./:@+#-]* ]]; then
                printf '%s\n' "$text"
            fi
        done
}

# What a command's rows have, one a line: from its help, so it is never another list.
_kmemctl_columns() {
    "$1" "$2" --help 2>/dev/null |
        sed -n '/^Columns: /,$ { s/^Columns: //; s/, */\n/g; p; }' | sed '/^$/d; s/ /_/g'
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

# The value of the option before the word. Return: whether it is an option that takes one.
_kmemctl_value() {
    case $command:$before in
    run:--size | run:-s | run:--leaks-exit-code | run:-e) ;;
    replay:--size | replay:-s | record:--for) ;;
    run:--output | run:-o | run:--report | run:-r | *:--socket | *:-s) _kmemctl_reply -f -- "$word" ;;
    run:--commit | run:-c) _kmemctl_reply -W 'lazy eager' -- "$word" ;;
    run:*) return 1 ;;
    top:--count | top:-n | top:--delay | top:-d | top:--filter | top:-f) ;;
    top:--page) _kmemctl_reply -W 'reasons clients refusals obituaries limits' -- "$word" ;;
    serve:--listen | serve:-l | serve:--host | serve:--reasons) ;;
    *:--segment | *:-n) _kmemctl_reply -W "$(_kmemctl_segments)" -- "$word" ;;
    *:--output | *:-o) _kmemctl_reply -W 'table wide json jsonl csv' -- "$word" ;;
    *:--color) # takes one behind "=" only
        [[ ${COMP_WORDS[COMP_CWORD]} == = || ${COMP_WORDS[COMP_CWORD - 1]} == = ]] || return 1
        _kmemctl_reply -W 'auto always never' -- "$word"
        ;;
    map:--by) _kmemctl_reply -W 'owner reason age' -- "$word" ;;
    map:--svg) _kmemctl_reply -f -- "$word" ;;
    export:--format | export:-f) _kmemctl_reply -W 'folded pprof html' -- "$word" ;;
    watch:--exec) _kmemctl_reply -c -- "$word" ;;
    ledger:--by | ledger:-g) _kmemctl_reply -W 'reason client uid size age unit' -- "$word" ;;
    *:--pid | *:-p) _kmemctl_reply -W "$(_kmemctl_rows clients pid "${daemon[@]}")" -- "$word" ;;
    *:--user | *:-u) _kmemctl_reply -u -- "$word" ;;
    *:--reason | *:-r)
        _kmemctl_reply -W "$(_kmemctl_rows ledger reason "${daemon[@]}")" -- "$word"
        ;;
    *:--sort) _kmemctl_reply -W "$(_kmemctl_columns "${words[0]}" "$command")" -- "$word" ;;
    *:--columns)
        local rest=''
        if [[ $word == *,* ]]; then
            rest=${word%,*},
        fi
        _kmemctl_reply -P "$rest" -W "$(_kmemctl_columns "${words[0]}" "$command")" -- "${word##*,}"
        ;;
    *:--depth | *:-d | *:--since | *:--steps | *:--older-than | *:--larger-than | *:--top | *:-t) ;;
    *:--watch | *:-w | *:--fail-above) ;;
    *) return 1 ;;
    esac
}

# The first word that is no option, nor the value of one, is the command, into command. Return:
# whether the cursor is on it or behind it, and not among the words of a program that is to be run.
_kmemctl_command() {
    local i
    for ((i = 1; i < ${#words[@]}; i++)); do
        case $command:${words[i]} in
        run:--size | run:-s | run:--commit | run:-c | run:--output | run:-o) ((i++)) ;;
        run:--report | run:-r) ((i++)) ;;
        run:--leaks-exit-code | run:-e) ((i++)) ;;
        replay:--size | replay:-s | record:--for) ((i++)) ;;
        run:-*) ;;
        run:*) return 1 ;;
        top:-n | top:--count | top:-d | top:--delay | top:-f | top:--filter) ((i++)) ;;
        top:--page) ((i++)) ;;
        serve:--listen | serve:-l | serve:--host | serve:--reasons) ((i++)) ;;
        *:--socket | *:--segment | *:-s | *:-n)
            if [[ -n ${words[i + 1]-} ]]; then
                daemon+=("${words[i]}" "${words[i + 1]}")
            fi
            ((i++))
            ;;
        export:--format | export:-f) ((i++)) ;;
        *:--output | *:-o | *:--watch | *:-w | *:--fail-above | *:--by | *:-g) ((i++)) ;;
        *:--svg | *:--exec) ((i++)) ;;
        *:--depth | *:-d | *:--pid | *:-p | *:--user | *:-u | *:--reason | *:-r) ((i++)) ;;
        *:--since | *:--steps) ((i++)) ;;
        *:--older-than | *:--larger-than | *:--columns | *:--sort | *:--top | *:-t) ((i++)) ;;
        *:--color) [[ ${words[i + 1]-} != auto && ${words[i + 1]-} != always &&
            ${words[i + 1]-} != never ]] || ((i++)) ;;
        *:-*) ;;
        *) command=${command:-${words[i]}} ;;
        esac
    done
}

_kmemctl() {
    local words word
    _kmemctl_words
    local before=${words[${#words[@]} - 1]}
    local daemon=("${words[0]}")
    local commands='status usage segments top ledger reasons blocks names holders clients limits'
    commands+=' refusals obituaries history leaks snapshot diff export map why watch record replay advise'
    commands+=' doctor reload reconcile resize run serve'
    local options='--socket --segment --output --json --bytes --color --watch --help --version'
    local rows=' --pid --user --reason --older-than --larger-than --columns --sort --top --no-headers'
    local command=''
    COMPREPLY=()

    if ! _kmemctl_command; then
        _kmemctl_reply -f -- "$word"
        return
    fi
    if _kmemctl_value; then
        return
    fi
    case $command in
    '') [[ $word == -* ]] || options=$commands ;;
    usage) options+=' --all --fail-above' ;;
    top) options+=' --batch --count --delay --page --sort --filter --list'
        options+=' --pid --user --reason --older-than --larger-than' ;;
    ledger) options+="$rows --by --depth" ;;
    reasons) options+="$rows --depth" ;;
    blocks) options+="$rows --shared" ;;
    snapshot)
        if [[ $word != -* ]]; then
            _kmemctl_reply -f -- "$word"
            return
        fi
        ;;
    export)
        options+=' --format --pid --user --reason --older-than --larger-than'
        if [[ $word != -* ]]; then
            _kmemctl_reply -f -- "$word"
            return
        fi
        ;;
    diff)
        options+="$rows --depth"
        if [[ $word != -* ]]; then
            _kmemctl_reply -f -- "$word"
            return
        fi
        ;;
    limits) options+="$rows --fail-above" ;;
    refusals) options+="$rows --counts" ;;
    history) options+="$rows --since --steps" ;;
    names | clients | obituaries | segments | reload) options+=$rows ;;
    map) options+=' --by --svg' ;;
    record | advise)
        options+=$([[ $command == advise ]] || echo ' --for')
        if [[ $word != -* ]]; then
            _kmemctl_reply -f -- "$word"
            return
        fi
        ;;
    replay)
        options='--size --fit --json --help --version'
        if [[ $word != -* ]]; then
            _kmemctl_reply -f -- "$word"
            return
        fi
        ;;
    watch) options+="$rows --exec" ;;
    leaks) options+="$rows --fail-on-leak" ;;
    holders)
        options+=$rows
        if [[ $word != -* ]]; then
            _kmemctl_reply -W "$(_kmemctl_rows names name "${daemon[@]}")" -- "$word"
            return
        fi
        ;;
    serve)
        options='--listen --segment --socket --reasons --allow-remote --host --help --version'
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
        options='--size --commit --malloc --verbose --json --output --leaks-exit-code'
        options+=' --fail-on-leak --report --help --version'
        ;;
    esac
    _kmemctl_reply -W "$options" -- "$word"
}

complete -F _kmemctl kmemctl
