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
    struct kmem_block_filter filter;
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

static int each_block(const struct kmem_block *block, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking,
        PyObject_CallFunction(asking->class, "KKNIINKNNII", (unsigned long long)block->offset,
                              (unsigned long long)block->num_bytes, convert_text(block->reason),
                              block->pid, block->uid, convert_text(block->command),
                              (unsigned long long)block->age_ms, PyBool_FromLong(block->leased),
                              PyBool_FromLong(block->shared), block->n_holders, block->n_names));
    asking->thread = PyEval_SaveThread();
    return r;
}

static int each_limit(const struct kmem_limit *limit, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking,
        PyObject_CallFunction(asking->class, "NNNKK", convert_text(limit->name),
                              convert_text(limit->unit), convert_text(limit->text),
                              (unsigned long long)limit->used, (unsigned long long)limit->limit));
    asking->thread = PyEval_SaveThread();
    return r;
}

static int each_refusal(const struct kmem_refusal *refusal, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking, PyObject_CallFunction(
                    asking->class, "KNNIINNKKKKKKKK", (unsigned long long)refusal->number,
                    convert_text(refusal->asked), convert_text(refusal->why), refusal->pid,
                    refusal->uid, convert_text(refusal->command), convert_text(refusal->reason),
                    (unsigned long long)refusal->n_times, (unsigned long long)refusal->first_ms_ago,
                    (unsigned long long)refusal->last_ms_ago,
                    (unsigned long long)refusal->num_bytes, (unsigned long long)refusal->free_bytes,
                    (unsigned long long)refusal->largest_extent_bytes,
                    (unsigned long long)refusal->used, (unsigned long long)refusal->limit));
    asking->thread = PyEval_SaveThread();
    return r;
}

static int each_refusal_count(const struct kmem_refusal_count *count, void *user)
{
    struct asking *asking = user;
    PyEval_RestoreThread(asking->thread);
    const int r = answer_add(
        asking, PyObject_CallFunction(asking->class, "NNNK", convert_text(count->asked),
                                      convert_text(count->why), convert_text(count->text),
                                      (unsigned long long)count->n_times));
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

/* Without a filter an older daemon answers, too. */
static int ask_blocks(struct kmem_query *query, struct asking *asking)
{
    const struct kmem_block_filter *filter = &asking->filter;
    if (!filter->by_pid && !filter->by_uid && filter->reason == NULL &&
        filter->older_than_ms == 0 && filter->larger_than == 0 && filter->kind == KMEM_BLOCKS_ANY &&
        filter->sharing == KMEM_SHARING_ANY) {
        return kmem_query_blocks(query, each_block, asking);
    }
    return kmem_query_blocks_where(query, filter, each_block, asking);
}

static int ask_limits(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_limits(query, each_limit, asking);
}

static int ask_refusals(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_refusals(query, each_refusal, asking);
}

static int ask_refusal_counts(struct kmem_query *query, struct asking *asking)
{
    return kmem_query_refusal_counts(query, each_refusal_count, asking);
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
             "The live blocks, rolled up by 'reason', 'client', 'uid', 'size', 'age' or 'unit'; "
             "the group\nwith the most bytes first.");

static PyObject *queries_ledger(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"by", NULL};
    static const char *const groups[] = {
        [KMEM_BY_REASON] = "reason", [KMEM_BY_CLIENT] = "client", [KMEM_BY_UID] = "uid",
        [KMEM_BY_SIZE] = "size",     [KMEM_BY_AGE] = "age",       [KMEM_BY_UNIT] = "unit"};
    const char *by = "reason";
    struct asking asking = {.by = KMEM_BY_REASON};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|s:ledger", names, &by)) {
        return NULL;
    }
    while (asking.by <= KMEM_BY_UNIT && strcmp(groups[asking.by], by) != 0) {
        asking.by++;
    }
    if (asking.by > KMEM_BY_UNIT) {
        PyErr_SetString(PyExc_ValueError,
                        "by is 'reason', 'client', 'uid', 'size', 'age' or 'unit'");
        return NULL;
    }
    asking.class = convert_class("LedgerRow");
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_ledger, &asking);
}

PyDoc_STRVAR(blocks_doc,
             "blocks($module, /, *, pid=None, uid=None, reason=None, older_than_ms=0, "
             "larger_than=0,\n       kind=None, shared=None)\n--\n\n"
             "The live blocks that all of it is true of, by offset; the daemon selects them.");

/* A number of 32 bits, or None. Return: 0, or -1 and an exception. */
static int filter_number(PyObject *given, int *ret_is_given, uint32_t *ret_number)
{
    if (given == NULL || given == Py_None) {
        return 0;
    }
    const unsigned long number = PyLong_AsUnsignedLong(given);
    if (PyErr_Occurred() == NULL && number > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "pid and uid have 32 bits");
    }
    *ret_is_given = 1;
    *ret_number = (uint32_t)number;
    return PyErr_Occurred() != NULL ? -1 : 0;
}

/* Return: 0, or -1 and an exception. */
static int filter_words(struct kmem_block_filter *filter, const char *kind, PyObject *shared)
{
    if (kind != NULL && strcmp(kind, "direct") != 0 && strcmp(kind, "leased") != 0) {
        PyErr_SetString(PyExc_ValueError, "kind is 'direct', 'leased' or None");
        return -1;
    }
    if (kind != NULL) {
        filter->kind = *kind == 'd' ? KMEM_BLOCKS_DIRECT : KMEM_BLOCKS_LEASED;
    }
    if (shared != NULL && shared != Py_None) {
        const int is_true = PyObject_IsTrue(shared);
        filter->sharing = is_true > 0 ? KMEM_SHARING_SHARED : KMEM_SHARING_UNSHARED;
        return is_true < 0 ? -1 : 0;
    }
    return 0;
}

static PyObject *queries_blocks(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"pid",         "uid",  "reason", "older_than_ms",
                            "larger_than", "kind", "shared", NULL};
    struct asking asking = {.filter = {.struct_bytes = sizeof(asking.filter)}};
    struct kmem_block_filter *filter = &asking.filter;
    PyObject *pid = NULL;
    PyObject *uid = NULL;
    PyObject *shared = NULL;
    const char *kind = NULL;
    unsigned long long older_than_ms = 0;
    unsigned long long larger_than = 0;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$OOzKKzO:blocks", names, &pid, &uid,
                                     &filter->reason, &older_than_ms, &larger_than, &kind,
                                     &shared) ||
        filter_number(pid, &filter->by_pid, &filter->pid) < 0 ||
        filter_number(uid, &filter->by_uid, &filter->uid) < 0 ||
        filter_words(filter, kind, shared) < 0) {
        return NULL;
    }
    filter->older_than_ms = older_than_ms;
    filter->larger_than = larger_than;
    asking.class = convert_class("BlockRow");
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_blocks, &asking);
}

PyDoc_STRVAR(limits_doc, "limits($module, /)\n--\n\n"
                         "Every limit of the daemon, and how near it is.");

static PyObject *queries_limits(PyObject *module, PyObject *none)
{
    struct asking asking = {.class = convert_class("Limit")};
    (void)module;
    (void)none;
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_limits, &asking);
}

PyDoc_STRVAR(refusals_doc, "refusals($module, /)\n--\n\n"
                           "What was asked for and refused, oldest first: the last 256.");

static PyObject *queries_refusals(PyObject *module, PyObject *none)
{
    struct asking asking = {.class = convert_class("Refusal")};
    (void)module;
    (void)none;
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_refusals, &asking);
}

PyDoc_STRVAR(refusal_counts_doc, "refusal_counts($module, /)\n--\n\n"
                                 "What was refused, all of it, by what was asked and why.");

static PyObject *queries_refusal_counts(PyObject *module, PyObject *none)
{
    struct asking asking = {.class = convert_class("RefusalCount")};
    (void)module;
    (void)none;
    asking.answer = asking.class != NULL ? PyList_New(0) : NULL;
    return ask(ask_refusal_counts, &asking);
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
    {"blocks", (PyCFunction)(void (*)(void))queries_blocks, METH_VARARGS | METH_KEYWORDS,
     blocks_doc},
    {"limits", queries_limits, METH_NOARGS, limits_doc},
    {"refusals", queries_refusals, METH_NOARGS, refusals_doc},
    {"refusal_counts", queries_refusal_counts, METH_NOARGS, refusal_counts_doc},
    {"holders", queries_holders, METH_O, holders_doc},
    {"names", queries_names, METH_NOARGS, names_doc},
    {NULL, NULL, 0, NULL},
};
