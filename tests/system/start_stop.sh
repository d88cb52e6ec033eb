#!/bin/sh
# SPDX-License-Identifier: MIT
# start_stop.sh BIN INITD - kmemd as a service without a service manager: by start-stop-daemon, as
# docs/without-systemd.md has it, and as s6 and OpenRC take it
set -eu
bin=$1
initd=$2
directory=$(mktemp -d)
socket=$directory/kmemd/video.sock
pidfile=$directory/kmemd.pid

fail() {
    echo "start_stop: $*" >&2
    exit 1
}

control() {
    start-stop-daemon --pidfile "$pidfile" --exec "$bin/kmemd" "$@"
}

clean_up() {
    control --stop --oknodo --quiet --retry KILL/5
    rm -rf "$directory"
}
trap clean_up EXIT

# answers: whether the segment does, or will: a question may meet a server that is leaving
answers() {
    until test -S "$socket" && "$bin/kmemctl" --socket "$socket" usage >"$directory/usage"; do
        kill -0 "$(cat "$pidfile")" || return 1
        sleep 0.05
    done
}

# Started, asked for, and stopped: in the foreground, but not in ours.
control --status && fail "is running before it was started"
control --start --background --make-pidfile -- --name video --size 16MiB --socket "$socket"
answers || fail "does not answer"
grep -q '^segment "video"' "$directory/usage"
control --status || fail "does not run after it was started"
control --start --oknodo --quiet -- || fail "a second start is an error"
kill -HUP "$(cat "$pidfile")"
answers || fail "does not answer after SIGHUP"
control --stop --quiet --retry TERM/30 --remove-pidfile || fail "does not stop"
test ! -e "$socket" || fail "leaves its socket behind"
control --status && fail "still runs"

# What s6 waits for: one line on the standard output, when it is ready, and no other.
mkfifo "$directory/ready"
"$bin/kmemd" --name video --size 16MiB --socket "$socket" >"$directory/ready" 2>/dev/null &
pid=$!
exec 3<"$directory/ready"
read -r line <&3
"$bin/kmemctl" --socket "$socket" usage >"$directory/usage"
kill -TERM "$pid"
wait "$pid" || fail "ends with status $? after SIGTERM"
! read -r more <&3 || fail "says \"$more\" after \"$line\""

# OpenRC's script: its options are the daemon's, and what it needs of OpenRC is what OpenRC has.
sh -n "$initd"
export RC_SVCNAME=kmemd.video KMEMD_OPTIONS="--size 16MiB" KMEMD_GROUP=0
checkpath() {
    mkdir -p "$directory/kmemd"
}
# shellcheck source=/dev/null
. "$initd"
# shellcheck disable=SC2154  # from there
test "$segment" = video || fail "$initd takes kmemd.video for the segment $segment"
test "$KMEMD_SOCKET" = /run/kmemd/video.sock || fail "$initd listens on $KMEMD_SOCKET"
# shellcheck disable=SC2034  # for start_pre
command=$bin/kmemd
start_pre || fail "kmemd does not take the options in $initd"
# shellcheck disable=SC2034  # likewise
command_args="$command_args --sizzle"
if start_pre 2>/dev/null; then
    fail "$initd takes a wrong option"
fi
