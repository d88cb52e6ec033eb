# SPDX-License-Identifier: MIT
"""kmem.shared_memory beyond the standard library's own tests: what is better, and what differs."""

import gc
import os
import signal
import subprocess

import kmem
import numpy
from kmem.shared_memory import ShareableList, SharedMemory

import harness

CREATE = """
from kmem.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=1000, track=sys.argv[1] == "tracked")
memory.buf[:5] = b"hello"
print(memory.name, flush=True)
sys.stdin.read()
"""


def children_of(pid):
    """The commands of the processes that a process has started."""
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "args="], capture_output=True, text=True
    )
    return found.stdout


class SharedMemories(harness.TestCase):
    def tearDown(self):
        gc.collect()
        for name in kmem.names():
            kmem.unpublish(name.name)
        self.assertNothingHeld()

    def test_nothing_is_left_by_SIGKILL(self):
        child = self.child(CREATE, "tracked")
        name = child.hear()
        with self.assertRaises(FileExistsError):
            SharedMemory(name, create=True, size=10)
        self.assertEqual(child.kill(), -signal.SIGKILL)
        harness.until(lambda: kmem.names() == [])
        with self.assertRaises(FileNotFoundError):
            SharedMemory(name)

    def test_who_has_it_open_keeps_it_when_its_creator_is_killed(self):
        child = self.child(CREATE, "tracked")
        memory = SharedMemory(child.hear())
        child.kill()
        harness.until(lambda: kmem.names() == [])
        memory.buf[5] = 33
        self.assertEqual(bytes(memory.buf[:6]), b"hello!")
        memory.close()

    def test_untracked_outlives_its_creator_until_unlink(self):
        child = self.child(CREATE, "untracked")
        name = child.hear()
        child.kill()
        memory = SharedMemory(name)
        self.assertEqual(bytes(memory.buf[:5]), b"hello")
        memory.close()
        memory.unlink()

    def test_there_is_no_resource_tracker(self):
        child = self.child(CREATE, "tracked")
        child.hear()
        self.assertEqual(children_of(child.process.pid).strip(), "")
        self.assertEqual(child.end(), 0)

    def test_each_has_a_line_in_the_ledger(self):
        memory = SharedMemory("a_name", create=True, size=100)
        other = SharedMemory("a_name")
        self.assertEqual([name.name for name in kmem.names()], ["a_name"])
        self.assertEqual(harness.reasons(), ["shared_memory"])
        rows = kmem.holders()
        self.assertEqual([row.kind for row in rows], ["owner", "name"])
        self.assertEqual(rows[0].reason, "shared_memory#a_name")
        self.assertEqual(rows[0].pid, os.getpid())
        other.close()
        memory.close()
        memory.unlink()

    def test_the_size_is_exact_and_the_bytes_are_zeros(self):
        memory = SharedMemory(create=True, size=4097)
        self.assertEqual((memory.size, len(memory.buf)), (4097, 4097))
        self.assertEqual(bytes(memory.buf), bytes(4097))
        memory.close()
        memory.close()
        self.assertIsNone(memory.buf)
        self.assertEqual(memory.size, 4097)
        memory.unlink()

    def test_close_with_a_live_array_is_BufferError(self):
        memory = SharedMemory(create=True, size=100)
        view = numpy.frombuffer(memory.buf, numpy.uint8)
        with self.assertRaises(BufferError):
            memory.close()
        with self.assertRaises(BufferError):
            memory.close()
        view[0] = 4
        del view
        memory.close()
        memory.unlink()

    def test_an_array_that_is_no_view_holds_it_after_close(self):
        # numpy does not count this one, and the standard library's segment would be unmapped.
        memory = SharedMemory(create=True, size=100)
        array = numpy.ndarray((10,), numpy.uint8, buffer=memory.buf)
        memory.unlink()
        memory.close()
        array[9] = 4
        self.assertEqual(harness.reasons(), ["shared_memory"])
        del array
        self.assertNothingHeld()

    def test_an_array_outlives_its_memory(self):
        memory = SharedMemory(create=True, size=100)
        memory.unlink()
        array = numpy.frombuffer(memory.buf, numpy.uint8)
        del memory
        gc.collect()
        array[:] = 7
        self.assertEqual(harness.reasons(), ["shared_memory"])
        del array

    def test_unlink_lets_go_of_the_name_alone(self):
        memory = SharedMemory("unlinked", create=True, size=100)
        memory.unlink()
        with self.assertRaises(FileNotFoundError):
            SharedMemory("unlinked")
        memory.buf[0] = 1
        other = SharedMemory("unlinked", create=True, size=100)
        self.assertEqual(other.buf[0], 0)
        other.unlink()
        memory.close()
        other.close()

    def test_a_forked_child_attaches_it_anew(self):
        memory = SharedMemory(create=True, size=100)
        pid = os.fork()
        if pid == 0:
            try:
                memory.buf[0] = 9  # attaches it
                memory.buf[0] = len(kmem.holders())
                memory.close()
            finally:
                os._exit(0)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(memory.buf[0], 3)  # owner, name, and the child
        memory.close()
        memory.unlink()

    def test_a_name_that_is_too_long(self):
        with self.assertRaises(ValueError):
            SharedMemory("x" * 101, create=True, size=1)

    def test_no_room_is_MemoryError(self):
        with self.assertRaises(MemoryError):
            while True:
                SharedMemory(create=True, size=10 << 20)  # its name keeps it
        for name in kmem.names():
            kmem.unpublish(name.name)

    def test_a_list_keeps_its_class(self):
        numbers = ShareableList([1, 2.5, "three"], name="numbers")
        self.assertIsInstance(numbers.shm, SharedMemory)
        self.assertEqual(list(ShareableList(name="numbers")), [1, 2.5, "three"])
        numbers.shm.close()
        numbers.shm.unlink()


if __name__ == "__main__":
    harness.main()
