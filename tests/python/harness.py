# SPDX-License-Identifier: MIT
"""What the tests of the package kmem have in common: a daemon of their own, and other processes."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

BIN = os.environ["KMEM_BIN"]
# In the sandbox of its unit, if tests/hardened is to start it.
KMEMD = os.environ.get("KMEM_TEST_LAUNCHER", f"{BIN}/kmemd")


def _end_with_parent():
    """A test that hangs is killed; what it has started is to end as well."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Daemon:
    """A private kmemd, to which this process and its children turn."""

    def __init__(self, size="64MiB"):
        self.directory = tempfile.mkdtemp()
        self.socket = os.path.join(self.directory, "python.sock")
        self.process = subprocess.Popen(
            [KMEMD, "--name", "python", "--size", size, "--socket", self.socket]
            + ["--log-level", "error"],
            stdout=subprocess.PIPE,
            preexec_fn=_end_with_parent,
        )
        line = self.process.stdout.readline()  # "ready", or the end
        if not line:
            raise AssertionError(f"kmemd has ended with {self.process.wait()}")
        os.environ["KMEM_SOCKET"] = self.socket

    def stop(self):
        """End it in order. Return: its exit status."""
        self.process.terminate()
        status = self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.directory)
        return status


class Child:
    """Another process of Python that runs some lines; it tells what it does by printing lines."""

    def __init__(self, code, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", "import kmem, sys, os, signal\n" + code]
            + [str(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self):
        """The next line that it prints; "" if it has ended."""
        return self.process.stdout.readline().rstrip("\n")

    def say(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self):
        """Let it run to its end. Return: its exit status."""
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.stdout.close()
        if rest:
            print(rest, file=sys.stderr)
        return self.process.wait()

    def kill(self):
        self.process.kill()
        return self.end()


def reasons():
    """The reasons of all live blocks, as the ledger has them."""
    import kmem

    return sorted(row.key for row in kmem.ledger())


def take_home():
    """Have blocks come home that others held longer than this process: the next allocation that
    leaves the fast path takes them (kmem/share.h), and one of a large block does."""
    import kmem

    kmem.allocate(100 << 10, "takes others home").release()


def nothing_held():
    take_home()
    return reasons() == []


def until(question):
    """Ask until the answer is true: a process that has ended is reaped a moment later."""
    while not question():
        os.sched_yield()


class TestCase(unittest.TestCase):
    """A test beside a daemon of its file's own, which leaves nothing in the segment."""

    daemon = None

    @classmethod
    def setUpClass(cls):
        if TestCase.daemon is None:
            TestCase.daemon = Daemon()
            unittest.addModuleCleanup(TestCase._end_daemon)

    @staticmethod
    def _end_daemon():
        status = TestCase.daemon.stop()
        TestCase.daemon = None
        if status != 0:
            raise AssertionError(f"kmemd ended with {status}")

    def child(self, code, *arguments):
        child = Child(code, *arguments)
        self.addCleanup(self._end_child, child)
        return child

    @staticmethod
    def _end_child(child):
        if child.process.poll() is None:
            child.process.kill()
        for stream in (child.process.stdin, child.process.stdout):
            stream.close()
        child.process.wait()

    def assertNothingHeld(self):
        until(nothing_held)


def main():
    unittest.main(module="__main__", verbosity=2)
