# SPDX-License-Identifier: MIT
# fish completion for kmemctl.

# The command of the line, if there is one already; the words that name the daemon, if asked for.
function __kmemctl_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l daemon
    while set -q words[1]
        switch $words[1]
            case -s --socket -n --segment
                set -a daemon $words[1] $words[2]
                set -e words[1]
            case '--socket=*' '--segment=*'
                set -a daemon $words[1]
            case -o --output -w --watch -g --by -d --depth -p --pid -u --user -r --reason -t --top \
                --older-than --larger-than --columns --sort --fail-above --since --steps --svg --exec \
                -f --filter --format --page --count --delay -l --listen --host --reasons
                set -e words[1]
            case '-*'
            case '*'
                test "$argv[1]" = daemon; or echo $words[1]
                break
        end
        set -e words[1]
    end
    test "$argv[1]" = daemon; and string join \n -- $daemon
    return 0
end

function __kmemctl_is
    contains -- (__kmemctl_command) $argv
end

function __kmemctl_none
    test -z (__kmemctl_command)""
end

# One column of what the segment that the line names has.
function __kmemctl_rows
    kmemctl (__kmemctl_command daemon) $argv[1] --output=csv --no-headers --columns=$argv[2] 2>/dev/null
end

function __kmemctl_columns
    kmemctl (__kmemctl_command) --help 2>/dev/null | sed -n '/^Columns: /,$ { s/^Columns: //; p; }' |
        string split , | string trim | string match -v '' | string replace -a ' ' _
end

function __kmemctl_segments
    for socket in $XDG_RUNTIME_DIR/kmemd/*.sock /run/kmemd/*.sock
        path basename -- $socket | string replace -r '\.sock$' ''
    end
end

set -l listings segments ledger reasons blocks names holders clients limits refusals obituaries \
    history leaks diff watch reload
set -l queries status usage top $listings snapshot export map why record advise doctor reconcile \
    resize
set -l query "not __kmemctl_is run replay serve"
set -l daemon "not __kmemctl_is run replay"
set -l listing "__kmemctl_is $listings"
set -l choosing "__kmemctl_is $listings export top"

complete -c kmemctl -f
complete -c kmemctl -n __kmemctl_none -a "$queries replay run serve"
complete -c kmemctl -n $daemon -s s -l socket -r -F -d 'Ask the daemon that listens there'
complete -c kmemctl -n $daemon -s n -l segment -x -a '(__kmemctl_segments)' -d 'Ask for this segment'
complete -c kmemctl -n $query -s o -l output -x -a 'table wide json jsonl csv' -d 'How to answer'
complete -c kmemctl -n "not __kmemctl_is serve" -s j -l json -d 'Answer in JSON'
complete -c kmemctl -n $query -s b -l bytes -d 'Print exact numbers of bytes'
complete -c kmemctl -n $query -l color -a 'auto always never' -d 'When to colour'
complete -c kmemctl -n $query -s w -l watch -x -d 'Ask again every so many seconds'
complete -c kmemctl -s h -l help -d 'Explain it'
complete -c kmemctl -s V -l version -d 'Print the version'
complete -c kmemctl -n '__kmemctl_is export' -s f -l format -x -a 'folded pprof html'
complete -c kmemctl -n $choosing -s p -l pid -x -a '(__kmemctl_rows clients pid)' -d 'Of a process'
complete -c kmemctl -n $choosing -s u -l user -x -a '(__fish_complete_users)' -d 'Of a user'
complete -c kmemctl -n $choosing -s r -l reason -x -a '(__kmemctl_rows ledger reason)' -d 'Of reasons'
complete -c kmemctl -n $choosing -l older-than -x -d 'Of what is older'
complete -c kmemctl -n $choosing -l larger-than -x -d 'Of what is larger'
complete -c kmemctl -n $listing -l columns -x -a '(__fish_complete_list , __kmemctl_columns)'
complete -c kmemctl -n $listing -l sort -x -a '(__kmemctl_columns)' -d 'Sort by a column'
complete -c kmemctl -n $listing -s t -l top -x -d 'The first rows only'
complete -c kmemctl -n $listing -l no-headers -d 'Rows alone'
complete -c kmemctl -n '__kmemctl_is usage' -s a -l all -d 'Every figure, explained'
complete -c kmemctl -n '__kmemctl_is usage limits' -l fail-above -x -d 'Status 5 if it is fuller'
complete -c kmemctl -n '__kmemctl_is refusals' -s c -l counts -d 'How often for which cause'
complete -c kmemctl -n '__kmemctl_is top' -l batch -d 'As text, for files and pipes'
complete -c kmemctl -n '__kmemctl_is top' -l count -x -d 'End after so many answers'
complete -c kmemctl -n '__kmemctl_is top' -s d -l delay -x -d 'Ask every so many seconds'
complete -c kmemctl -n '__kmemctl_is top' -l page -x -a 'reasons clients refusals obituaries limits'
complete -c kmemctl -n '__kmemctl_is top' -l sort -x -a '(__kmemctl_columns)'
complete -c kmemctl -n '__kmemctl_is top' -s f -l filter -x -d 'What has this text in it'
complete -c kmemctl -n '__kmemctl_is top' -l list -d 'No tree'
complete -c kmemctl -n '__kmemctl_is serve' -s l -l listen -x -d 'Where to listen'
complete -c kmemctl -n '__kmemctl_is serve' -l reasons -x -d 'Of how many reasons metrics are'
complete -c kmemctl -n '__kmemctl_is serve' -l allow-remote -d 'Let other machines reach it'
complete -c kmemctl -n '__kmemctl_is serve' -l host -x -a '(__fish_print_hostnames)' -d 'A name of this machine'
complete -c kmemctl -n '__kmemctl_is ledger' -s g -l by -x -a 'reason client uid size age unit'
complete -c kmemctl -n '__kmemctl_is ledger reasons diff' -s d -l depth -x -d 'Levels of a reason'
complete -c kmemctl -n '__kmemctl_is blocks' -s S -l shared -d 'The shared ones'
complete -c kmemctl -n '__kmemctl_is snapshot diff export' -F
complete -c kmemctl -n '__kmemctl_is leaks' -l fail-on-leak -d 'Status 5 if one is suspected'
complete -c kmemctl -n '__kmemctl_is history' -l since -x -d 'How far to look back'
complete -c kmemctl -n '__kmemctl_is history' -l steps -x -d 'Into how many steps'
complete -c kmemctl -n '__kmemctl_is holders' -a '(__kmemctl_rows names name)'
complete -c kmemctl -n '__kmemctl_is record replay advise' -F
complete -c kmemctl -n '__kmemctl_is record' -l for -x -d 'End after so long'
complete -c kmemctl -n '__kmemctl_is replay' -s s -l size -x -d 'Of a segment of that size'
complete -c kmemctl -n '__kmemctl_is replay' -s f -l fit -d 'Find the smallest size'
complete -c kmemctl -n '__kmemctl_is map' -l by -x -a 'owner reason age'
complete -c kmemctl -n '__kmemctl_is map' -l svg -r -F -d 'Draw it into a file'
complete -c kmemctl -n '__kmemctl_is watch' -l exec -x -a '(__fish_complete_command)'
complete -c kmemctl -n '__kmemctl_is run' -s s -l size -x
complete -c kmemctl -n '__kmemctl_is run' -s c -l commit -x -a 'lazy eager'
complete -c kmemctl -n '__kmemctl_is run' -s m -l malloc -d 'Serve malloc() too'
complete -c kmemctl -n '__kmemctl_is run' -s v -l verbose
complete -c kmemctl -n '__kmemctl_is run' -s o -l output -r -F
complete -c kmemctl -n '__kmemctl_is run' -s r -l report -r -F
complete -c kmemctl -n '__kmemctl_is run' -s f -l fail-on-leak -d 'Status 5 if it leaks'
complete -c kmemctl -n '__kmemctl_is run' -s e -l leaks-exit-code -x
complete -c kmemctl -n '__kmemctl_is run' -a '(__fish_complete_subcommand)'
