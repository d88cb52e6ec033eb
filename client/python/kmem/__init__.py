# SPDX-License-Identifier: MIT
"""Shared memory in which every byte has an owner and a reason.

A daemon, kmemd, owns one segment of shared memory; this package asks it for blocks, shares them
with other processes, and says who holds what. A block has the buffer protocol: numpy.frombuffer()
and memoryview() look at it without a copy.

    with kmem.allocate(1000, "101 frames") as block:
        memoryview(block)[:5] = b"hello"
        block.publish("greeting", give=True)

    for block in kmem.follow("greeting", reason="listener"):
        print(bytes(block)[:5])

Which daemon is asked is said by $KMEM_SOCKET or $KMEM_SEGMENT, as for every program of libkmem.
docs/python.md has the whole story.
"""

from __future__ import annotations

from typing import Iterator, Optional, Union

from kmem._errors import (
    DeniedError,
    EndedError,
    Error,
    ExistsError,
    InvalidError,
    NoRoomError,
    NoRoomInTimeError,
    NotFoundError,
    RefusedError,
    StaleError,
    TimedOutError,
)
from kmem._rows import (
    BlockRow,
    Handle,
    Holder,
    LedgerRow,
    Limit,
    Name,
    Refusal,
    RefusalCount,
)
from kmem._kmem import (
    Block,
    allocate,
    attach,
    blocks,
    find,
    ledger,
    limits,
    names,
    next,
    refusal_counts,
    refusals,
    unpublish,
    usage,
    wait,
)
from kmem import _kmem, _pickling

__all__ = [  # and Array, where numpy is
    "Block",
    "BlockRow",
    "DeniedError",
    "EndedError",
    "Error",
    "ExistsError",
    "Handle",
    "Holder",
    "InvalidError",
    "LedgerRow",
    "Limit",
    "Name",
    "NoRoomError",
    "NoRoomInTimeError",
    "NotFoundError",
    "Refusal",
    "RefusalCount",
    "RefusedError",
    "StaleError",
    "TimedOutError",
    "allocate",
    "attach",
    "blocks",
    "find",
    "follow",
    "holders",
    "ledger",
    "limits",
    "names",
    "next",
    "publish",
    "refusal_counts",
    "refusals",
    "unpublish",
    "usage",
    "wait",
    "zeros",
]

_pickling.register()


def __getattr__(name: str):
    if name != "Array":
        raise AttributeError(f"module 'kmem' has no attribute {name!r}")
    from kmem._array import Array  # when it is asked for: it needs numpy

    return Array


def publish(
    block: Block, name: str, *, give: bool = False, keep: bool = False, exclusive: bool = False
) -> int:
    """Let a name mean a block: block.publish(name, ...). Return its version."""
    return block.publish(name, give=give, keep=keep, exclusive=exclusive)


def follow(
    name: str,
    *,
    after: int = 0,
    writable: bool = False,
    reason: Optional[str] = None,
    timeout: Optional[float] = None,
) -> Iterator[Block]:
    """Each newer block that a name means, one after the other; waits for them.

    The block before is given up with each step, in the same request: it can not be looked at any
    more, but through views that live on; those keep it until the last of them has gone. After a
    `break` the last one stays as it is. A block that was replaced before this process came to it is
    left out. TimedOutError: nothing newer came in `timeout` seconds.
    """
    block = None
    while True:
        block = _kmem.next(
            name, block, after=after, writable=writable, reason=reason, timeout=timeout
        )
        yield block


def holders(of: Union[None, int, Block, Handle] = None) -> list[Holder]:
    """Who holds the shared blocks; of one: a block, a handle, or an offset."""
    offset = 0 if of is None else of if isinstance(of, int) else of.offset
    return _kmem.holders(offset)


def zeros(shape, dtype=float, reason: Optional[str] = None):
    """A numpy array of zeros in a block of its own, which is pickled as the block's handle."""
    from kmem import _array

    return _array.zeros(shape, dtype, reason)
