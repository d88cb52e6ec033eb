# SPDX-License-Identifier: MIT
"""next(), follow() and wait(): what they let go of, and what ends them."""

import gc
import signal
import threading

import kmem

import harness


def put(number, name="stream"):
    """Publish a block of one byte, and let go of it."""
    block = kmem.allocate(1, "frame")
    memoryview(block)[0] = number
    return block.publish(name, give=True)


def get(block):
    return bytes(block)[0]


class Follow(harness.TestCase):
    def tearDown(self):
        gc.collect()
        for name in kmem.names():
            kmem.unpublish(name.name)
        self.assertNothingHeld()

    def test_follow_sees_each_newer_block(self):
        put(0)
        seen = []
        for block in kmem.follow("stream", reason="follower"):
            seen.append((get(block), block.version))
            if len(seen) == 5:
                break
            put(len(seen))
        self.assertEqual([number for number, _ in seen], [0, 1, 2, 3, 4])
        self.assertEqual(sorted(version for _, version in seen), [v for _, v in seen])
        self.assertEqual(get(block), 4)  # the last is held after the loop
        block.release()

    def test_follow_gives_the_block_before_up(self):
        put(0)
        blocks = []
        for block in kmem.follow("stream"):
            blocks.append(block)
            if len(blocks) == 3:
                break
            put(len(blocks))
        self.assertEqual([b.released for b in blocks], [True, True, False])
        self.assertEqual(harness.reasons(), ["frame"])
        self.assertEqual(kmem.ledger()[0].n_blocks, 1)

    def test_a_view_keeps_what_follow_gives_up(self):
        put(0)
        views = []
        for block in kmem.follow("stream"):
            views.append(memoryview(block))
            if len(views) == 3:
                break
            put(len(views))
        self.assertEqual([view[0] for view in views], [0, 1, 2])
        self.assertEqual(kmem.ledger()[0].n_blocks, 3)
        for view in views:
            view.release()
        self.assertEqual(kmem.ledger()[0].n_blocks, 1)

    def test_follow_leaves_out_what_was_replaced(self):
        put(0)
        follow = kmem.follow("stream")
        self.assertEqual(get(next(follow)), 0)
        put(1)
        put(2)
        self.assertEqual(get(next(follow)), 2)

    def test_follow_writable_and_after(self):
        version = put(0)
        put(1)
        for block in kmem.follow("stream", after=version, writable=True):
            memoryview(block)[0] += 4
            self.assertEqual(get(block), 5)
            break

    def test_next_with_nothing_newer_is_TimeoutError(self):
        put(0)
        block = kmem.next("stream", timeout=0)
        with self.assertRaises(TimeoutError) as caught:
            kmem.next("stream", block, timeout=0)
        self.assertIsInstance(caught.exception, kmem.Error)
        self.assertTrue(block.released)  # given up all the same
        with self.assertRaises(kmem.TimedOutError):
            for block in kmem.follow("stream", timeout=0.15):
                pass

    def test_next_of_arguments_that_can_not_be(self):
        put(0)
        block = kmem.next("stream")
        with self.assertRaises(ValueError):
            kmem.next("", block)
        self.assertFalse(block.released)
        for arguments in ({"last": 3}, {"timeout": "soon"}):
            with self.assertRaises(TypeError):
                kmem.next("stream", **arguments)
        for timeout in (-1, float("nan")):
            with self.assertRaises(ValueError):
                kmem.next("stream", timeout=timeout)
        self.assertEqual(kmem.wait("stream", timeout=float("inf")), block.version)

    def test_wait(self):
        with self.assertRaises(kmem.TimedOutError):
            kmem.wait("stream", timeout=0)
        version = put(0)
        self.assertEqual(kmem.wait("stream"), version)
        with self.assertRaises(kmem.TimedOutError):
            kmem.wait("stream", version, timeout=0.01)

    def test_a_thread_that_waits_has_no_GIL(self):
        answers = []
        calls = (
            lambda: answers.append(kmem.wait("late")),
            lambda: answers.append(kmem.next("late").version),
            lambda: answers.append(next(kmem.follow("late")).version),
        )
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
        version = put(1, "late")  # were the GIL held, this would never be reached
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [version] * 3)

    def test_a_signal_ends_a_wait(self):
        for call in ("kmem.wait('never')", "kmem.next('never')", "next(kmem.follow('never'))"):
            child = self.child(
                f"print(flush=True)\ntry:\n    {call}\nexcept KeyboardInterrupt:\n"
                "    print('interrupted', flush=True)"
            )
            child.hear()
            child.process.send_signal(signal.SIGINT)
            # It may have come before the try: that is the interpreter's, and ends it as well.
            self.assertIn(child.hear(), ("interrupted", ""))
            child.process.wait()

    def test_a_handler_that_returns_does_not_end_a_wait(self):
        # Not by print(): the signal may come while the print() before it is still under way.
        child = self.child(
            "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'signal\\n'))\n"
            "print('ready', flush=True)\nprint(kmem.wait('stream'), flush=True)"
        )
        self.assertEqual(child.hear(), "ready")
        child.process.send_signal(signal.SIGUSR1)
        self.assertEqual(child.hear(), "signal")
        version = put(0)
        self.assertEqual(child.hear(), str(version))
        self.assertEqual(child.end(), 0)


if __name__ == "__main__":
    harness.main()
