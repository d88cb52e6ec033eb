# SPDX-License-Identifier: MIT
"""numpy arrays in blocks; numpy is imported when the first one is made."""

import numpy

from kmem import _kmem


def _address(array):
    return array.__array_interface__["data"][0]


def _view_of(array):
    """The memoryview of a block that an array looks through, or None."""
    while isinstance(array, numpy.ndarray):
        array = array.base
    return array if isinstance(array, memoryview) and type(array.obj) is _kmem.Block else None


class Array(numpy.ndarray):
    """A numpy array in a block; pickled, with all its views, as the block's handle.

    What is computed from it is no part of the block, and is pickled as any array.
    """

    def __reduce_ex__(self, protocol):
        view = _view_of(self)
        if view is None:
            return self.view(numpy.ndarray).__reduce_ex__(protocol)
        offset = _address(self) - _address(numpy.frombuffer(view, numpy.uint8))
        return restore, (view.obj, self.dtype, self.shape, self.strides, offset)

    @property
    def block(self):
        """The block that it is in; None if it is in none."""
        view = _view_of(self)
        return view.obj if view is not None else None


Array.__module__ = "kmem"


def restore(block, dtype, shape, strides=None, offset=0):
    """An array of a block's bytes. It counts as a view: numpy holds the block by a memoryview."""
    if dtype.hasobject:
        raise ValueError(f"{dtype}: pointers to Python's objects mean nothing to other processes")
    raw = numpy.frombuffer(block, numpy.uint8)
    return Array(shape, dtype, buffer=raw, offset=offset, strides=strides)


def of_block(block, dtype=numpy.uint8, shape=None):
    """Block.array()"""
    dtype = numpy.dtype(dtype)
    if shape is None:
        shape = (len(block) // dtype.itemsize,)
    return restore(block, dtype, shape)


def zeros(shape, dtype, reason):
    """kmem.zeros()"""
    dtype = numpy.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    num_bytes = dtype.itemsize * int(numpy.prod(shape, dtype=numpy.uint64))
    return restore(_kmem.allocate(num_bytes, reason), dtype, shape)
