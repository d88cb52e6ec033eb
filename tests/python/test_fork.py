# SPDX-License-Identifier: MIT
"""A child of fork holds nothing of what its parent holds."""

import gc
import os
import sys

import kmem

import harness


def in_child(work, meanwhile=lambda: None):
    """Run work() in a forked child, and meanwhile() here. Return: the text that work() returned, or
    how it ended."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            os.write(write, str(work()).encode())
            gc.collect()
            os._exit(0)
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            sys.stderr.flush()
            os._exit(1)
    os.close(write)
    meanwhile()
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return text if status == 0 else f"{text} (status {status})"


def n_clients():
    return kmem.usage()["clients"]


class Fork(harness.TestCase):
    def setUp(self):
        self.block = kmem.allocate(100, "parent's")
        memoryview(self.block)[:6] = b"parent"

    def tearDown(self):
        self.assertEqual(bytes(self.block)[:6], b"parent")
        self.assertEqual(harness.reasons(), ["parent's"])
        self.block.release()
        self.assertNothingHeld()

    def test_the_child_lets_go_of_nothing(self):
        def work():
            self.assertTrue(self.block.inherited)
            self.block.release()
            return self.block.released

        self.assertEqual(in_child(work), "True")

    def test_the_child_drops_the_object(self):
        def work():
            other = kmem.allocate(10, "child's")
            self.block = None
            gc.collect()
            return len(other)

        self.assertEqual(in_child(work), "10")

    def test_the_child_does_not_join_to_let_go(self):
        # The child of the test before may have been noticed to be gone, or not yet.
        harness.until(lambda: n_clients() == 1)

        def work():
            self.block.give_up()
            return n_clients()

        self.assertEqual(in_child(work), "1")

    def test_what_was_not_shared_is_EPERM_in_the_child(self):
        def work():
            for use in (memoryview, lambda b: b.share(), lambda b: b.publish("x")):
                with self.assertRaisesRegex(PermissionError, "before the fork"):
                    use(self.block)
            return "refused"

        self.assertEqual(in_child(work), "refused")

    def test_what_was_shared_is_attached_anew(self):
        self.block.share()

        def work():
            self.assertEqual(bytes(self.block)[:6], b"parent")
            self.assertFalse(self.block.inherited)
            memoryview(self.block)[10] = 1
            return [(row.kind, row.pid == os.getpid()) for row in kmem.holders(self.block)]

        self.assertEqual(in_child(work), "[('owner', False), ('attached', True)]")
        self.assertEqual(bytes(self.block)[10], 1)

    def test_what_ends_before_it_is_attached_anew_is_gone(self):
        other = kmem.allocate(10, "ends")
        other.share()
        read, write = os.pipe()

        def work():
            os.read(read, 1)
            with self.assertRaises(kmem.StaleError):
                memoryview(other)
            return other.inherited

        def let_go():
            other.release()
            os.write(write, b".")

        self.assertEqual(in_child(work, let_go), "True")
        os.close(read)
        os.close(write)

    def test_what_is_attached_for_reading_is_attached_anew_for_reading(self):
        reader = kmem.attach(self.block.share(), reason="reader")

        def work():
            return memoryview(reader).readonly, repr(reader).endswith("read-only>")

        self.assertEqual(in_child(work), "(True, True)")
        reader.release()

    def test_a_view_of_before_looks_at_the_same_bytes(self):
        view = memoryview(self.block)

        def work():
            view[11] = 2
            return bytes(view[:6])

        self.assertEqual(in_child(work), "b'parent'")
        self.assertEqual(view[11], 2)
        view.release()

    def test_next_gives_an_inherited_block_up(self):
        self.block.publish("forked")
        found = kmem.find("forked")

        def work():
            try:
                kmem.next("forked", found, timeout=0)
            except kmem.TimedOutError:
                return found.released

        self.assertEqual(in_child(work), "True")
        self.assertEqual(bytes(found)[:6], b"parent")
        found.release()
        kmem.unpublish("forked")

    def test_a_grandchild(self):
        self.block.share()

        def work():
            bytes(self.block)
            return in_child(lambda: (self.block.inherited, bytes(self.block)[:6]))

        self.assertEqual(in_child(work), "(True, b'parent')")


if __name__ == "__main__":
    harness.main()
