# SPDX-License-Identifier: MIT
"""What a call of kmem that fails raises: kmem.Error, and the standard library's class as well.

Each has the errno of the call and kmemd's whole sentence: ``error.errno``, ``error.strerror``.
``except FileNotFoundError`` catches a name that means nothing, ``except MemoryError`` a segment
that is full; ``except kmem.Error`` catches all of them.
"""

import builtins
import errno


class Error(OSError):
    """A call of kmem has failed; .errno is the library's, .strerror its whole sentence."""


class InvalidError(Error, ValueError):
    """EINVAL: an argument can not be."""


class NotFoundError(Error, FileNotFoundError):
    """ENOENT: there is no such name; or no daemon where one was looked for."""


class ExistsError(Error, FileExistsError):
    """EEXIST: the name is another process's, and was to be had exclusively."""


class DeniedError(Error, PermissionError):
    """EACCES, EPERM: the handle or the name does not allow that, or the block is not one's own."""


class NoRoomError(Error, MemoryError):
    """ENOMEM: the segment is full, or a quota; the sentence says who holds the most."""


class TimedOutError(Error, builtins.TimeoutError):
    """EAGAIN: nothing newer in that time. ETIMEDOUT: the daemon did not answer in time."""


class NoRoomInTimeError(TimedOutError, NoRoomError):
    """ENOMEM: allocate() waited for room, and there was none in that time."""


class StaleError(Error):
    """ESTALE: the block that the handle led to is gone, or the segment is another one."""


class EndedError(Error, ConnectionResetError):
    """ECONNRESET: the segment has ended."""


class RefusedError(Error, ConnectionRefusedError):
    """ECONNREFUSED: no daemon listens."""


BY_ERRNO = {
    errno.EINVAL: InvalidError,
    errno.ENOENT: NotFoundError,
    errno.EEXIST: ExistsError,
    errno.EACCES: DeniedError,
    errno.EPERM: DeniedError,
    errno.ENOMEM: NoRoomError,
    errno.EAGAIN: TimedOutError,
    errno.ETIMEDOUT: TimedOutError,
    errno.ESTALE: StaleError,
    errno.ECONNRESET: EndedError,
    errno.ECONNREFUSED: RefusedError,
}

for _class in {Error, NoRoomInTimeError, *BY_ERRNO.values()}:
    _class.__module__ = "kmem"  # where they are found, and what a traceback shows
