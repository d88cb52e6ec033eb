#!/usr/bin/env zsh
# SPDX-License-Identifier: MIT
# ctl_completion.zsh COMPLETION - what zsh completes is what kmemctl understands
#
# The function runs without a line editor: compadd and its relatives are played here.
path=($KMEM_BIN $path)
completion=$1
failed=0

compadd() {
    if [[ $1 == -a ]]; then
        print -l -- ${(P)2}
    else
        print -l -- $@
    fi
}
compset() { return 1 }
_files() { print files }
_users() { print users }

offered() {
    local -a words
    local CURRENT=$# IPREFIX=''
    words=("$@")
    source $completion | sort
}

expect() {
    if [[ $2 != $3 ]]; then
        printf '%s:\n  wanted: %s\n  got:    %s\n' "$1" "${2//$'\n'/ }" "${3//$'\n'/ }"
        failed=1
    fi
}

options_of() {
    kmemctl "$@" --help | grep -o -- ' --[a-z-]*' | tr -d ' ' | sort -u
}

known=$(kmemctl --help | sed -n 's/^  \([a-z]\{3,\}\)  .*/\1/p' | sort)
expect commands "$known" "$(offered kmemctl '')"
for command in ${(f)known}; do
    expect "options of $command" "$(options_of $command)" "$(offered kmemctl $command --)"
done
expect --by $'age\nclient\nreason\nsize\nuid\nunit' "$(offered kmemctl ledger --by '')"
expect --output $'csv\njson\njsonl\ntable\nwide' "$(offered kmemctl blocks -o '')"
expect --user users "$(offered kmemctl blocks -u '')"
expect "a program" files "$(offered kmemctl run '')"
expect --sort $'BLOCKS\nBYTES\nOLDEST\nREASON\nSHARE' "$(offered kmemctl ledger --sort '')"
expect "a title of two words" PEAK_USED "$(offered kmemctl clients --columns '' | grep -x PEAK_USED)"

# The rows are those of the segment, or of the socket, that the line names.
kmemctl() {
    case "$*" in
    ('-n video names --output=csv --no-headers --columns=name') print -l cam0/latest 'two words' ;;
    ('-s /x clients --output=csv --no-headers --columns=pid') print 13 ;;
    ('ledger --output=csv --no-headers --columns=reason') print -l audio video/capture ;;
    esac
}
expect "names of -n" $'cam0/latest\ntwo words' "$(offered kmemctl -n video holders '')"
expect "--pid of -s" 13 "$(offered kmemctl -s /x blocks --pid '')"
expect reasons $'audio\nvideo/capture' "$(offered kmemctl blocks --reason '')"
exit $failed
