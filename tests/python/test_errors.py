# SPDX-License-Identifier: MIT
"""Errors: kmemd's whole sentence, the errno, and the standard library's class."""

import errno
import os
import pickle
import unittest

import kmem

import harness


class Errors(harness.TestCase):
    def tearDown(self):
        self.assertNothingHeld()

    def check(self, number, standard, sentence, call, *arguments, **keywords):
        with self.assertRaises(kmem.Error) as caught:
            call(*arguments, **keywords)
        error = caught.exception
        self.assertEqual(error.errno, number)
        self.assertIsInstance(error, standard)
        self.assertIsInstance(error, OSError)
        self.assertRegex(error.strerror, sentence)
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(copy), copy.args), (type(error), error.args))
        self.assertEqual(type(error).__module__, "kmem")
        return error

    def test_EINVAL_is_ValueError(self):
        for size in (0, -1, 1 << 40):
            self.check(errno.EINVAL, ValueError, "byte|segment", kmem.allocate, size, "wrong")
        self.check(errno.EINVAL, ValueError, "100 bytes", kmem.find, "x" * 101)

    def test_ENOMEM_is_MemoryError(self):
        with kmem.allocate(40 << 20, "the largest"):
            error = self.check(
                errno.ENOMEM, MemoryError, "40.0 MiB .*free", kmem.allocate, 40 << 20, "too much"
            )
        self.assertIsInstance(error, kmem.NoRoomError)

    def test_ENOENT_is_FileNotFoundError(self):
        self.check(errno.ENOENT, FileNotFoundError, "kmem_find: .*\"none\"", kmem.find, "none")

    def test_EACCES_is_PermissionError(self):
        with kmem.allocate(10, "tag") as block:
            wrong = block.share()._replace(tag=block.handle.tag ^ 1)
            # This process holds it: the daemon is asked all the same, and refuses.
            self.check(errno.EACCES, PermissionError, "tag is wrong", kmem.attach, wrong)

    def test_ESTALE(self):
        with kmem.allocate(10, "stale") as block:
            handle = block.share()
        self.check(errno.ESTALE, kmem.StaleError, "gone", kmem.attach, handle)

    def test_EAGAIN_is_TimeoutError(self):
        self.check(errno.EAGAIN, TimeoutError, "kmem_wait", kmem.wait, "none", timeout=0)

    def test_what_is_no_text(self):
        with self.assertRaises(ValueError):
            kmem.allocate(10, "nul\0inside")
        with self.assertRaises(TypeError):
            kmem.allocate(10, 10)
        with self.assertRaises(UnicodeEncodeError):
            kmem.find("\udcff")

    def test_arguments_of_another_kind_are_TypeError(self):
        with kmem.allocate(10, "arguments") as block:
            for call in (
                lambda: block.share(True),
                lambda: block.transfer(True),
                lambda: block.publish(),
                lambda: block.publish(3),
                lambda: kmem.attach(),
                lambda: kmem.find(3),
                lambda: kmem.wait(),
                lambda: kmem.unpublish(3),
                lambda: kmem.ledger(3),
                lambda: kmem.blocks(uid="me"),
                lambda: kmem._kmem.holders("all"),
                lambda: kmem._kmem.handle_to_text(3),
                lambda: kmem._kmem.handle_from_text(3),
                lambda: block.array("no such type"),
            ):
                with self.assertRaises(TypeError):
                    call()
            self.assertFalse(block.released)
            self.assertIsNone(block.handle)  # none of them has shared it

    def test_a_text_that_is_no_handle(self):
        self.check(errno.EINVAL, ValueError, "handle", kmem.Handle.from_text, "kmem://")
        with self.assertRaises(UnicodeEncodeError):
            kmem.attach("\udcff")

    def test_a_name_that_can_not_be_leaves_the_block_where_it_is(self):
        with kmem.allocate(10, "kept") as block:
            for give in (True, False):
                with self.assertRaises(kmem.InvalidError):
                    block.publish("", give=give)
                self.assertFalse(block.released)

    def test_a_wait_for_what_can_not_be_ends_at_once(self):
        error = self.check(errno.EINVAL, ValueError, "byte", kmem.allocate, 0, timeout=1e9)
        self.assertNotIsInstance(error, TimeoutError)
        kmem.allocate(10, timeout=3e6).release()  # longer than the library can wait

    def test_what_is_no_handle(self):
        with self.assertRaises(OverflowError):
            kmem.attach(kmem.Handle(1, 2, -3, 4, 5))
        with self.assertRaises(TypeError):
            kmem.attach(kmem.Handle("1", 2, 3, 4, 5))


ENDED = """
block = kmem.allocate(10, "ends")
kmem.attach(block.share()).release()
view = memoryview(block)
print(flush=True)
sys.stdin.readline()
for call in (lambda: kmem.allocate(10, "late"), lambda: kmem.find("x"), block.share):
    try:
        call()
    except ConnectionResetError as error:
        print(type(error).__name__, flush=True)
view[3] = 5
print(view[3], flush=True)
view.release()
del block
"""


GIVEN = """
blocks = [kmem.allocate(10, "given") for _ in range(3)]
for block in blocks:
    block.share()
print(flush=True)
sys.stdin.readline()
for call in (blocks[0].release, lambda: blocks[1].publish("x", give=True), blocks[2].transfer):
    try:
        call()
    except kmem.EndedError:
        pass
print(*(block.released for block in blocks), flush=True)
"""


class Ends(unittest.TestCase):
    """What has a daemon of its own, that ends."""

    def test_ECONNRESET_is_ConnectionResetError(self):
        daemon = harness.Daemon()
        child = harness.Child(ENDED)
        child.hear()
        self.assertEqual(daemon.stop(), 0)
        child.say()
        self.assertEqual([child.hear() for _ in range(4)], ["EndedError"] * 3 + ["5"])
        self.assertEqual(child.end(), 0)

    def test_what_is_let_go_of_when_all_has_ended_is_let_go_of(self):
        daemon = harness.Daemon()
        child = harness.Child(GIVEN)
        child.hear()
        self.assertEqual(daemon.stop(), 0)
        child.say()
        # Who could not hand it over holds it: its views can be looked at.
        self.assertEqual(child.hear(), "True True False")
        self.assertEqual(child.end(), 0)

    def test_no_daemon(self):
        for socket in ("/nonexistent/kmem.sock",):
            os.environ["KMEM_SOCKET"] = socket
            child = harness.Child(
                "for call in (kmem.allocate, lambda n: kmem.usage()):\n"
                "    try:\n        call(1)\n"
                "    except kmem.NotFoundError as error:\n        print(error, flush=True)"
            )
            for _ in range(2):
                self.assertIn(socket, child.hear())
            self.assertEqual(child.end(), 0)


if __name__ == "__main__":
    harness.main()
