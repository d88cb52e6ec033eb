# SPDX-License-Identifier: MIT
"""Blocks and arrays that are pickled: who holds them on their way, and what arrives."""

import copy
import gc
import multiprocessing
import pickle
import signal

import kmem
import numpy

import harness

LARGE = 30 << 20  # half of the segment: were it copied into another block, there would be no room


def add_one(array):
    array += 1
    return array


def total(block):
    return sum(bytes(block))


def make(number):
    """A block that nothing but its pickle holds, once the worker has returned it."""
    block = kmem.allocate(1 << 20, "made")
    memoryview(block)[0] = number
    return block


def serve(inbox, outbox):
    for block in iter(inbox.get, None):
        memoryview(block)[0] += 1
        outbox.put(block)


class Pickling(harness.TestCase):
    def tearDown(self):
        gc.collect()
        self.assertEqual(kmem.names(), [])
        self.assertNothingHeld()

    def test_a_pickle_is_a_handle(self):
        array = kmem.zeros(LARGE, numpy.uint8, "large")
        data = pickle.dumps(array)
        self.assertLess(len(data), 1000)
        other = pickle.loads(data)
        other[5] = 6
        self.assertEqual(array[5], 6)
        self.assertEqual((other.block.reason, other.block.writable), ("large", True))

    def test_the_pickle_holds_the_block(self):
        data = pickle.dumps(make(3))
        gc.collect()
        self.assertRegex(kmem.names()[0].name, "^pickle/")
        self.assertEqual([h.kind for h in kmem.holders()], ["name"])
        block = pickle.loads(data)
        self.assertEqual(kmem.names(), [])
        self.assertEqual(bytes(block)[0], 3)
        self.assertEqual(bytes(pickle.loads(data))[0], 3)  # again, while it lives
        block.release()
        with self.assertRaisesRegex(kmem.StaleError, "keep=True"):
            pickle.loads(data)

    def test_a_pickle_ends_with_the_process_that_made_it(self):
        child = self.child(
            "import pickle\nblock = kmem.allocate(10, 'pickled')\n"
            "print(pickle.dumps(block).hex(), flush=True)\nsys.stdin.read()"
        )
        data = bytes.fromhex(child.hear())
        self.assertEqual(child.kill(), -signal.SIGKILL)
        self.assertNothingHeld()
        self.assertEqual(kmem.names(), [])
        with self.assertRaises(kmem.StaleError):
            pickle.loads(data)

    def test_what_is_lent_for_reading_arrives_so(self):
        with kmem.allocate(10, "read") as block:
            block.share(read_only=True)
            self.assertFalse(pickle.loads(pickle.dumps(block)).writable)
            with kmem.attach(block.handle) as reader:
                self.assertFalse(pickle.loads(pickle.dumps(reader)).writable)

    def test_a_block_that_was_found_by_name(self):
        child = self.child(
            "block = kmem.allocate(10, 'found')\nmemoryview(block)[0] = 8\n"
            "block.publish('found')\nprint(flush=True)\nsys.stdin.read()"
        )
        child.hear()
        found = kmem.find("found", reason="finder")
        self.assertIsNone(found.handle)
        arrived = pickle.loads(pickle.dumps(found))
        self.assertEqual((bytes(arrived)[0], arrived.writable), (8, False))
        self.assertEqual(child.end(), 0)
        harness.until(lambda: kmem.names() == [])
        self.assertEqual(bytes(arrived)[0], 8)

    def test_a_copy_is_another_hold(self):
        block = kmem.allocate(10, "copied")
        other = copy.copy(block)
        block.release()
        memoryview(other)[0] = 1

    def test_all_protocols(self):
        block = kmem.allocate(10, "protocols")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertEqual(pickle.loads(pickle.dumps(block, protocol)).offset, block.offset)
            array = pickle.loads(pickle.dumps(block.array(), protocol))
            self.assertEqual(array.block.offset, block.offset)

    def test_views_of_an_array(self):
        array = kmem.zeros((4, 6), numpy.int32, "views")
        array[:] = numpy.arange(24).reshape(4, 6)
        for view in (array, array[1:], array[:, ::2], array.T, array[::-1, 3], array.ravel()[5:7]):
            arrived = pickle.loads(pickle.dumps(view))
            numpy.testing.assert_array_equal(arrived, view)
            self.assertTrue(numpy.shares_memory(arrived, kmem.attach(array.block.handle).array())
                            or arrived.block.offset == array.block.offset)
            self.assertIsInstance(arrived, kmem.Array)
        view[0] = 77
        self.assertEqual(arrived[0], 77)

    def test_structured_and_empty_arrays(self):
        pair = numpy.dtype([("a", numpy.int8), ("b", numpy.float64)])
        array = kmem.zeros(3, pair, "structured")
        array["b"] = 1.5
        self.assertEqual(pickle.loads(pickle.dumps(array))["b"].tolist(), [1.5] * 3)
        self.assertEqual(pickle.loads(pickle.dumps(array[:0])).shape, (0,))
        with self.assertRaises(ValueError):
            kmem.zeros(3, object, "objects")

    def test_what_is_computed_is_a_copy(self):
        array = kmem.zeros(5, reason="computed")
        result = array + 1
        self.assertIsNone(result.block)
        arrived = pickle.loads(pickle.dumps(result))
        self.assertEqual(type(arrived), numpy.ndarray)
        self.assertEqual(arrived.tolist(), [1.0] * 5)


class Processes(harness.TestCase):
    def tearDown(self):
        gc.collect()
        self.assertNothingHeld()
        self.assertEqual(kmem.names(), [])

    def test_a_queue_there_and_back(self):
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            inbox, outbox = context.Queue(), context.Queue()
            process = context.Process(target=serve, args=(inbox, outbox))
            process.start()
            block = kmem.allocate(LARGE, "queue")
            for number in range(1, 4):
                inbox.put(block)
                block = outbox.get()  # the hold of before is dropped
                self.assertEqual(bytes(memoryview(block)[:1])[0], number)
            inbox.put(None)
            process.join()
            block.release()
            self.assertNothingHeld()

    def test_a_pool(self):
        with multiprocessing.Pool(2) as pool:
            array = kmem.zeros(1000, numpy.int64, "pool")
            for _ in range(3):
                array = pool.apply(add_one, (array,))
            self.assertEqual(array.tolist(), [3] * 1000)
            del array
            made = pool.map(make, range(10))
            self.assertEqual([bytes(block)[0] for block in made], list(range(10)))
            self.assertEqual(pool.map(total, made), list(range(10)))
            del made
            pool.close()
            pool.join()

    def test_arguments_of_a_process(self):
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            array = kmem.zeros(10, numpy.uint8, "argument")
            array.block.share()
            process = context.Process(target=add_one, args=(array,))
            process.start()
            process.join()
            self.assertEqual((process.exitcode, array.tolist()), (0, [1] * 10))

    def test_a_worker_that_ends_hands_over(self):
        queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=hand_over, args=(queue,))
        process.start()
        process.join()
        with kmem.attach(queue.get(), writable=True, reason="taken over") as block:
            self.assertEqual(bytes(block)[0], 9)


def hand_over(queue):
    block = make(9)
    queue.put(block.transfer(keep=True))


if __name__ == "__main__":
    harness.main()
