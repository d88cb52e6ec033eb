# SPDX-License-Identifier: MIT
"""A work queue: two workers sharpen images, and no image is copied.

multiprocessing pickles what goes through a queue; an array of kmem.zeros() is pickled as a handle
of a few hundred bytes. The receiver attaches it, and the process that has it last lets go of it:
`kmemctl holders` shows meanwhile which that is.
"""

import multiprocessing
import os
import signal

import kmem
import numpy

N_IMAGES = 12
SHAPE = (600, 800)


def sharpen(image):
    """Twice the image, less its mean: into a block of the worker's own."""
    result = kmem.zeros(SHAPE, numpy.float32, "queue/sharp")
    numpy.multiply(image, 2, out=result)
    result -= image.mean()
    return result


def work(todo, done):
    for number, image in iter(todo.get, None):
        done.put((number, sharpen(image)))


def images():
    for number in range(N_IMAGES):
        image = kmem.zeros(SHAPE, numpy.float32, "queue/image")
        image[:] = number
        yield number, image  # nothing but the queue has it after this


def hold_for_ever(done):
    image = kmem.zeros(SHAPE, numpy.float32, "queue/lost")
    done.put(image.nbytes)
    signal.pause()


def main():
    todo, done = multiprocessing.Queue(4), multiprocessing.Queue(4)
    workers = [multiprocessing.Process(target=work, args=(todo, done)) for _ in range(2)]
    for worker in workers:
        worker.start()

    source = images()
    for _ in range(4):
        todo.put(next(source))
    n_right = 0
    for _ in range(N_IMAGES):
        number, sharp = done.get()
        n_right += bool((sharp == number).all())
        del sharp
        following = next(source, None)
        if following is not None:
            todo.put(following)

    # A worker that is killed with an image in its hands leaves nothing behind, either.
    holder = multiprocessing.Process(target=hold_for_ever, args=(done,))
    holder.start()
    done.get()
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()

    # What is on its way lives as long as its sender: the workers end when all of it has arrived.
    for _ in workers:
        todo.put(None)
    for worker in workers:
        worker.join()
    print(f"{n_right} of {N_IMAGES} images are right")
    return 0 if n_right == N_IMAGES else 1


if __name__ == "__main__":
    raise SystemExit(main())
