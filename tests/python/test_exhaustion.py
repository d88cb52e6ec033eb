# SPDX-License-Identifier: MIT
"""Every allocation that Python makes in a call of the package fails, one after the other.

What tests/system/test_client_exhaustion.c does to libkmem. A call succeeds, or raises MemoryError,
or what it raises of itself; it leaves nothing behind, and the same again, with nothing failing, is
as ever.
"""

import contextlib
import gc
import unittest
from functools import partial

import kmem

import harness

import _testcapi  # with it allocations of the interpreter fail

# More than any of these calls makes: from here on one has gone astray.
ALLOCATIONS_MAX = 2000


def attempt(call, n_before):
    """Call, and have one allocation fail, which so many come before.

    Return: what it returned, what it raised or None, and whether that one was among the call's: if
    not, it is one that is made here afterwards.
    """
    result = error = None
    has_failed = True
    _testcapi.set_nomemory(n_before, n_before + 1)
    try:
        result = call()
    except BaseException as raised:
        error = raised
    try:
        for _ in range(100):
            bytearray(1000)
    except MemoryError:
        has_failed = False
    finally:
        _testcapi.remove_mem_hooks()
    return result, error and error.with_traceback(None), has_failed


class Exhaustion(harness.TestCase):
    def setUp(self):
        self.block = kmem.allocate(100, "shared")
        self.handle = self.block.share()
        self.block.publish("here")

    def tearDown(self):
        self.block.release()
        kmem.unpublish("here")
        gc.collect()
        self.assertNothingHeld()

    def sweep(self, call, wanted=None, begin=lambda: None, end=lambda result: None):
        """The call succeeds of itself, or raises what is wanted. begin() and end(its result) are
        called before and after each attempt."""
        before = harness.reasons()
        for n_before in range(ALLOCATIONS_MAX):
            begin()
            result, error, has_failed = attempt(call, n_before)
            if not has_failed:
                self.assertIs(type(error), wanted or type(None))
            elif error is not None:
                self.assertIsInstance(error, (MemoryError, wanted or MemoryError))
            end(result)
            if type(result) is kmem.Block:
                result.release()
            self.assertEqual(harness.reasons(), before)
            if not has_failed:
                return
        self.fail("its allocations have no end")

    def test_calls_that_make_a_block_let_go_of_it(self):
        text = str(self.handle)
        for call in (
            partial(kmem.allocate, 10, "fails"),
            partial(kmem.allocate, 10, "fails", timeout=5.0),
            partial(kmem.allocate, 10),
            partial(kmem.attach, self.handle, reason="fails"),
            partial(kmem.attach, text, True, "fails"),
            partial(kmem.find, "here", reason="fails"),
            partial(kmem.next, "here", reason="fails"),
        ):
            self.sweep(call)

    def test_a_block_that_is_shared_stays_as_it_was(self):
        for call in (
            self.block.share,
            partial(getattr, self.block, "handle"),
            partial(repr, self.block),
            partial(kmem._kmem.handle_to_text, self.handle),
            partial(kmem._kmem.handle_from_text, str(self.handle)),
            partial(self.block.publish, "here"),
        ):
            self.sweep(call)
            self.assertEqual((self.block.handle, self.block.released), (self.handle, False))

    def test_what_is_handed_over_is_held_until_its_handle_is_known(self):
        def begin():
            self.moved = kmem.allocate(10, "handed over")

        def end(handle):
            self.assertEqual(self.moved.released, handle is not None)
            (self.moved if handle is None else kmem.attach(handle)).release()

        def transfer():
            return self.moved.transfer()

        self.sweep(transfer, begin=begin, end=end)

    def test_questions(self):
        with contextlib.suppress(kmem.NoRoomError):
            kmem.allocate(64 << 20, "refused")
        for call in (
            kmem.usage,
            kmem.ledger,
            kmem.blocks,
            kmem.limits,
            kmem.names,
            kmem.refusals,
            kmem.refusal_counts,
            partial(kmem._kmem.holders, 0),
            partial(kmem.ledger, "client"),
            partial(kmem.blocks, pid=1 << 31, uid=1 << 31, kind="direct", shared=True),
        ):
            answer = call()
            self.sweep(call)
            self.assertEqual(type(call()), type(answer))

    def test_what_is_raised_is_MemoryError_or_itself(self):
        view = memoryview(self.block)
        for wanted, call in (
            (kmem.NotFoundError, partial(kmem.find, "none")),
            (kmem.NotFoundError, partial(kmem.unpublish, "none")),
            (kmem.TimedOutError, partial(kmem.wait, "none", timeout=0)),
            (kmem.NoRoomError, partial(kmem.allocate, 64 << 20, "refused")),
            (kmem.NoRoomInTimeError, partial(kmem.allocate, 64 << 20, "refused", timeout=0)),
            (kmem.InvalidError, partial(kmem.attach, "kmem://")),
            (ValueError, partial(kmem.ledger, "colour")),
            (BufferError, self.block.transfer),
        ):
            self.sweep(call, wanted)
        view.release()


IMPORT = """
import _imp, _testcapi
from importlib.machinery import ExtensionFileLoader, ModuleSpec
path = sys.modules["kmem._kmem"].__file__
spec = ModuleSpec("other._kmem", ExtensionFileLoader("other._kmem", path), origin=path)
n_failed = 0
module = None
while module is None:
    _testcapi.set_nomemory(n_failed, n_failed + 1)
    try:
        module = _imp.create_dynamic(spec)
    except MemoryError:
        n_failed += 1
    finally:
        _testcapi.remove_mem_hooks()
print(n_failed > 10, flush=True)
print(module.allocate(10, "imported").num_bytes, flush=True)
"""


class Import(harness.TestCase):
    def test_a_module_that_could_not_be_made_is_made_later(self):
        child = self.child(IMPORT)
        self.assertEqual((child.hear(), child.hear()), ("True", "10"))
        self.assertEqual(child.end(), 0)


if __name__ == "__main__":
    harness.main()
