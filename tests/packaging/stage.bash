# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# stage.bash - sourced by transcripts: users, clients that do what they are told, and what is expected
KMEM_SEGMENT=default
export KMEM_SEGMENT
n_done=0

fail() {
    echo "FAILED: $*" >&2
    systemctl --no-pager status "kmemd@*" || true
    exit 1
}

# done_with WORDS: a test has passed
done_with() {
    n_done=$((n_done + 1))
    echo "ok $n_done - $*"
}

# expect COMMAND...: it succeeds
expect() {
    "$@" || fail "$*"
}

# expect_words TEXT PATTERN: the text has it
expect_words() {
    grep -Eq -- "$2" <<<"$1" || fail "\"$1\" does not say \"$2\""
}

# until_true COMMAND...: some time it is; the test's own deadline is the only one
until_true() {
    until "$@"; do
        sleep 0.05
    done
}

property() {
    systemctl show --value --property "$2" "$1"
}

state_is() {
    test "$(property "$1" ActiveState)" = "$2"
}

is_other() {
    local now
    now=$(property "$1" MainPID)
    test "$now" != 0 && test "$now" != "$2" && state_is "$1" active
}

# as USER COMMAND...: with the groups that the user has now
as() {
    local user=$1
    shift
    setpriv --reuid "$user" --regid "$user" --init-groups --reset-env env KMEM_SEGMENT="$KMEM_SEGMENT" \
        XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR-}" "$@"
}

# join NAME USER: a client NAME of that user, which does what `ask` tells it
declare -A to from client
join() {
    local name=$1 user=$2 in out
    mkfifo "/tmp/$name.in" "/tmp/$name.out"
    chmod 666 "/tmp/$name.in" "/tmp/$name.out"
    as "$user" /usr/bin/python3 /mnt/client.py <"/tmp/$name.in" >"/tmp/$name.out" 2>&1 &
    client[$name]=$!
    exec {in}>"/tmp/$name.in" {out}<"/tmp/$name.out"
    to[$name]=$in from[$name]=$out
}

# ask NAME COMMAND...: prints what it answers
ask() {
    local name=$1 answer
    shift
    echo "$*" >&"${to[$name]}"
    read -r answer <&"${from[$name]}" || answer="(it has ended)"
    echo "$answer"
}

# leave NAME: its end
leave() {
    local name=$1 in out
    in=${to[$name]} out=${from[$name]}
    echo leave >&"$in"
    exec {in}>&- {out}<&-
    wait "${client[$name]}" || true
    rm "/tmp/$name.in" "/tmp/$name.out"
}

reasons() {
    kmemctl ledger -o csv
}
