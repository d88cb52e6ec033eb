# SPDX-License-Identifier: MIT
"""The standard library's multiprocessing.shared_memory, in a kmemd segment.

    from kmem import shared_memory          # was: from multiprocessing import shared_memory

Names, arguments and errors are those of the standard library. A block lives while any process has
it open, or its name is there; the name ends by unlink(), or with the process that created it. So
nothing is left behind by SIGKILL, there is no resource tracker, and `kmemctl names` and `kmemctl
holders` show each of them. docs/python.md lists what differs.
"""

import multiprocessing.shared_memory as _standard
import os
import secrets
import threading
import types

from kmem import _kmem
from kmem._errors import ExistsError, NotFoundError, TimedOutError

__all__ = ["SharedMemory", "ShareableList"]

_USE_POSIX = True
_SHM_SAFE_NAME_LENGTH = 14
_SHM_NAME_PREFIX = "/psm_"
_O_CREX = os.O_CREAT | os.O_EXCL
_creating = threading.Lock()


def _make_filename():
    """A random name, as the standard library makes them."""
    n_bytes = (_SHM_SAFE_NAME_LENGTH - len(_SHM_NAME_PREFIX)) // 2
    return _SHM_NAME_PREFIX + secrets.token_hex(n_bytes)


def _begin_child():
    global _creating
    _creating = threading.Lock()  # another thread of the parent may have had it


os.register_at_fork(after_in_child=_begin_child)


class SharedMemory:
    """Creates a block of shared memory, or attaches one by its name.

    name:    what other processes attach it by; None, when it is created: a new one
    create:  True: create it; it must not exist. False: it must exist
    size:    in bytes, when it is created; else ignored
    track:   False: the name outlives the process that creates it, until unlink()
    """

    _name = None
    _block = None
    _buf = None
    _size = 0
    _flags = os.O_RDWR

    def __init__(self, name=None, create=False, size=0, *, track=True):
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create:
            self._flags = _O_CREX | os.O_RDWR
            if size == 0:
                raise ValueError("'size' must be a positive number different from zero")
        if name is None and not self._flags & os.O_EXCL:
            raise ValueError("'name' can only be None if create=True")
        if name is not None:
            self._open("/" + name, size, track)
        else:
            self._open_unnamed(size, track)
        self._size = len(self._block)
        self._buf = memoryview(self._block)

    def _open_unnamed(self, size, track):
        while True:
            try:
                return self._open(_make_filename(), size, track)
            except FileExistsError:
                continue

    def _open(self, name, size, track):
        if self._flags & os.O_CREAT:
            try:
                self._create(name, size, track)
            except FileExistsError:
                if self._flags & os.O_EXCL:
                    raise
                self._find(name)
        else:
            self._find(name)
        self._name = name

    def _find(self, name):
        self._block = _kmem.find(name[1:], writable=True, reason=f"shared_memory#{name[1:]}")

    def _create(self, name, size, track):
        # EXCLUSIVE keeps other processes out; of this one, the lock does.
        with _creating:
            if _exists(name[1:]):
                raise ExistsError(17, f"the name {name[1:]!r} is there already")
            block = _kmem.allocate(size, f"shared_memory#{name[1:]}")
            block.publish(name[1:], exclusive=True, keep=not track)
            self._block = block

    def __reduce__(self):
        return (self.__class__, (self.name, False, self.size))

    def __repr__(self):
        return f"{self.__class__.__name__}({self.name!r}, size={self.size})"

    @property
    def buf(self):
        "A memoryview of contents of the shared memory block."
        if self._block is not None and self._block.inherited:
            self._attach_anew()
        return self._buf

    def _attach_anew(self):
        """In a forked child, which holds nothing of what its parent holds."""
        offset = self._block.offset
        block = _kmem.find(self.name, writable=True, reason=f"shared_memory#{self.name}")
        if block.offset != offset:
            raise NotFoundError(2, f"{self.name!r} is another block than before the fork")
        self._block = block
        self._buf = memoryview(block)

    @property
    def name(self):
        "Unique name that identifies the shared memory block."
        return self._name[1:]

    @property
    def size(self):
        "Size in bytes."
        return self._size

    def close(self):
        """Closes access to the shared memory from this instance but does
        not destroy the shared memory block."""
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._block is not None and self._block.n_views > 0:
            raise BufferError(f"{self._block.n_views} views of {self.name!r} are alive")
        # numpy.ndarray(buffer=shm.buf) holds on to the block without being counted as a view of it:
        # the block is dropped, not released, and the last such array lets go of it.
        self._block = None

    def unlink(self):
        """Requests that the underlying shared memory block be destroyed.

        It should be called once, by one of the processes that have it open; it is gone when the
        last of them has closed it."""
        if self._name:
            _kmem.unpublish(self.name)


def _exists(name):
    try:
        _kmem.wait(name, timeout=0)
    except TimedOutError:
        return False
    return True


def _with_ours(function):
    """A function of the standard library's module, with this SharedMemory in it for its own."""
    scope = {**vars(_standard), "SharedMemory": SharedMemory}
    ours = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
    ours.__kwdefaults__ = function.__kwdefaults__
    return ours


class ShareableList(_standard.ShareableList):
    __doc__ = _standard.ShareableList.__doc__
    __init__ = _with_ours(_standard.ShareableList.__init__)
