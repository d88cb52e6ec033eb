/* SPDX-License-Identifier: MIT */
/*
 * kmem.Block. It has one hold of the library (kmem/share.h counts those of a process), from its
 * making until the hold is let go of:
 *
 *      release()            at once; with a view alive: BufferError, and nothing has changed
 *      give_up(), `with`    at once; with a view alive: by the last of them
 *      the last reference   at once. A view is a reference
 *
 *      n_views > 0 => mem != NULL. A view is a Py_buffer that was asked for, or a call of the
 *      library under way that was given mem: nothing lets go of what another thread uses.
 *
 * A child of a fork holds nothing of what its parent holds: there the object is `inherited`. It is
 * not let go of, for it is not the child's. The first that asks for a view of it attaches the block
 * anew if its handle is known, and else is told. Views from before the fork look at the mapping
 * that was inherited, and rely on the parent.
 *
 * Objects change with the GIL held, and are whole whenever it is given away.
 */
#include "client/python/block.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <structmember.h>

#include "client/python/convert.h"

struct block {
    PyObject ob_base; /* first, and what Python has in each object */
    void *mem;        /* NULL: it was let go of */
    Py_ssize_t num_bytes;
    unsigned long long offset;
    struct kmem_handle handle;
    unsigned long long version;
    uint64_t n_forks; /* as many as n_forks was when the hold was made */
    Py_ssize_t n_views;
    PyObject *reason; /* a str or None */
    bool has_handle;
    bool is_writable;
    bool lends_writable; /* others who have the handle may write */
    bool is_given_up;    /* the last view lets go of it */
};

static PyTypeObject *block_type;
static uint64_t n_forks; /* of the processes that this one is a child of, since the import */

static struct block *block_of(PyObject *object)
{
    return (struct block *)(void *)object;
}

static bool is_inherited(const struct block *block)
{
    return block->mem != NULL && block->n_forks != n_forks;
}

/* ------------------------------------------------------------------------------ letting go -- */

/* Lets go of a hold. Return: 0 or -errno. */
static int hold_release(void *mem)
{
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_try_release(&mem);
    Py_END_ALLOW_THREADS;
    return r;
}

static const char *text_or_null(PyObject *text)
{
    return text == Py_None ? NULL : PyUnicode_AsUTF8AndSize(text, NULL);
}

/* Lets go where no exception can be raised. A segment that has ended, or a daemon that is late, has
 * or will have let go by itself: that is no news. */
static void block_let_go(struct block *block)
{
    void *mem = block->mem;
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    block->mem = NULL;
    if (mem == NULL || block->n_forks != n_forks) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    const int r = hold_release(mem);
    if (r < 0 && r != -ECONNRESET && r != -ETIMEDOUT) {
        (void)convert_raise_last(r);
        PyErr_WriteUnraisable(NULL);
    }
    PyErr_Restore(type, value, traceback);
}

static void block_end_view(struct block *block)
{
    block->n_views--;
    if (block->n_views == 0 && block->is_given_up) {
        block_let_go(block);
    }
}

void block_take(PyObject *object, void **ret_mem)
{
    struct block *block = block_of(object);
    *ret_mem = NULL;
    if (block->n_views > 0) {
        block->is_given_up = true;
    } else if (block->mem != NULL) {
        *ret_mem = is_inherited(block) ? NULL : block->mem;
        block->mem = NULL;
    }
}

void block_put_back(PyObject *object, void *mem)
{
    block_of(object)->mem = mem;
}

/* ------------------------------------------------------------------------------------ views -- */

/* In a forked child: a hold of its own in the place of its parent's. Return: 0; -1: an exception */
static int block_attach_anew(struct block *block)
{
    const struct kmem_handle handle = block->handle;
    const int flags = block->is_writable ? KMEM_WRITE : KMEM_READ;
    const char *reason = text_or_null(block->reason);
    void *mem = NULL;
    int r;
    if (!block->has_handle) {
        (void)convert_raise(-EPERM, "the block is of the process that this one was forked from, "
                                    "which had not shared it then: block.share() before the fork");
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_attach(&handle, flags, reason, &mem);
    Py_END_ALLOW_THREADS;
    if (r < 0) {
        (void)convert_raise_last(r);
        return -1;
    }
    if (!is_inherited(block)) { /* another thread was faster, or has let go of it */
        (void)hold_release(mem);
        return 0;
    }
    block->mem = mem;
    block->n_forks = n_forks;
    return 0;
}

/* Makes sure that the block is there, and this process's. Return: 0; -1: an exception */
static int block_enter(struct block *block)
{
    if (block->mem != NULL && !block->is_given_up && is_inherited(block) &&
        block_attach_anew(block) < 0) {
        return -1;
    }
    if (block->mem == NULL || block->is_given_up) {
        PyErr_SetString(PyExc_ValueError, "the block was released");
        return -1;
    }
    return 0;
}

static int block_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    struct block *block = block_of(self);
    if (block_enter(block) < 0) {
        view->obj = NULL;
        return -1;
    }
    const int r =
        PyBuffer_FillInfo(view, self, block->mem, block->num_bytes, !block->is_writable, flags);
    block->n_views += r == 0;
    return r;
}

static void block_releasebuffer(PyObject *self, Py_buffer *view)
{
    (void)view;
    block_end_view(block_of(self));
}

/* ---------------------------------------------------------------------------------- methods -- */

PyDoc_STRVAR(release_doc,
             "release($self, /)\n--\n\n"
             "Let go of the block. BufferError: a view of it is alive, a memoryview or "
             "a numpy array\nsay, and nothing has changed. Releasing it again does "
             "nothing.");

static PyObject *block_release(PyObject *self, PyObject *none)
{
    struct block *block = block_of(self);
    void *mem = block->mem;
    (void)none;
    if (mem == NULL || block->is_given_up) {
        return Py_NewRef(Py_None);
    }
    if (block->n_views > 0) {
        PyErr_Format(PyExc_BufferError, "%zd views of the block are alive", block->n_views);
        return NULL;
    }
    block->mem = NULL;
    const int r = block->n_forks == n_forks ? hold_release(mem) : 0;
    if (r < 0) {
        if (r != -ECONNRESET) {
            block->mem = mem;
        }
        return convert_raise_last(r);
    }
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(give_up_doc, "give_up($self, /)\n--\n\n"
                          "Let go of the block as soon as no view of it is alive: now, or when the "
                          "last one goes.\nThe object itself is released at once. The end of a "
                          "`with` does the same.");

static PyObject *block_give_up(PyObject *self, PyObject *none)
{
    struct block *block = block_of(self);
    (void)none;
    if (block->n_views > 0) {
        block->is_given_up = true;
    } else {
        block_let_go(block);
    }
    return Py_NewRef(Py_None);
}

static PyObject *block_with(PyObject *self, PyObject *none)
{
    (void)none;
    if (block_enter(block_of(self)) < 0) {
        return NULL;
    }
    Py_INCREF(self);
    return self;
}

static PyObject *block_end_with(PyObject *self, PyObject *exception)
{
    (void)exception;
    return block_give_up(self, NULL);
}

PyDoc_STRVAR(share_doc, "share($self, /, *, read_only=False)\n--\n\n"
                        "Let processes that have the handle attach the block; only its owner may. "
                        "It is the same\nhandle each time. With read_only none of them may attach "
                        "it for writing, from now on.\nOf a block that another process owns: the "
                        "handle that it was attached with.");

static PyObject *block_share(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"read_only", NULL};
    struct block *block = block_of(self);
    struct kmem_handle handle;
    int read_only = 0;
    int r;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$p:share", names, &read_only) ||
        block_enter(block) < 0) {
        return NULL;
    }
    const void *mem = block->mem;
    block->n_views++;
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_share(mem, read_only ? KMEM_READ_ONLY : 0, &handle);
    Py_END_ALLOW_THREADS;
    block->n_views--;
    if (r == 0) {
        block->handle = handle;
        block->has_handle = true;
        block->lends_writable = block->is_writable && !read_only;
    } else if (r != -EPERM || read_only || !block->has_handle) {
        (void)convert_raise_last(r);
    }
    PyObject *result = PyErr_Occurred() == NULL ? convert_from_handle(&block->handle) : NULL;
    block->n_views++;
    block_end_view(block); /* it may have been given up meanwhile */
    return result;
}

PyDoc_STRVAR(transfer_doc, "transfer($self, /, *, keep=False)\n--\n\n"
                           "Hand the block over: the first process to attach the handle owns it. "
                           "Until then it ends\nwith this process; with keep it does not. "
                           "BufferError: a view of it is alive.");

/* For want of memory nobody learns the handle: the block is had back, or would never end. */
static PyObject *block_transferred(struct block *block, const struct kmem_handle *handle)
{
    PyObject *result = convert_from_handle(handle);
    if (result == NULL) {
        const char *reason = text_or_null(block->reason);
        void *mem = NULL;
        int r;
        Py_BEGIN_ALLOW_THREADS;
        r = kmem_attach(handle, KMEM_WRITE, reason, &mem);
        Py_END_ALLOW_THREADS;
        if (r == 0) {
            block->mem = mem;
        }
    }
    return result;
}

static PyObject *block_transfer(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"keep", NULL};
    struct block *block = block_of(self);
    struct kmem_handle handle;
    int keep = 0;
    int r;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$p:transfer", names, &keep) ||
        block_enter(block) < 0) {
        return NULL;
    }
    if (block->n_views > 0) {
        PyErr_Format(PyExc_BufferError, "%zd views of the block are alive", block->n_views);
        return NULL;
    }
    void *mem = block->mem;
    block->mem = NULL;
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_transfer(&mem, keep ? KMEM_KEEP : 0, &handle);
    Py_END_ALLOW_THREADS;
    if (r < 0) {
        block->mem = mem;
        return convert_raise_last(r);
    }
    return block_transferred(block, &handle);
}

PyDoc_STRVAR(publish_doc,
             "publish($self, /, name, *, give=False, keep=False, exclusive=False)\n--\n\n"
             "Let a name mean the block, in the place of what it meant before; the name "
             "holds it.\ngive: this object is given up in the same request. keep: the "
             "name outlives this process.\nexclusive: ExistsError if it is another "
             "process's. Return the version: greater than any before.");

/* What becomes of the hold; given: the one that was to be let go of at once, else NULL. */
static void publish_end(struct block *block, int r, bool gives, void *given)
{
    if (given == NULL) {
        block->is_given_up = block->is_given_up || (r == 0 && gives);
        block_end_view(block);
    } else if (r < 0 && r != -ETIMEDOUT && r != -ECONNRESET) {
        block->mem = given;
    }
}

static PyObject *block_publish(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"name", "give", "keep", "exclusive", NULL};
    struct block *block = block_of(self);
    const char *name;
    uint64_t version = 0;
    int give = 0;
    int keep = 0;
    int exclusive = 0;
    int r;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s|$ppp:publish", names, &name, &give,
                                     &keep, &exclusive) ||
        block_enter(block) < 0) {
        return NULL;
    }
    void *mem = block->mem;
    const bool gives_now = give && block->n_views == 0;
    const int flags =
        (gives_now ? KMEM_GIVE : 0) | (keep ? KMEM_KEEP : 0) | (exclusive ? KMEM_EXCLUSIVE : 0);
    if (gives_now) {
        block->mem = NULL;
    } else {
        block->n_views++;
    }
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_publish(mem, name, flags, &version);
    Py_END_ALLOW_THREADS;
    if (r < 0) {
        (void)convert_raise_last(r);
    }
    publish_end(block, r, give != 0, gives_now ? mem : NULL);
    return r < 0 ? NULL : PyLong_FromUnsignedLongLong(version);
}

PyDoc_STRVAR(array_doc, "array($self, /, dtype='uint8', shape=None)\n--\n\n"
                        "A numpy array of the block's bytes, without a copy; of all of them if no "
                        "shape is given.\nIt is a view as any other; pickled, it travels as the "
                        "block's handle.");

static PyObject *block_array(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    PyObject *module = PyImport_ImportModule("kmem._array");
    PyObject *of_block = module != NULL ? PyObject_GetAttrString(module, "of_block") : NULL;
    PyObject *itself = PyTuple_Pack(1, self);
    PyObject *all =
        of_block != NULL && itself != NULL ? PySequence_Concat(itself, arguments) : NULL;
    PyObject *array = all != NULL ? PyObject_Call(of_block, all, keywords) : NULL;
    Py_XDECREF(all);
    Py_XDECREF(itself);
    Py_XDECREF(of_block);
    Py_XDECREF(module);
    return array;
}

/* ------------------------------------------------------------------------------- attributes -- */

static PyObject *block_get_handle(PyObject *self, void *none)
{
    const struct block *block = block_of(self);
    (void)none;
    if (!block->has_handle) {
        return Py_NewRef(Py_None);
    }
    return convert_from_handle(&block->handle);
}

static PyObject *block_get_released(PyObject *self, void *none)
{
    const struct block *block = block_of(self);
    (void)none;
    return PyBool_FromLong(block->mem == NULL || block->is_given_up);
}

static PyObject *block_get_inherited(PyObject *self, void *none)
{
    (void)none;
    return PyBool_FromLong(is_inherited(block_of(self)));
}

static Py_ssize_t block_length(PyObject *self)
{
    return block_of(self)->num_bytes;
}

static PyObject *block_repr(PyObject *self)
{
    const struct block *block = block_of(self);
    const char *state = block->mem == NULL || block->is_given_up ? ", released"
                        : block->is_writable                     ? ""
                                                                 : ", read-only";
    PyObject *offset = PyLong_FromUnsignedLongLong(block->offset);
    PyObject *hex = offset != NULL ? PyNumber_ToBase(offset, 16) : NULL;
    PyObject *text = hex != NULL ? PyUnicode_FromFormat("<kmem.Block of %zd bytes at offset %U%s>",
                                                        block->num_bytes, hex, state)
                                 : NULL;
    Py_XDECREF(hex);
    Py_XDECREF(offset);
    return text;
}

/* --------------------------------------------------------------------------------- the class -- */

PyObject *block_new(const struct block_start *start)
{
    struct block *block = (struct block *)(void *)PyType_GenericAlloc(block_type, 0);
    void *mem = start->mem;
    if (block == NULL) {
        (void)hold_release(mem);
        return NULL;
    }
    block->mem = mem;
    block->n_forks = n_forks;
    block->offset = kmem_offset_of(mem);
    block->version = start->version;
    block->is_writable = start->is_writable;
    block->lends_writable = start->is_writable;
    block->has_handle = start->handle != NULL;
    if (start->handle != NULL) {
        block->handle = *start->handle;
    }
    size_t num_bytes = 0;
    const int r = kmem_try_sizeof(mem, &num_bytes);
    block->num_bytes = (Py_ssize_t)num_bytes;
    if (r < 0) {
        (void)convert_raise_last(r);
    } else if (start->reason != NULL) {
        block->reason = PyUnicode_FromString(start->reason);
    } else {
        block->reason = Py_NewRef(Py_None);
    }
    if (block->reason == NULL) {
        Py_DECREF((PyObject *)block);
        return NULL;
    }
    return (PyObject *)block;
}

/* No view is alive: a view is a reference. */
static void block_dealloc(PyObject *self)
{
    struct block *block = block_of(self);
    PyTypeObject *type = Py_TYPE(self);
    block_let_go(block);
    Py_CLEAR(block->reason);
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

bool block_is(PyObject *object)
{
    return Py_IS_TYPE(object, block_type);
}

uint64_t block_version(PyObject *object)
{
    return block_of(object)->version;
}

static PyMethodDef methods[] = {
    {"release", block_release, METH_NOARGS, release_doc},
    {"give_up", block_give_up, METH_NOARGS, give_up_doc},
    {"share", (PyCFunction)(void (*)(void))block_share, METH_VARARGS | METH_KEYWORDS, share_doc},
    {"transfer", (PyCFunction)(void (*)(void))block_transfer, METH_VARARGS | METH_KEYWORDS,
     transfer_doc},
    {"publish", (PyCFunction)(void (*)(void))block_publish, METH_VARARGS | METH_KEYWORDS,
     publish_doc},
    {"array", (PyCFunction)(void (*)(void))block_array, METH_VARARGS | METH_KEYWORDS, array_doc},
    {"__enter__", block_with, METH_NOARGS, "The block itself; it is given up at the end."},
    {"__exit__", block_end_with, METH_VARARGS, "give_up()"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"num_bytes", T_PYSSIZET, offsetof(struct block, num_bytes), READONLY,
     "As asked for; len(block) is the same."},
    {"offset", T_ULONGLONG, offsetof(struct block, offset), READONLY,
     "Its position in the segment, the same in every process."},
    {"version", T_ULONGLONG, offsetof(struct block, version), READONLY,
     "Of the name that led to it; 0: none did."},
    {"reason", T_OBJECT, offsetof(struct block, reason), READONLY,
     "Why this process wants it; None: it did not say."},
    {"writable", T_BOOL, offsetof(struct block, is_writable), READONLY,
     "Whether views of it can be written to."},
    {"lends_writable", T_BOOL, offsetof(struct block, lends_writable), READONLY,
     "Whether a process that it is pickled for attaches it for writing."},
    {"n_views", T_PYSSIZET, offsetof(struct block, n_views), READONLY,
     "How many views of it are alive."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"handle", block_get_handle, NULL, "Its handle; None: it was not shared, as far as is known.",
     NULL},
    {"released", block_get_released, NULL, "Whether this object was let go of, or given up.", NULL},
    {"inherited", block_get_inherited, NULL,
     "Whether it is the hold of a process that this one was forked from.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    block_doc,
    "A block of shared memory that this process holds.\n\n"
    "It has the buffer protocol: memoryview(block) and numpy.frombuffer(block, dtype) look "
    "at it\nwithout a copy, and keep it. Made by allocate(), attach(), find() and next(); "
    "let go of by\nrelease(), by the end of a `with`, or with the last reference to it.");

/* A function goes into a slot as a pointer to data, as Python's interface has it. */
static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)block_doc},
    {Py_tp_dealloc, (void *)block_dealloc},
    {Py_tp_repr, (void *)block_repr},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_sq_length, (void *)block_length},
    {Py_bf_getbuffer, (void *)block_getbuffer},
    {Py_bf_releasebuffer, (void *)block_releasebuffer},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kmem.Block",
    .basicsize = sizeof(struct block),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

static void count_fork(void)
{
    n_forks++;
}

PyObject *block_open(void)
{
    if (block_type == NULL && pthread_atfork(NULL, NULL, count_fork) != 0) {
        return PyErr_NoMemory();
    }
    block_type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (block_type == NULL && PyErr_Occurred() == NULL) {
        return PyErr_NoMemory(); /* Python 3.11 forgets to raise it, for a copy of the name */
    }
    return (PyObject *)block_type;
}
