# SPDX-License-Identifier: MIT
"""Handles, names, and what the ledger says of them."""

import gc
import os

import kmem

import harness

ATTACH = """
block = kmem.attach(sys.argv[1], writable=sys.argv[2] == "True", reason="attached")
print(bytes(block)[:5].decode(), flush=True)
sys.stdin.read()
"""


class Sharing(harness.TestCase):
    def tearDown(self):
        gc.collect()
        self.assertNothingHeld()

    def test_share_and_attach(self):
        block = kmem.allocate(100, "shared")
        memoryview(block)[:5] = b"hello"
        handle = block.share()
        self.assertEqual(block.share(), handle)
        self.assertEqual(block.handle, handle)
        child = self.child(ATTACH, handle, False)
        self.assertEqual(child.hear(), "hello")
        block.release()
        self.assertEqual([h.kind for h in kmem.holders(handle)], ["attached"])
        self.assertEqual(child.end(), 0)

    def test_a_handle_and_its_text(self):
        with kmem.allocate(100, "text") as block:
            handle = block.share()
            text = str(handle)
            self.assertTrue(text.startswith("kmem://"))
            self.assertEqual(kmem.Handle.from_text(text), handle)
            self.assertEqual({handle: 1}[kmem.Handle.from_text(text)], 1)
            self.assertEqual((handle.num_bytes, handle.offset), (100, block.offset))
            self.assertNotIn(f"{handle.tag:x}", repr(handle))
            self.assertNotIn(str(handle.tag), repr(handle))
            for wrong in ("", "kmem://", text + "0", text[:-1]):
                with self.assertRaises((kmem.InvalidError, kmem.DeniedError)):
                    kmem.attach(wrong)
        for wrong in (None, 3, tuple(handle)):
            with self.assertRaises(TypeError):
                kmem.attach(wrong)

    def test_share_read_only(self):
        with kmem.allocate(100, "read-only") as block:
            handle = block.share(read_only=True)
            self.assertFalse(block.lends_writable)
            child = self.child(
                "try:\n    kmem.attach(sys.argv[1], writable=True)\n"
                "except kmem.DeniedError as error:\n    print(error.errno, flush=True)",
                handle,
            )
            self.assertEqual(child.hear(), "13")
            self.assertEqual(child.end(), 0)
            block.share()
            child = self.child(ATTACH, handle, True)
            self.assertEqual(child.hear(), "\0" * 5)
            self.assertEqual(child.end(), 0)

    def test_share_of_an_attached_block_is_its_handle(self):
        block = kmem.allocate(100, "attached")
        child = self.child(
            "block = kmem.attach(sys.argv[1])\nprint(block.share(), flush=True)\n"
            "try:\n    block.share(read_only=True)\n"
            "except kmem.DeniedError as error:\n    print(error.errno, flush=True)",
            block.share(),
        )
        self.assertEqual(child.hear(), str(block.share()))
        self.assertEqual(child.hear(), "1")
        self.assertEqual(child.end(), 0)

    def test_transfer(self):
        block = kmem.allocate(100, "handed over")
        memoryview(block)[:5] = b"yours"
        handle = block.transfer()
        self.assertTrue(block.released)
        child = self.child(
            ATTACH.replace("print", "block.share()\nprint"), handle, True
        )
        self.assertEqual(child.hear(), "yours")
        self.assertEqual([h.pid for h in kmem.holders(handle)], [child.process.pid])
        self.assertEqual(child.end(), 0)

    def test_transfer_of_what_others_hold_is_EBUSY(self):
        with kmem.allocate(100, "held") as block:
            child = self.child(ATTACH, block.share(), False)
            child.hear()
            with self.assertRaises(kmem.Error) as caught:
                block.transfer()
            self.assertEqual(caught.exception.errno, 16)
            self.assertFalse(block.released)
            self.assertEqual(child.end(), 0)

    def test_an_offer_ends_with_its_sender(self):
        child = self.child("print(kmem.allocate(100, 'offered').transfer(), flush=True)")
        handle = child.hear()
        self.assertEqual(child.end(), 0)
        self.assertNothingHeld()
        with self.assertRaises(kmem.StaleError):
            kmem.attach(handle)

    def test_an_offer_that_is_kept(self):
        child = self.child("print(kmem.allocate(100, 'kept').transfer(keep=True), flush=True)")
        handle = child.hear()
        self.assertEqual(child.end(), 0)
        with kmem.attach(handle, writable=True) as block:
            self.assertEqual(len(block), 100)

    def test_publish_find_unpublish(self):
        with kmem.allocate(100, "published") as block:
            first = block.publish("a/name")
            second = kmem.publish(block, "a/name")
            self.assertGreater(second, first)
            with kmem.find("a/name", reason="found") as found:
                self.assertEqual((found.offset, found.version), (block.offset, second))
                self.assertFalse(found.writable)
        with kmem.find("a/name", writable=True) as found:
            memoryview(found)[0] = 1
        kmem.unpublish("a/name")
        for call in (kmem.find, kmem.unpublish):
            with self.assertRaises(FileNotFoundError) as caught:
                call("a/name")
            self.assertIsInstance(caught.exception, kmem.Error)

    def test_publish_and_give(self):
        block = kmem.allocate(100, "given")
        block.publish("given", give=True)
        self.assertTrue(block.released)
        self.assertEqual([h.kind for h in kmem.holders()], ["name"])
        kmem.unpublish("given")

    def test_publish_and_give_with_a_live_view(self):
        block = kmem.allocate(100, "given")
        view = memoryview(block)
        block.publish("given", give=True)
        self.assertTrue(block.released)
        self.assertEqual([h.kind for h in kmem.holders()], ["owner", "name"])
        view[0] = 1
        view.release()
        self.assertEqual([h.kind for h in kmem.holders()], ["name"])
        kmem.unpublish("given")

    def test_publish_exclusive_is_EEXIST(self):
        child = self.child(
            "block = kmem.allocate(9, 'mine')\nblock.publish('mine')\nprint(flush=True)\n"
            "sys.stdin.read()"
        )
        child.hear()
        with kmem.allocate(9, "also") as block:
            with self.assertRaises(FileExistsError):
                block.publish("mine", exclusive=True)
            with self.assertRaises(FileExistsError):
                block.publish("mine", exclusive=True, give=True)
            self.assertFalse(block.released)
            block.publish("mine")
        self.assertEqual(child.end(), 0)
        kmem.unpublish("mine")

    def test_a_name_that_is_kept(self):
        child = self.child(
            "for keep in (False, True):\n"
            "    kmem.allocate(9, 'left').publish(f'left/{keep}', keep=keep)"
        )
        self.assertEqual(child.end(), 0)
        harness.until(lambda: [name.name for name in kmem.names()] == ["left/True"])
        name = kmem.names()[0]
        self.assertEqual((name.keep, name.pid, name.n_holders, name.num_bytes), (True, 0, 0, 9))
        self.assertEqual(name.block_reason, "left")
        kmem.unpublish("left/True")

    def test_holders(self):
        with kmem.allocate(100, "held") as block, kmem.allocate(200, "other") as other:
            other.share()
            block.publish("held/name")
            child = self.child(ATTACH, block.share(), True)
            child.hear()
            rows = kmem.holders(block)
            self.assertEqual(
                [(row.kind, row.reason, row.write, row.pid) for row in rows],
                [("owner", "held", True, os.getpid()), ("name", "held/name", False, os.getpid()),
                 ("attached", "attached", True, child.process.pid)],
            )
            self.assertEqual(kmem.holders(block.offset), kmem.holders(block.handle))
            self.assertEqual(len(kmem.holders()), 4)
            self.assertEqual(child.end(), 0)
            kmem.unpublish("held/name")

    def test_a_killed_holder_holds_nothing(self):
        block = kmem.allocate(100, "held")
        child = self.child(ATTACH, block.share(), False)
        child.hear()
        self.assertEqual(len(kmem.holders(block)), 2)
        child.kill()
        harness.until(lambda: len(kmem.holders(block)) == 1)

    def test_usage_and_ledger(self):
        with kmem.allocate(100, "ledger/a#1"), kmem.allocate(200, "ledger/b"):
            usage = kmem.usage()
            self.assertEqual((usage["used_bytes"], usage["blocks"]), (300, 2))
            self.assertEqual(
                [(row.key, row.num_bytes, row.n_blocks) for row in kmem.ledger()],
                [("ledger/b", 200, 1), ("ledger/a", 100, 1)],
            )
            self.assertEqual(kmem.ledger(by="client")[0].pid, os.getpid())
            self.assertEqual(kmem.ledger("uid")[0].uid, os.getuid())
            with self.assertRaises(ValueError):
                kmem.ledger("colour")


if __name__ == "__main__":
    harness.main()
