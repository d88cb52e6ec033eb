# SPDX-License-Identifier: MIT
"""test_standard.py METHOD - the standard library's own tests of shared_memory, of kmem's

Python's test._test_multiprocessing._TestSharedMemory runs as it is, with processes that are started
by METHOD (fork, spawn, forkserver). Its tests that run a program in a text of their own have that
program import kmem.shared_memory, which is all that a user changes.
"""

import gc
import multiprocessing
import multiprocessing.managers
import sys
import unittest

import kmem.shared_memory

# Where the tests, in this process and in those that it spawns, look for what they test.
multiprocessing.shared_memory = kmem.shared_memory
sys.modules["multiprocessing.shared_memory"] = kmem.shared_memory
multiprocessing.managers.shared_memory = kmem.shared_memory

import test._test_multiprocessing as suite  # noqa: E402
import test.support.script_helper  # noqa: E402, F401

import harness  # noqa: E402

suite.shared_memory = kmem.shared_memory


def ours(program):
    """A program of the tests, with one import changed."""
    return program.replace("from multiprocessing import shared_memory",
                           "from kmem import shared_memory").replace(
        "from multiprocessing.managers import SharedMemoryManager",
        "import multiprocessing.managers, kmem.shared_memory\n"
        "            multiprocessing.managers.shared_memory = kmem.shared_memory\n"
        "            from multiprocessing.managers import SharedMemoryManager")


class WithProcessesTestSharedMemory(
    suite._TestSharedMemory, suite.ProcessesMixin, unittest.TestCase
):
    """Those two that run programs look for what a resource tracker says: here there is none."""

    def setUp(self):
        self.programs = []
        run = test.support.script_helper.assert_python_ok
        popen = suite.subprocess.Popen

        def run_ours(*words, **keywords):
            self.programs.append(words[-1])
            return run(*words[:-1], ours(words[-1]), __isolated=False, **keywords)

        def popen_ours(command, **keywords):
            self.programs.append(command[-1])
            command = [word for word in command[:-1] if word != "-E"] + [ours(command[-1])]
            return popen(command, **keywords)

        self.enterContext(unittest.mock.patch(
            "test.support.script_helper.assert_python_ok", run_ours))
        self.enterContext(unittest.mock.patch.object(suite.subprocess, "Popen", popen_ours))

    def tearDown(self):
        gc.collect()

    def test_shared_memory_cleaned_after_process_termination(self):
        # The last lines of it, after the segment is gone, want to see the tracker's warning.
        with unittest.mock.patch.object(suite.resource_tracker, "unregister"):
            with self.assertRaisesRegex(AssertionError, "not found in ''$"):
                super().test_shared_memory_cleaned_after_process_termination()
        self.assertIn("SharedMemory(create=True", self.programs[0])


def setUpModule():
    global daemon
    daemon = harness.Daemon()
    multiprocessing.set_start_method(method, force=True)


def tearDownModule():
    gc.collect()
    harness.until(lambda: kmem.names() == [])
    harness.until(harness.nothing_held)
    suite.util._cleanup_tests()
    if daemon.stop() != 0:
        raise AssertionError("kmemd ended badly")


if __name__ == "__main__":
    method = sys.argv.pop(1)
    harness.main()
