# SPDX-License-Identifier: MIT
"""leash.py ROOT BUILD LEASH - what a test has started ends with the ctest that runs it

Every test of the build is on the leash. One of each kind that never ends is begun, with a daemon
where that kind has one; then ctest is killed, and of all their processes none is left.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT, BUILD, LEASH = sys.argv[1:]
BIN = f"{BUILD}/bin"
PATIENCE_S = 120  # for what should happen, beside ten other things

# Kind: its command, and the program that is there once it has begun.
KINDS = {
    "script": (["sh", "-c", "trap '' TERM INT HUP; until false; do sleep 0.05; done"], "sleep"),
    "with_daemon": ([f"{ROOT}/tests/examples/with_daemon", BIN, "sleep", "1000001"], "sleep"),
    "documentation": (["bash", "-c", f"{BIN}/kmemd --size 16MiB >ready & wait"], "kmemd"),
    "harness": ([f"{BUILD}/tests/system/system_death", "test_crash_loop_leaves_nothing"], "kmemd"),
    "malloc": ([f"{BIN}/kmemctl", "run", "--size", "16MiB", "--", "sleep", "1000002"], "sleep"),
    "python": (["/usr/bin/python3", "-B", "-c", "import harness, time\n"
                "with harness.Directory(), harness.Daemon('x'): time.sleep(1000003)"], "kmemd"),
    "session": (["setsid", "sh", "-c", "setsid sleep 1000004 & sleep 1000005"], "sleep"),
    "stopped": (["sh", "-c", "sleep 1000006 & kill -STOP $$"], "sleep"),
}


def processes():
    """Return: of each process its parent and its name."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                before, after = file.read().rsplit(") ", 1)
        except OSError:
            continue  # it has ended
        state, parent = after.split()[:2]
        if state not in "ZX":
            found[int(pid)] = (int(parent), before.split("(", 1)[1])
    return found


def below(pid):
    """Return: of each process below this one its name."""
    all_of_them = processes()
    found, parents = {}, {pid}
    while parents:
        children = {child: name for child, (parent, name) in all_of_them.items()
                    if parent in parents}
        found.update(children)
        parents = set(children)
    return found


def soon(what):
    until = time.monotonic() + PATIENCE_S
    while not (value := what()):
        if time.monotonic() > until:
            sys.exit(f"leash: never true: {what.__doc__}; there are {processes()}")
        time.sleep(0.05)
    return value


def expect_all_leashed():
    listing = subprocess.check_output(["ctest", "--test-dir", BUILD, "--show-only=json-v1"])
    tests = json.loads(listing)["tests"]
    loose = [test["name"] for test in tests if test.get("command", [""])[0] != LEASH]
    if loose or not tests:
        sys.exit(f"leash: kmem_test() adds tests, add_test() has added {loose}")


def begin(kind, scratch):
    """Return: the ctest that runs a test of that kind, and what there is below it."""
    command, program = KINDS[kind]
    os.mkdir(f"{scratch}/{kind}")
    with open(f"{scratch}/{kind}/CTestTestfile.cmake", "w", encoding="utf-8") as file:
        words = " ".join(f"[==[{word}]==]" for word in [LEASH, *command])
        file.write(f"add_test({kind} {words})\n")
    ctest = subprocess.Popen(
        ["ctest", "--test-dir", f"{scratch}/{kind}"], stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": scratch, "XDG_RUNTIME_DIR": f"{scratch}/{kind}",
             "KMEM_BIN": BIN, "KMEM_TEST_BIN": f"{BUILD}/tests/system",
             "PYTHONPATH": f"{ROOT}/tests/serve"})

    def has_begun():
        """it has begun"""
        return program in below(ctest.pid).values()
    soon(has_begun)
    return ctest


def main():
    expect_all_leashed()
    with tempfile.TemporaryDirectory(prefix="leash-", ignore_cleanup_errors=True) as scratch:
        for kind in KINDS:
            ctest = begin(kind, scratch)
            started = below(ctest.pid)
            ctest.send_signal(signal.SIGKILL)
            ctest.wait()

            def are_gone():
                """all have ended with ctest"""
                now = processes()
                return all(now.get(pid, (0, ""))[1] != name for pid, name in started.items())
            soon(are_gone)
            print(f"{kind}: {len(started)} processes have ended with ctest")


main()
