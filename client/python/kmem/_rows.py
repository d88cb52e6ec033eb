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

    key: str  # the reason, command or unit; in digits the user id, largest size or least age
    n_blocks: int
    num_bytes: int  # as asked for, unrounded
    oldest_ms: int  # age of the oldest block
    pid: int  # by client; 0: kmemd can not see it; else 0
    uid: int  # by client and by uid, else 0


class BlockRow(NamedTuple):
    """One live block, as the daemon lists it."""

    offset: int
    num_bytes: int  # as asked for
    reason: str
    pid: int  # the owner; 0: kmemd can not see it
    uid: int
    command: str  # the owner's
    age_ms: int
    leased: bool  # carved by its owner, whose ledger says so; the daemon does not verify it
    shared: bool  # others may hold it
    n_holders: int  # of a shared block: how many processes hold it
    n_names: int  # of a shared block: how many names mean it


class Limit(NamedTuple):
    """One limit of the daemon, and how near it is."""

    name: str
    unit: str  # "bytes" or "count"
    text: str
    used: int  # of a limit for each: by the one with the most
    limit: int  # 0: there is none


class Refusal(NamedTuple):
    """What was asked for, and refused."""

    number: int
    asked: str  # "block", "lease", "sharing" or "joining"
    why: str  # "no_room", "quota", ...; refusal_counts() explains each
    pid: int  # of the process that asked; 0: kmemd can not see it
    uid: int
    command: str
    reason: str  # that was given for the block; "" if none was
    n_times: int  # how often, in a row or nearly so
    first_ms_ago: int
    last_ms_ago: int  # the last of those times; what follows was so then
    num_bytes: int  # asked for; 0: of no memory
    free_bytes: int
    largest_extent_bytes: int
    used: int  # what stood against it
    limit: int  # 0: it is not about a number


class RefusalCount(NamedTuple):
    """How often something was refused for one cause, since the segment was made."""

    asked: str
    why: str
    text: str
    n_times: int


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


for _class in (Handle, LedgerRow, BlockRow, Limit, Refusal, RefusalCount, Holder, Name):
    _class.__module__ = "kmem"
