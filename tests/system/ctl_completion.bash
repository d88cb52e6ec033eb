#!/bin/bash
# SPDX-License-Identifier: MIT
# ctl_completion.bash COMPLETION - what bash completes is what kmemctl understands
#
# The commands and the options that the completion offers are compared with those that the help of
# the kmemctl in $KMEM_BIN lists, so that neither can be changed without the other.
set -u
# shellcheck source=client/ctl/kmemctl.bash
source "$1"
kmemctl=$KMEM_BIN/kmemctl
failed=0

# The words that are offered for the last of these.
offered() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _kmemctl
    printf '%s\n' "${COMPREPLY[@]}"
}

expect() {
    local what=$1 wanted=$2 got=$3
    if [[ $got != "$wanted" ]]; then
        printf '%s:\n  wanted: %s\n  got:    %s\n' "$what" "${wanted//$'\n'/ }" "${got//$'\n'/ }"
        failed=1
    fi
}

# The long options that the help of a command lists, without the one that every argp program has.
options_of() {
    "$kmemctl" "$@" --help | grep -o -- ' --[a-z-]*' | tr -d ' ' | grep -vx -- --usage | sort -u
}

commands=$("$kmemctl" --help | sed -n 's/^  \([a-z]\{3,\}\)  .*/\1/p')
expect "commands" "$(sort <<<"$commands")" "$(offered kmemctl '' | sort)"
expect "options before a command" "$(options_of)" "$(offered kmemctl -- | sort)"
for command in $commands; do
    expect "options of $command" "$(options_of "$command")" "$(offered kmemctl "$command" -- | sort)"
done
expect "a command that has begun" ledger "$(offered kmemctl --json --socket /x led)"
expect "--by" $'age\nclient\nreason\nsize\nuid\nunit' "$(offered kmemctl ledger --by '' | sort)"
expect "--commit" $'eager\nlazy' "$(offered kmemctl run --commit '' | sort)"
expect "a program's file" /etc/passwd "$(offered kmemctl run -- cat /etc/passw | grep -x /etc/passwd)"
expect "a program" true "$(offered kmemctl run --size 1MiB tru | grep -x true | sort -u)"
# As bash splits a line at "=".
expect "--by=" $'age\nclient\nreason\nsize\nuid\nunit' "$(offered kmemctl ledger --by = '' | sort)"
expect "--by=, the cursor behind it" $'age\nclient\nreason\nsize\nuid\nunit' "$(offered kmemctl ledger --by = | sort)"
expect "--by=u" $'uid\nunit' "$(offered kmemctl ledger --by = u | sort)"
expect "--commit=e" eager "$(offered kmemctl run --commit = e)"
expect "behind --segment=NAME" ledger "$(offered kmemctl --segment = video led)"
expect "an option after the value of one" --depth "$(offered kmemctl ledger --by = uid --de)"

expect "--output" $'csv\njson\njsonl\ntable\nwide' "$(offered kmemctl blocks -o '' | sort)"
expect "--output of run is a file" /etc/passwd "$(offered kmemctl run -o /etc/passw | grep -x /etc/passwd)"
expect "--color=" $'always\nauto\nnever' "$(offered kmemctl usage --color = '' | sort)"
expect "--user" root "$(offered kmemctl blocks -u roo | grep -x root)"
expect "--sort" $'PEAK_HELD\nPEAK_USED' "$(offered "$kmemctl" clients --sort PE | sort)"
expect "--columns" BYTES,OLDEST "$(offered "$kmemctl" ledger --columns BYTES,OL)"
expect "every column of blocks" "$("$kmemctl" blocks --columns 'no such' 2>&1 |
    sed 's/.*there are //; s/, /\n/g' | sort)" "$(offered "$kmemctl" blocks --columns '' | sort)"
expect "behind --color" ledger "$(offered kmemctl --color led)"

# The processes are those of the segment, or of the socket, that the line names.
asked=$(mktemp -d)
trap 'rm -rf "$asked"' EXIT
cat >"$asked/kmemctl" <<'END'
#!/bin/sh
case $* in
'-n video names --output=csv --no-headers --columns=name')
    printf '%s\n' cam0/latest cam1/latest '$(touch'"$0"'.ran)' 'two words' '`x`' '$HOME' a~b
    ;;
'-n video ledger --output=csv --no-headers --columns=reason')
    printf '%s\n' video/capture 'a, b' '"$(touch'"$0"'.ran)"' video/index
    ;;
'--segment video clients --output=csv --no-headers --columns=pid') echo 11 ;;
'-n video clients --output=csv --no-headers --columns=pid') echo 12 ;;
'-s /x clients --output=csv --no-headers --columns=pid') echo 13 ;;
'clients --output=csv --no-headers --columns=pid') echo 14 ;;
*) exit 2 ;;
esac
END
chmod +x "$asked/kmemctl"
expect "--pid of --segment=" 11 "$(offered "$asked/kmemctl" --segment = video blocks --pid = '')"
expect "--pid of -n" 12 "$(offered "$asked/kmemctl" blocks -n video -p '')"
expect "--pid of -s" 13 "$(offered "$asked/kmemctl" blocks -s /x --pid '')"
expect "--pid of the default segment" 14 "$(offered "$asked/kmemctl" ledger --pid '')"
expect "names" $'cam0/latest\ncam1/latest' "$(offered "$asked/kmemctl" -n video holders '')"
expect "a name that has begun" cam1/latest "$(offered "$asked/kmemctl" -n video holders cam1)"
expect "reasons" $'video/capture\nvideo/index' "$(offered "$asked/kmemctl" -n video blocks --reason v)"
expect "a name is not executed" kmemctl "$(ls "$asked")"
exit $failed
