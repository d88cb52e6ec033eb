#!/bin/sh
# SPDX-License-Identifier: MIT
# service_unit.sh UNIT KMEMD - what the unit promises: UNIT as it is installed, KMEMD as built
#
# A machine without systemd has no systemd-analyze; then the unit is only read.
set -eu
unit=$1
kmemd=$2
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

fail() {
    echo "$unit: $*" >&2
    exit 1
}

value() {
    sed -n "s/^$1=//p" "$unit"
}

# A unit whose start fails for good is "failed": a wrong option, the path, permission, no program,
# no group, no user, no memory for a new segment.
for status in 64 71 73 77 203 216 217; do
    value RestartPreventExitStatus | tr ' ' '\n' | grep -qx "$status" ||
        fail "tries again after status $status"
done
# What may pass, or must not cost a stored segment at once, is tried again.
for status in 75 78; do
    ! value RestartPreventExitStatus | tr ' ' '\n' | grep -qx "$status" ||
        fail "does not try again after status $status"
done
test "$(value Restart)" = on-failure || fail "is not restarted on failure"
test "$(value StartLimitIntervalSec)" -gt 0 || fail "tries for ever"
test "$(value StartLimitBurst)" -gt 0 || fail "tries for ever"
# It would else never fail: the burst must fit into the interval.
needed=$((($(value RestartSec) + 1) * $(value StartLimitBurst)))
test "$needed" -le "$(value StartLimitIntervalSec)" || fail "StartLimitBurst is never reached"

# Four files of the segment and three of each of 4,096 clients are stored; dropped at a stop, not at
# a restart, which is what systemd does unless it is told otherwise.
test "$(value FileDescriptorStoreMax)" -ge $((4 + 3 * 4096)) || fail "stores too few descriptors"
test -z "$(value FileDescriptorStorePreserve)" ||
    test "$(value FileDescriptorStorePreserve)" = restart || fail "keeps the store over a stop"
test "$(value LimitNOFILE)" -ge $((128 + 4 * 4096)) || fail "has descriptors for fewer clients"
value ExecReload | grep -q 'kill -HUP [$]MAINPID' || fail "does not send SIGHUP"
value ExecReload | grep -q -e '--compare [$]MAINPID' || fail "does not compare options"

# The unit's own options are options of kmemd.
options=$(value ExecStart | sed -e 's/^[^ ]* //' -e 's/%i/video/g' -e 's/[$]KMEMD_OPTIONS//' \
    -e 's/--default group=kmemd/--default group=0/' -e "s|/run/kmemd|$directory|")
# shellcheck disable=SC2086  # one word per option
"$kmemd" $options --help >/dev/null || fail "kmemd does not know its options: $options"

if command -v systemd-analyze >/dev/null; then
    copy="$directory/kmemd@video.service"
    # The program where it was built, and without a manual that is not installed yet.
    sed -e "s|=\(-*\)[^ ]*/kmemd --name|=\1$kmemd --name|" -e '/^Documentation=/d' "$unit" >"$copy"
    SYSTEMD_LOG_LEVEL=warning systemd-analyze verify "$copy" >"$directory/said" 2>&1 ||
        fail "$(cat "$directory/said")"
    ! grep "$copy" "$directory/said" || fail "systemd-analyze does not like it"
fi
