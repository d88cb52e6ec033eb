/* SPDX-License-Identifier: MIT */
/*
 * The functions of the module that allocate, attach, and wait. Each gives the GIL away while it is
 * in the library: even an allocation may wait, for a daemon that is being started again, say.
 *
 * A call that waits for a name waits in slices, and looks for signals after each: the library goes
 * on waiting when a signal comes, but Ctrl-C is to end the call.
 */
#include "client/python/calls.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#include "client/python/block.h"
#include "client/python/convert.h"

/* 100 ms: a person who presses Ctrl-C does not notice; ten round trips a second are not felt. */
#define SLICE_MS 100

#define CALL(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------- allocate, attach, find -- */

PyDoc_STRVAR(allocate_doc,
             "allocate($module, /, num_bytes, reason=None, *, timeout=None)\n--\n\n"
             "A new block, every byte 0, that this process owns. The reason is what the ledger "
             "shows.\nNoRoomError, which is a MemoryError too, says who holds the most. With a "
             "timeout, in seconds,\nit is waited for until there is room, first come, first "
             "served; math.inf: for ever.\nNoRoomInTimeError, which is a TimeoutError too: there "
             "was none in that time.");

/* An allocation that waits for room. */
struct patience {
    PyThreadState *thread;
    bool is_over; /* a signal's exception is to be raised */
};

/* A kmem_wait_fn: Ctrl-C is to end the call. */
static int goes_on(void *user)
{
    struct patience *patience = user;
    PyEval_RestoreThread(patience->thread);
    patience->is_over = PyErr_CheckSignals() < 0;
    patience->thread = PyEval_SaveThread();
    return !patience->is_over;
}

/* Return: the block; NULL and an exception. */
static void *wait_for_room(Py_ssize_t num_bytes, const char *reason, int64_t timeout_ms)
{
    struct patience patience = {.is_over = false};
    const int most_ms = timeout_ms == CONVERT_FOR_EVER ? -1
                        : timeout_ms < INT_MAX         ? (int)timeout_ms
                                                       : INT_MAX;
    const int64_t until_ms = now_ms() + most_ms;
    patience.thread = PyEval_SaveThread();
    void *mem = kmem_wait_allocate_while((size_t)num_bytes, reason, most_ms, goes_on, &patience);
    const int error = errno;
    PyEval_RestoreThread(patience.thread);
    if (patience.is_over && mem != NULL) {
        kmem_release(&mem);
    }
    if (mem == NULL && !patience.is_over) {
        /* One less: the daemon's clock begins its milliseconds at another moment than this one. */
        const bool is_late = error == ENOMEM && most_ms >= 0 && now_ms() >= until_ms - 1;
        (void)(is_late ? convert_raise_late(kmem_last_error()) : convert_raise_last(-error));
    }
    return mem;
}

static PyObject *calls_allocate(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"num_bytes", "reason", "timeout", NULL};
    struct block_start start = {.is_writable = true};
    PyObject *timeout = Py_None;
    int64_t timeout_ms;
    Py_ssize_t num_bytes;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "n|z$O:allocate", names, &num_bytes,
                                     &start.reason, &timeout) ||
        convert_timeout(timeout, &timeout_ms) < 0) {
        return NULL;
    }
    if (num_bytes < 0) {
        return convert_raise(-EINVAL, "a block can not have less than one byte");
    }
    if (timeout != Py_None) {
        start.mem = wait_for_room(num_bytes, start.reason, timeout_ms);
        return start.mem != NULL ? block_new(&start) : NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    start.mem = (kmem_try_allocate)((size_t)num_bytes, start.reason);
    Py_END_ALLOW_THREADS;
    return start.mem != NULL ? block_new(&start) : convert_raise_last(-errno);
}

PyDoc_STRVAR(attach_doc, "attach($module, /, handle, writable=False, reason=None)\n--\n\n"
                         "Hold a shared block; the handle may be given as text. StaleError: it is "
                         "gone. DeniedError:\nthe handle is wrong, or only reading is allowed.");

static PyObject *calls_attach(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"handle", "writable", "reason", NULL};
    struct kmem_handle handle;
    struct block_start start = {.handle = &handle};
    PyObject *object;
    int writable = 0;
    int r;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|pz:attach", names, &object, &writable,
                                     &start.reason) ||
        convert_to_handle(object, &handle) < 0) {
        return NULL;
    }
    start.is_writable = writable != 0;
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_attach(&handle, writable ? KMEM_WRITE : KMEM_READ, start.reason, &start.mem);
    Py_END_ALLOW_THREADS;
    return r == 0 ? block_new(&start) : convert_raise_last(r);
}

PyDoc_STRVAR(find_doc, "find($module, /, name, *, writable=False, reason=None)\n--\n\n"
                       "Hold what a name means now; block.version says which publication it is.\n"
                       "NotFoundError: it means nothing.");

static PyObject *calls_find(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"name", "writable", "reason", NULL};
    struct block_start start = {.handle = NULL};
    const char *name;
    int writable = 0;
    int r;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s|$pz:find", names, &name, &writable,
                                     &start.reason)) {
        return NULL;
    }
    start.is_writable = writable != 0;
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_find(name, writable ? KMEM_WRITE : KMEM_READ, start.reason, &start.mem,
                  &start.version);
    Py_END_ALLOW_THREADS;
    return r == 0 ? block_new(&start) : convert_raise_last(r);
}

PyDoc_STRVAR(unpublish_doc,
             "unpublish($module, /, name)\n--\n\n"
             "The name means nothing any more; processes that hold the block go on.\n"
             "NotFoundError: there is no such name. DeniedError: it is another "
             "user's.");

static PyObject *calls_unpublish(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"name", NULL};
    const char *name;
    int r;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s:unpublish", names, &name)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_unpublish(name);
    Py_END_ALLOW_THREADS;
    if (r < 0) {
        return convert_raise_last(r);
    }
    return Py_NewRef(Py_None);
}

/* ------------------------------------------------------------------------------------ waiting - */

/* A call that waits for a name to be newer. */
struct waiting {
    const char *name;
    int64_t timeout_ms; /* CONVERT_FOR_EVER */
    uint64_t version;   /* seen last, and then the new one */
    void *mem;          /* as kmem_next() has it */
    bool only_waits;
    struct block_start start;
};

/* Return: 0 or -errno. */
static int wait_slice(struct waiting *waiting, int slice_ms)
{
    const int flags = waiting->start.is_writable ? KMEM_WRITE : KMEM_READ;
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = waiting->only_waits
            ? kmem_wait(waiting->name, waiting->version, slice_ms, &waiting->version)
            : kmem_next(waiting->name, flags, waiting->start.reason, &waiting->version,
                        &waiting->mem, slice_ms);
    Py_END_ALLOW_THREADS;
    return r;
}

/* Return: 0; -1 and an exception, a signal's among them. */
static int wait_for(struct waiting *waiting)
{
    const bool for_ever = waiting->timeout_ms == CONVERT_FOR_EVER;
    const int64_t until_ms = for_ever ? 0 : now_ms() + waiting->timeout_ms;
    int64_t left_ms = for_ever ? SLICE_MS : waiting->timeout_ms;
    for (;;) {
        const int r = wait_slice(waiting, left_ms < SLICE_MS ? (int)left_ms : SLICE_MS);
        if (r == 0) {
            return 0;
        }
        left_ms = for_ever ? SLICE_MS : until_ms - now_ms();
        if (r != -EAGAIN || left_ms <= 0) {
            (void)convert_raise_last(r);
            return -1;
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
}

PyDoc_STRVAR(
    next_doc,
    "next($module, /, name, last=None, *, after=0, writable=False, reason=None, "
    "timeout=None)\n--\n\n"
    "A consumer's call: give the last block up, wait until the name means something newer, "
    "and\nhold that. Newer than `last`, if it is given, else than the version `after`. One "
    "round trip\nif there is something newer. TimedOutError: not in that many seconds; the "
    "last block is\ngiven up all the same.");

static PyObject *calls_next(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"name", "last", "after", "writable", "reason", "timeout", NULL};
    struct waiting waiting = {.only_waits = false};
    unsigned long long after = 0;
    PyObject *last = Py_None;
    PyObject *timeout = Py_None;
    int writable = 0;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s|O$KpzO:next", names, &waiting.name,
                                     &last, &after, &writable, &waiting.start.reason, &timeout) ||
        convert_timeout(timeout, &waiting.timeout_ms) < 0) {
        return NULL;
    }
    if (last != Py_None && !block_is(last)) {
        PyErr_SetString(PyExc_TypeError, "last is a kmem.Block, or None");
        return NULL;
    }
    waiting.version = after;
    waiting.start.is_writable = writable != 0;
    if (last != Py_None) {
        waiting.version = block_version(last);
        block_take(last, &waiting.mem);
    }
    if (wait_for(&waiting) < 0) {
        if (waiting.mem != NULL) {
            block_put_back(last, waiting.mem);
        }
        return NULL;
    }
    waiting.start.mem = waiting.mem;
    waiting.start.version = waiting.version;
    return block_new(&waiting.start);
}

PyDoc_STRVAR(wait_doc, "wait($module, /, name, after=0, *, timeout=None)\n--\n\n"
                       "Wait until a name means something newer than a version, and return which. "
                       "It may mean\nnothing yet. TimedOutError: not in that many seconds.");

static PyObject *calls_wait(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"name", "after", "timeout", NULL};
    struct waiting waiting = {.only_waits = true};
    unsigned long long after = 0;
    PyObject *timeout = Py_None;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "s|K$O:wait", names, &waiting.name,
                                     &after, &timeout) ||
        convert_timeout(timeout, &waiting.timeout_ms) < 0) {
        return NULL;
    }
    waiting.version = after;
    return wait_for(&waiting) == 0 ? PyLong_FromUnsignedLongLong(waiting.version) : NULL;
}

/* ------------------------------------------------------------------------------ handles as text */

PyDoc_STRVAR(to_text_doc, "handle_to_text($module, handle, /)\n--\n\nstr(handle)");

static PyObject *calls_handle_to_text(PyObject *module, PyObject *object)
{
    char text[KMEM_HANDLE_TEXT_BYTES];
    struct kmem_handle handle;
    int r;
    (void)module;
    if (convert_to_handle(object, &handle) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_handle_to_text(&handle, text, sizeof(text));
    Py_END_ALLOW_THREADS;
    return r == 0 ? convert_text(text) : convert_raise_last(r);
}

PyDoc_STRVAR(from_text_doc, "handle_from_text($module, text, /)\n--\n\nHandle.from_text(text)");

static PyObject *calls_handle_from_text(PyObject *module, PyObject *object)
{
    struct kmem_handle handle;
    (void)module;
    return convert_to_handle(object, &handle) == 0 ? convert_from_handle(&handle) : NULL;
}

PyMethodDef calls_methods[] = {
    {"allocate", CALL(calls_allocate), allocate_doc},
    {"attach", CALL(calls_attach), attach_doc},
    {"find", CALL(calls_find), find_doc},
    {"unpublish", CALL(calls_unpublish), unpublish_doc},
    {"next", CALL(calls_next), next_doc},
    {"wait", CALL(calls_wait), wait_doc},
    {"handle_to_text", calls_handle_to_text, METH_O, to_text_doc},
    {"handle_from_text", calls_handle_from_text, METH_O, from_text_doc},
    {NULL, NULL, 0, NULL},
};
