/* SPDX-License-Identifier: MIT */
/*
 * The functions of the module that ask what the segment is used for. Each opens a query of its own
 * (kmem/query.h): the daemon closes one that is idle, and a forked child may not use its parent's.
 * The GIL is given away for the whole of a query, and taken back for each row.
 */
#include "client/python/queries.h"

#include <errno.h>
#include <string.h>

#include <kmem/query.h>

#include "client/python/convert.h"

/* A question under way. */
struct asking {
    PyThreadState *thread; /* which has given the GIL away */
    PyObject *answer;      /* a list or a dict */
    PyObject *class;       /* of the rows, borrowed; NULL: a dict has none */
    uint64_t offset;
    enum kmem_group_by by;
};

/* Adds a row; the reference is taken over. Return: 0, or -ECANCELED and an exception. */
static int answer_add(const struct asking *asking, PyObject *row)
{
    const int r = row != NULL ? PyList_Append(asking->answer, row) : -1;
    Py_XDECREF(row);
    return r < 0 ? -ECANCELED : 0;
}

static int each_statistic(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                          void *user)
{
    struct asking *asking = user;
    (void)daemon;
    PyEval_RestoreThread(asking->thread);
    PyObject *value = PyLong_FromUnsignedLongLong(statistic->value);
    int r = value != NULL ? PyDict_SetItemString(asking->answer, statistic->name, value) : -1;
    Py_XDECREF(value);
    asking->thread = PyEval_SaveThread();
    return r < 0 ? -ECANCELED : 0;
}

static int each_row(const struct kmem_ledger_row *row, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking,
        PyObject_CallFunction(asking->class, "NKKKII", convert_text(row->key),
                              (unsigned long long)row->n_blocks, (unsigned long long)row->num_bytes,
                              (unsigned long long)row->oldest_ms, row->pid, row->uid));
    asking->thread = PyEval_SaveThread();
    return r;
}

static const char *kind_name(enum kmem_holder_kind kind)
{
    static const char *const names[] = {
        [KMEM_HOLDER_OWNER] = "owner",
        [KMEM_HOLDER_ATTACHED] = "attached",
        [KMEM_HOLDER_NAME] = "name",
        [KMEM_HOLDER_OFFER] = "offer",
    };
    const size_t i = (size_t)kind;
    return i < sizeof(names) / sizeof(names[0]) ? names[i] : "other"; /* of a newer daemon */
}

static int each_holder(const struct kmem_holder *holder, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking, PyObject_CallFunction(
                    asking->class, "KKKNsIINNKN", (unsigned long long)holder->offset,
                    (unsigned long long)holder->num_bytes, (unsigned long long)holder->generation,
                    convert_text(holder->block_reason), kind_name(holder->kind), holder->pid,
                    holder->uid, convert_text(holder->command), convert_text(holder->reason),
                    (unsigned long long)holder->age_ms, PyBool_FromLong(holder->write)));
    asking->thread = PyEval_SaveThread();
    return r;
}

static int each_name(const struct kmem_name *name, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking,
        PyObject_CallFunction(asking->class, "NKKKNIINNI", convert_text(name->name),
                              (unsigned long long)name->version, (unsigned long long)name->offset,
                              (unsigned long long)name->num_bytes, convert_text(name->block_reason),
                              name->pid, name->uid, convert_text(name->command),
                              PyBool_FromLong(name->keep), name->n_holders));
    asking->thread = PyEval_SaveThread();
    return r;
}

static int ask_usage(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_usage(query, each_statistic, asking);
}

static int ask_ledger(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_ledger(query, asking->by, each_row, asking);
}

static int ask_holders(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_holders(query, asking->offset, each_holder, asking);
}

static int ask_names(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_names(query, each_name, asking);
}

/* Asks, and takes the answer over. Return: the answer; NULL and an exception. */
static PyObject *ask(int (*question)(struct kmem_query *query, struct asking *asking),
                     struct asking *asking)
{
    struct kmem_query *query = NULL;
    if (asking->answer == NULL) {
        return NULL;
    }
    asking->thread = PyEval_SaveThread();
    int r = kmem_query_open(NULL, &query);
    const bool is_open = r == 0;
    r = is_open ? question(query, asking) : r;
    PyEval_RestoreThread(asking->thread);
    if (r < 0 && PyErr_Occurred() == NULL) {
        (void)convert_raise(r, is_open ? kmem_query_error(query) : kmem_last_error());
    }
    (void)kmem_query_close(query);
    if (r < 0) {
        Py_CLEAR(asking->answer);
    }
    return asking->answer;
}

PyDoc_STRVAR(usage_doc, "usage($module, /)\n--\n\n"
                        "Every figure that the daemon keeps, taken at one instant, by its name.");

static PyObject *queries_usage(PyObject *module, PyObject *none)
{
    struct asking asking = {.answer = PyDict_New()};
    (void)module;
    (void)none;
    return ask(ask_usage, &asking);
}

PyDoc_STRVAR(ledger_doc,
             "ledger($module, /, by='reason')\n--\n\n"
             "The live blocks, rolled up by 'reason', 'client' or 'uid'; the group with "
             "the most bytes\nfirst.");

static PyObject *queries_ledger(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"by", NULL};
    static const char *const groups[] = {
        [KMEM_BY_REASON] = "reason", [KMEM_BY_CLIENT] = "client", [KMEM_BY_UID] = "uid"};
    const char *by = "reason";
    struct asking asking = {.by = KMEM_BY_REASON};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|s:ledger", names, &by)) {
        return NULL;
    }
    while (asking.by <= KMEM_BY_UID && strcmp(groups[asking.by], by) != 0) {
        asking.by++;
    }
    if (asking.by > KMEM_BY_UID) {
        PyErr_SetString(PyExc_ValueError, "by is 'reason', 'client' or 'uid'");
        return NULL;
    }
    asking.class = convert_class("LedgerRow");
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_ledger, &asking);
}

PyDoc_STRVAR(holders_doc, "holders($module, offset, /)\n--\n\nkmem.holders(); 0: of all blocks");

static PyObject *queries_holders(PyObject *module, PyObject *offset)
{
    struct asking asking = {.offset = PyLong_AsUnsignedLongLong(offset)};
    (void)module;
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    asking.class = convert_class("Holder");
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_holders, &asking);
}

PyDoc_STRVAR(names_doc, "names($module, /)\n--\n\n"
                        "Every name, and what it means; in no order that says anything.");

static PyObject *queries_names(PyObject *module, PyObject *none)
{
    struct asking asking = {.class = convert_class("Name")};
    (void)module;
    (void)none;
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_names, &asking);
}

PyMethodDef queries_methods[] = {
    {"usage", queries_usage, METH_NOARGS, usage_doc},
    {"ledger", (PyCFunction)(void (*)(void))queries_ledger, METH_VARARGS | METH_KEYWORDS,
     ledger_doc},
    {"holders", queries_holders, METH_O, holders_doc},
    {"names", queries_names, METH_NOARGS, names_doc},
    {NULL, NULL, 0, NULL},
};
