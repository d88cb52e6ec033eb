# SPDX-License-Identifier: MIT
"""A block that is pickled travels as its handle.

A queue may drop the block as soon as it is pickled, and the process at the other end may be slow:
while it is on its way something must hold it. That is a name of its own, "pickle/...", which the
receiver unpublishes once it has attached the block. It is a line of `kmemctl names`, and ends with
the process that pickled, so that nothing leaks if no process ever unpickles it.
"""

import copyreg
import itertools
import os
import secrets

from kmem import _kmem
from kmem._errors import DeniedError, NotFoundError, StaleError

_numbers = itertools.count(1)
_process = secrets.token_hex(8)


def _begin_child():
    global _process
    _process = secrets.token_hex(8)


def _handle_of(block):
    """Its handle; None: another process owns it, and it was found by name."""
    if block.handle is not None:
        return block.handle
    try:
        return block.share()
    except DeniedError:
        return None


def reduce(block):
    """What pickle asks for: how the receiver makes the block."""
    ticket = f"pickle/{_process}/{next(_numbers)}"
    handle = _handle_of(block)
    block.publish(ticket)
    return receive, (ticket, handle, block.lends_writable, block.reason)


def receive(ticket, handle, writable, reason):
    """Attach what was pickled, and take it off its way."""
    if handle is None:
        block = _kmem.find(ticket, writable=writable, reason=reason)
    else:
        try:
            block = _kmem.attach(handle, writable=writable, reason=reason)
        except StaleError as error:
            raise StaleError(
                error.errno,
                f"{error.strerror}; a pickled block ends with the process that pickled it, if it"
                " was not unpickled before: block.transfer(keep=True) hands it over for longer",
            ) from None
    try:
        _kmem.unpublish(ticket)
    except (NotFoundError, DeniedError):
        pass  # unpickled before; or by another user, and then it ends with the sender
    return block


def register():
    """Teach pickle, and with it multiprocessing."""
    copyreg.pickle(_kmem.Block, reduce)
    os.register_at_fork(after_in_child=_begin_child)
