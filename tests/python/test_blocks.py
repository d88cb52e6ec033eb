# SPDX-License-Identifier: MIT
"""kmem.Block: the hold, its views, and what lets go of it."""

import errno
import gc
import signal
import threading

import kmem
import numpy

import harness


class Blocks(harness.TestCase):
    def tearDown(self):
        gc.collect()
        self.assertNothingHeld()

    def test_allocate_gives_zeros(self):
        with kmem.allocate(101, "101 bytes") as block:
            self.assertEqual(bytes(block), bytes(101))
            self.assertEqual((len(block), block.num_bytes, block.reason), (101, 101, "101 bytes"))
            self.assertEqual((block.writable, block.released, block.version), (True, False, 0))
            self.assertIn("101 bytes", repr(block))
            self.assertEqual(harness.reasons(), ["101 bytes"])
        self.assertTrue(block.released)
        self.assertIn("released", repr(block))

    def test_allocate_without_a_reason(self):
        with kmem.allocate(1) as block:
            self.assertIsNone(block.reason)
            self.assertEqual(harness.reasons(), ["<no reason given>"])

    def test_a_large_block(self):
        with kmem.allocate(20 << 20, "large") as block:
            memoryview(block)[-1] = 7
            self.assertEqual(memoryview(block)[-1], 7)

    def test_allocate_waits_until_there_is_room(self):
        holder = kmem.allocate(40 << 20, "in the way")
        threading.Timer(0.2, holder.release).start()
        with kmem.allocate(40 << 20, "late", timeout=60) as block:
            self.assertEqual(block.num_bytes, 40 << 20)

    def test_allocate_in_vain_is_TimeoutError_and_MemoryError(self):
        with kmem.allocate(40 << 20, "in the way"):
            for timeout in (0, 0.05):
                with self.assertRaises(kmem.NoRoomInTimeError) as caught:
                    kmem.allocate(40 << 20, "late", timeout=timeout)
                self.assertIsInstance(caught.exception, TimeoutError)
                self.assertIsInstance(caught.exception, kmem.NoRoomError)
                self.assertIsInstance(caught.exception, MemoryError)
                self.assertEqual(caught.exception.errno, errno.ENOMEM)
                self.assertIn("no room for 40.0 MiB", caught.exception.strerror)
            with self.assertRaises(kmem.NoRoomError) as caught:
                kmem.allocate(40 << 20, "at once")
            self.assertNotIsInstance(caught.exception, TimeoutError)

    def test_allocate_of_timeouts_that_can_not_be(self):
        for timeout in (-1, float("nan")):
            with self.assertRaises(ValueError):
                kmem.allocate(1, timeout=timeout)
        with self.assertRaises(TypeError):
            kmem.allocate(1, timeout="soon")
        kmem.allocate(1, timeout=float("inf")).release()

    def test_a_signal_ends_an_allocation_that_waits(self):
        def interrupt(number, frame):
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            with kmem.allocate(40 << 20, "in the way"):
                main = threading.main_thread().ident
                later = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGUSR1))
                with self.assertRaises(KeyboardInterrupt):
                    later.start()  # inside: it may come before the allocation has begun to wait
                    kmem.allocate(40 << 20, "late", timeout=float("inf"))
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_the_class_makes_no_blocks(self):
        with self.assertRaises(TypeError):
            kmem.Block()

    def test_release_twice(self):
        block = kmem.allocate(10, "twice")
        block.release()
        block.release()
        block.give_up()

    def test_a_released_block_is_no_buffer(self):
        block = kmem.allocate(10, "released")
        block.release()
        for use in (memoryview, bytes, numpy.frombuffer, lambda b: b.publish("x"),
                    lambda b: b.share(), lambda b: b.transfer(), lambda b: b.__enter__()):
            with self.assertRaisesRegex(ValueError, "released"):
                use(block)

    def test_release_with_a_live_memoryview_is_BufferError(self):
        block = kmem.allocate(10, "viewed")
        view = memoryview(block)
        part = view[2:4]
        view.release()
        with self.assertRaisesRegex(BufferError, "1 views"):
            block.release()
        part[0] = 9  # nothing has changed
        self.assertEqual(bytes(block)[2], 9)
        part.release()
        block.release()

    def test_release_with_a_live_array_is_BufferError(self):
        for array_of in (lambda b: numpy.frombuffer(b, numpy.uint8), lambda b: b.array()):
            block = kmem.allocate(10, "viewed")
            array = array_of(block)[::2]
            with self.assertRaises(BufferError):
                block.release()
            with self.assertRaises(BufferError):
                block.transfer()
            array[0] = 3
            self.assertEqual(bytes(block)[0], 3)
            del array
            block.release()

    def test_a_view_outlives_its_block(self):
        view = memoryview(kmem.allocate(10, "outlived"))
        gc.collect()
        self.assertEqual(harness.reasons(), ["outlived"])
        view[3] = 1
        view.release()
        self.assertEqual(harness.reasons(), [])

    def test_with_leaves_the_hold_to_the_last_view(self):
        with kmem.allocate(16, "outlived") as block:
            array = numpy.frombuffer(block, numpy.uint32)
            view = memoryview(block)
        self.assertTrue(block.released)
        with self.assertRaises(ValueError):
            memoryview(block)
        block.release()  # was given up: there is nothing to refuse
        array[:] = 5
        view.release()
        self.assertEqual(harness.reasons(), ["outlived"])
        del array
        self.assertEqual(harness.reasons(), [])

    def test_with_lets_go_when_it_raises(self):
        with self.assertRaises(KeyError):
            with kmem.allocate(16, "raises"):
                raise KeyError
        self.assertEqual(harness.reasons(), [])

    def test_the_last_reference_lets_go(self):
        block = kmem.allocate(16, "dropped")
        del block
        self.assertEqual(harness.reasons(), [])

    def test_frombuffer_copies_nothing(self):
        with kmem.allocate(80, "no copy") as block:
            one = numpy.frombuffer(block, numpy.float64)
            other = block.array(numpy.float64, (2, 5))
            one[7] = 2.5
            self.assertEqual(other[1, 2], 2.5)
            self.assertTrue(numpy.shares_memory(one, other))
            del one, other

    def test_read_only_views(self):
        with kmem.allocate(8, "read") as block:
            with kmem.attach(block.share(), reason="reader") as reader:
                self.assertFalse(reader.writable)
                view = memoryview(reader)
                self.assertTrue(view.readonly)
                with self.assertRaises(TypeError):
                    view[0] = 1
                for array in (numpy.frombuffer(reader, numpy.uint8), reader.array()):
                    self.assertFalse(array.flags.writeable)
                    with self.assertRaises(ValueError):
                        array[0] = 1
                    with self.assertRaises(ValueError):
                        array.flags.writeable = True
                del view, array

    def test_holds_of_one_process_are_counted(self):
        block = kmem.allocate(8, "counted")
        others = [kmem.attach(block.share(), writable=True) for _ in range(3)]
        memoryview(others[0])[0] = 4
        block.release()
        others.pop().release()
        self.assertEqual(bytes(others[1])[0], 4)
        others.clear()
        self.assertEqual(harness.reasons(), [])

    def test_threads(self):
        def work(number):
            for i in range(300):
                with kmem.allocate(100 + number, "threads") as block:
                    view = memoryview(block)
                    view[0] = number
                    with kmem.attach(block.share()) as again:
                        self.assertEqual(bytes(again)[0], number)
                    view.release()

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_threads_let_go_of_one_block(self):
        for _ in range(200):
            block = kmem.allocate(100, "raced")
            barrier = threading.Barrier(4)

            def work(end):
                barrier.wait()
                try:
                    end()
                except (BufferError, ValueError):
                    pass  # it is in use, or gone; both are answers

            ends = (block.release, block.give_up, lambda: block.publish("raced"),
                    lambda: bytes(block))
            threads = [threading.Thread(target=work, args=(end,)) for end in ends]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            block.give_up()
        try:
            kmem.unpublish("raced")
        except FileNotFoundError:
            pass


if __name__ == "__main__":
    harness.main()
