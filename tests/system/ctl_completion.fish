#!/usr/bin/env fish
# SPDX-License-Identifier: MIT
# ctl_completion.fish COMPLETION - what fish completes is what kmemctl understands
set -gx PATH $KMEM_BIN $PATH
source $argv[1]
set -g failed 0

function offered
    complete -C "$argv[1]" | string replace -r '\t.*' '' | sort
end

# expect WHAT WANTED -- GOT: lists of words
function expect
    set -l at (contains -i -- -- $argv)
    set -l wanted $argv[2..(math $at - 1)]
    set -l got $argv[(math $at + 1)..-1]
    if test "$wanted" != "$got"
        printf '%s:\n  wanted: %s\n  got:    %s\n' $argv[1] "$wanted" "$got"
        set failed 1
    end
end

# The long options that the help of a command lists, without the one that every argp program has.
function options_of
    kmemctl $argv --help | grep -o -- ' --[a-z-]*' | tr -d ' ' | grep -vx -- --usage | sort -u
end

set -l commands (kmemctl --help | sed -n 's/^  \([a-z]\{3,\}\)  .*/\1/p' | sort)
expect commands $commands -- (offered "kmemctl ")
expect "options before a command" (options_of) -- (offered "kmemctl --" | string replace -r '=.*' '' | sort -u)
for command in $commands
    expect "options of $command" (options_of $command) -- \
        (offered "kmemctl $command --" | string replace -r '=.*' '' | sort -u)
end
expect "a command that has begun" ledger -- (offered "kmemctl --json --socket /x led")
expect --by age client reason size uid unit -- (offered "kmemctl ledger --by ")
expect --output csv json jsonl table wide -- (offered "kmemctl blocks -o ")
expect --columns BYTES,SHARE -- (offered "kmemctl ledger --columns BYTES,SH")

# The rows are those of the segment, or of the socket, that the line names.
function kmemctl
    switch "$argv"
        case '-n video names --output=csv --no-headers --columns=name'
            string join \n cam0/latest cam1/latest '$(touch /nonexistent)'
        case '-s /x clients --output=csv --no-headers --columns=pid'
            echo 13
        case 'ledger --output=csv --no-headers --columns=reason'
            string join \n video/capture audio
    end
end
expect "names of -n" cam0/latest cam1/latest -- (offered "kmemctl -n video holders cam")
expect "--pid of -s" 13 -- (offered "kmemctl -s /x blocks --pid ")
expect reasons audio video/capture -- (offered "kmemctl blocks --reason ")
exit $failed
