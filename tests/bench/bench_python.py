# SPDX-License-Identifier: MIT
"""bench_python.py [--output FILE] - pass a numpy array of 100 MB to another process and back

Four ways through multiprocessing.Queue, in turns, beside a daemon of its own ($KMEM_BIN/kmemd):

    pickle          the array itself: its bytes are copied through a pipe, there and back
    shared_memory   by hand: the name of a SharedMemory, which the other process opens and closes
    kmem_by_hand    the same with a handle, which the other process attaches and lets go of
    kmem            an array of kmem.zeros(): pickled as its handle, and held on its way

The other process writes one element before it sends the array back. Prints medians, 99th
percentiles and ratios of the run, and writes them as lines of: what, unit, median, p99.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing import shared_memory

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import harness  # noqa: E402
import kmem  # noqa: E402
import numpy  # noqa: E402

N_BYTES = 100_000_000
TURNS = {"pickle": 4, "shared_memory": 200, "kmem_by_hand": 200, "kmem": 200}  # of each round
N_ROUNDS = 5
BARS = (("pickle", "kmem", 300), ("shared_memory", "kmem_by_hand", 1), ("shared_memory", "kmem", 1))


def echo_arrays(inbox, outbox):
    while (array := inbox.get()) is not None:
        array[0] += 1
        outbox.put(array)


def echo_names(inbox, outbox):
    for name, shape, dtype in iter(inbox.get, None):
        memory = shared_memory.SharedMemory(name)
        array = numpy.ndarray(shape, dtype, buffer=memory.buf)
        array[0] += 1
        del array
        memory.close()
        outbox.put((name, shape, dtype))


def echo_handles(inbox, outbox):
    while (message := inbox.get()) is not None:
        handle, shape, dtype = message
        with kmem.attach(handle, writable=True, reason="bench/echo") as block:
            array = block.array(dtype, shape)
            array[0] += 1
            del array
        outbox.put(message)


class Contestant:
    """A process at the other end of two queues, and an array to be passed."""

    def __init__(self, echo):
        self.inbox, self.outbox = multiprocessing.Queue(), multiprocessing.Queue()
        self.process = multiprocessing.Process(target=echo, args=(self.inbox, self.outbox))
        self.process.start()
        self.samples = []
        self.n_passed = 0

    def run(self, n_turns):
        for _ in range(n_turns):
            begin = time.perf_counter_ns()
            self.turn()
            self.samples.append(time.perf_counter_ns() - begin)
            self.n_passed += 1
            if self.array[0] != self.n_passed:
                raise AssertionError("the other process has not seen the array")

    def turn(self):
        self.inbox.put(self.array)
        self.array = self.outbox.get()

    def end(self):
        self.inbox.put(None)
        self.process.join()


class Pickle(Contestant):
    def __init__(self):
        super().__init__(echo_arrays)
        self.array = numpy.zeros(N_BYTES // 8)


class Kmem(Contestant):
    def __init__(self):
        super().__init__(echo_arrays)
        self.array = kmem.zeros(N_BYTES // 8, numpy.float64, "bench/array")


class ByHand(Contestant):
    def __init__(self):
        self.memory = shared_memory.SharedMemory(create=True, size=N_BYTES)
        super().__init__(echo_names)
        self.array = numpy.ndarray(N_BYTES // 8, numpy.float64, buffer=self.memory.buf)

    def turn(self):
        self.inbox.put((self.memory.name, self.array.shape, self.array.dtype))
        self.outbox.get()

    def end(self):
        super().end()
        self.array = None
        self.memory.close()
        self.memory.unlink()


class KmemByHand(Contestant):
    def __init__(self):
        super().__init__(echo_handles)
        self.array = kmem.zeros(N_BYTES // 8, numpy.float64, "bench/array")

    def turn(self):
        handle = self.array.block.handle or self.array.block.share()
        self.inbox.put((handle, self.array.shape, self.array.dtype))
        self.outbox.get()


def percentile(samples, percent):
    return sorted(samples)[min(len(samples) - 1, len(samples) * percent // 100)]


def report(contestants, output):
    median = {}
    for what, contestant in contestants.items():
        samples = [sample / 1000 for sample in contestant.samples]
        median[what] = statistics.median(samples)
        line = (f"python_100MB_there_and_back_{what}", "us", f"{median[what]:.1f}",
                f"{percentile(samples, 99):.1f}")
        print("{0:46} {2:>10} us   p99 {3:>10} us   ({4} turns)".format(*line, len(samples)))
        print(*line, sep="\t", file=output)
    for what, ours, bar in BARS:
        ratio = median[what] / median[ours]
        print(f"{what} / {ours}: {ratio:.2f} (wanted: {bar} or more)")
        print(f"python_{what}_over_{ours}", "ratio", f"{ratio:.2f}", bar, sep="\t", file=output)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", default=os.devnull)
    arguments = parser.parse_args()
    daemon = harness.Daemon("512MiB")
    contestants = {"pickle": Pickle(), "shared_memory": ByHand(),
                   "kmem_by_hand": KmemByHand(), "kmem": Kmem()}
    for contestant in contestants.values():
        contestant.run(2)  # the first has to join, or to map
        contestant.samples.clear()
    for _ in range(N_ROUNDS):
        for what, contestant in contestants.items():
            contestant.run(TURNS[what])
    for contestant in contestants.values():
        contestant.end()
    with open(arguments.output, "w", encoding="utf-8") as output:
        report(contestants, output)
    del contestants
    return daemon.stop()


if __name__ == "__main__":
    sys.exit(main())
