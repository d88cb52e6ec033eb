# SPDX-License-Identifier: MIT
"""Handles, and the rows that questions are answered with. All are plain tuples."""

from typing import NamedTuple


class Handle(NamedTuple):
    """What leads to a shared block. Plain data: it may travel in a pipe, a file, or a block.

    str(handle) is its text, ``kmem://host/segment/offset+size@generation/tag``.
    """

    instance: int
    generation: int
    tag: int
    offset: int
    num_bytes: int

    @classmethod
    def from_text(cls, text: str) -> "Handle":
        """The handle that a text stands for.

        InvalidError: it is none. StaleError: it is of another host or segment.
        """
        from kmem import _kmem

        return _kmem.handle_from_text(text)

    def __str__(self) -> str:
        from kmem import _kmem

        return _kmem.handle_to_text(self)

    def __repr__(self) -> str:
        # The tag is what makes a handle unguessable: it is not for logs.
        return (
            f"<kmem.Handle of {self.num_bytes} bytes at offset {self.offset:#x},"
            f" generation {self.generation}>"
        )


class LedgerRow(NamedTuple):
    """One group of live blocks."""

    key: str  # the reason, the command, or the user id in digits
    n_blocks: int
    num_bytes: int  # as asked for, unrounded
    oldest_ms: int  # age of the oldest block
    pid: int  # by client; 0: kmemd can not see it; else 0
    uid: int  # by client and by uid, else 0


class Holder(NamedTuple):
    """One holder of a shared block."""

    offset: int  # of the block
    num_bytes: int
    generation: int  # of its handle
    block_reason: str  # the block's own, from its allocation
    kind: str  # "owner", "attached", "name" or "offer"
    pid: int  # 0: it has ended, or kmemd can not see it
    uid: int
    command: str  # "" if the process has ended
    reason: str  # why it is held; of a name, the name
    age_ms: int  # since it was attached; of an owner and an offer, since it was shared
    write: bool  # the holder may write to it


class Name(NamedTuple):
    """One name, and what it means."""

    name: str
    version: int  # since which it means this block; greater than any before
    offset: int  # of the block
    num_bytes: int
    block_reason: str
    pid: int  # of the process that published it; 0: that has ended, or kmemd can not see it
    uid: int
    command: str  # "" if that process has ended
    keep: bool  # the name outlives that process
    n_holders: int  # how many processes hold the block; 0: names alone keep it


for _class in (Handle, LedgerRow, Holder, Name):
    _class.__module__ = "kmem"
