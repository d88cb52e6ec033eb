# SPDX-License-Identifier: MIT
"""What the tests of `kmemctl serve` have in common: daemons, clients, and the server itself."""

import ctypes
import http.client
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time

BIN = os.environ["KMEM_BIN"]
# In the sandbox of its unit, if tests/hardened is to start it.
KMEMD = os.environ.get("KMEM_TEST_LAUNCHER", f"{BIN}/kmemd")
TEST_BIN = os.environ["KMEM_TEST_BIN"]
# For what should happen; a machine that does ten other things, under a sanitizer, takes long.
PATIENCE_S = 120


def _end_with_parent():
    """A test that hangs is killed; what it has started is to end as well."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def soon(what):
    """Until it is true. Return: what it is then."""
    until = time.monotonic() + PATIENCE_S
    while not (value := what()):
        if time.monotonic() > until:
            raise AssertionError(f"never true; last {value!r}")
        time.sleep(0.02)
    return value


class Directory:
    """Where the daemons of a test listen, and the clients look for them."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="kmem-serve-")
        self.before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = self.path
        return self

    def __exit__(self, *_):
        if self.before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = self.before
        shutil.rmtree(self.path)


class Process:
    def __init__(self, arguments, **more):
        self.process = subprocess.Popen(arguments, preexec_fn=_end_with_parent, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """SIGTERM. Return: its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(PATIENCE_S)
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file:
                file.close()
        return status


class Daemon(Process):
    def __init__(self, name, size="32MiB", *options, level="error", program=KMEMD, **more):
        super().__init__([program, "--name", name, "--size", size, "--log-level", level,
                          *options], stdout=subprocess.PIPE, **more)
        self.name = name
        self.socket = os.path.join(os.environ["XDG_RUNTIME_DIR"], "kmemd", f"{name}.sock")
        if not self.process.stdout.readline():  # "ready", or the end
            raise AssertionError(f"kmemd has ended with {self.process.wait()}")

    def signal_server(self, number):
        """To the keeper's child: the process that answers."""
        keeper = self.process.pid
        with open(f"/proc/{keeper}/task/{keeper}/children", encoding="ascii") as file:
            for child in file.read().split():
                os.kill(int(child), number)

    def ask(self, *words):
        """What kmemctl says."""
        return json.loads(subprocess.check_output(
            [f"{BIN}/kmemctl", *words, "--json", "--socket", self.socket]))


class ShiftedDaemon(Daemon):
    """One whose clock a test sets: tests/system/clocks.h."""

    def __init__(self, name, *options):
        self.clocks = os.path.join(os.environ["XDG_RUNTIME_DIR"], f"{name}.clocks")
        self.pass_s(0)
        super().__init__(name, *options, program=f"{TEST_BIN}/kmemd_shifted",
                         env={**os.environ, "KMEMD_CLOCKS": self.clocks})

    def pass_s(self, boot_s):
        """From now on so much has passed since it was started."""
        with open(self.clocks, "r+b" if os.path.exists(self.clocks) else "wb") as file:
            file.write(struct.pack("=qqQQ", 0, boot_s, 0, 0))


class Worker(Process):
    """A client that does what words say, and then waits: tests/system/ctl_worker.c."""

    def __init__(self, daemon, *words):
        super().__init__([f"{TEST_BIN}/ctl_worker", *words, "say", "done", "sleep", "1000000"],
                         stdout=subprocess.PIPE, env={**os.environ, "KMEM_SOCKET": daemon.socket})
        if self.process.stdout.readline() != b"done\n":
            raise AssertionError(f"the client has ended with {self.process.wait()}")


class Serve(Process):
    def __init__(self, *options, before=(), program=(f"{BIN}/kmemctl", "serve"), **more):
        super().__init__([*before, *program, "--listen", "127.0.0.1:0", *options],
                         stdout=subprocess.PIPE, text=True, **more)
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(f"kmemctl serve has ended with {self.process.wait()}")
        self.address = self.url.removeprefix("http://").rstrip("/")

    def request(self, path, method="GET", headers=None, body=None):
        """Return: status, headers, text."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    def get(self, path, **headers):
        """Its text. A daemon has a second for its answer; one that needs more is asked again."""
        def answered():
            status, _, text = self.request(path, headers=headers)
            if status not in (200, 503):
                raise AssertionError(f"{path}: {status}: {text}")
            return status == 200 and (text,)
        return soon(answered)[0]

    def json(self, path):
        return json.loads(self.get(path))

    def segments(self):
        return self.json("/api/v1/segments")["segments"]

    def series(self, openmetrics=False):
        """Of /metrics: {name{labels}: value}, in the order of the text.

        A segment whose daemon has not answered within a second is down in it.
        """
        accept = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain"
        lines = self.get("/metrics", Accept=accept).split("\n")
        return {key: float(value) for key, value in
                (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def series_of(self, *names):
        """The same, once these segments are up."""
        def all_up():
            series = self.series()
            return all(series[f'kmemd_up{{segment="{name}"}}'] == 1 for name in names) and series
        return soon(all_up)
