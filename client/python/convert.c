/* SPDX-License-Identifier: MIT */
#include "client/python/convert.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static PyObject *errors;   /* kmem._errors.BY_ERRNO */
static PyObject *error;    /* kmem.Error, for all others */
static PyObject *late;     /* kmem.NoRoomInTimeError */
static PyObject *rows;     /* the module kmem._rows */
static PyObject *a_handle; /* kmem.Handle */

int convert_open(void)
{
    PyObject *module = PyImport_ImportModule("kmem._errors");
    errors = module != NULL ? PyObject_GetAttrString(module, "BY_ERRNO") : NULL;
    error = errors != NULL ? PyObject_GetAttrString(module, "Error") : NULL;
    late = error != NULL ? PyObject_GetAttrString(module, "NoRoomInTimeError") : NULL;
    Py_XDECREF(module);
    rows = late != NULL ? PyImport_ImportModule("kmem._rows") : NULL;
    a_handle = rows != NULL ? PyObject_GetAttrString(rows, "Handle") : NULL;
    return a_handle != NULL ? 0 : -1;
}

PyObject *convert_class(const char *name)
{
    PyObject *found = PyObject_GetAttrString(rows, name);
    Py_XDECREF(found); /* the module keeps it */
    return found;
}

static PyObject *raise_as(PyObject *class, int error_number, const char *sentence)
{
    PyObject *number = PyLong_FromLong(-error_number);
    PyObject *text = convert_text(sentence);
    PyObject *arguments = number != NULL && text != NULL ? PyTuple_Pack(2, number, text) : NULL;
    if (arguments != NULL) {
        PyErr_SetObject(class, arguments);
        Py_DECREF(arguments);
    }
    Py_XDECREF(number);
    Py_XDECREF(text);
    return NULL;
}

PyObject *convert_raise(int error_number, const char *sentence)
{
    PyObject *number = PyLong_FromLong(-error_number);
    PyObject *class =
        number != NULL ? PyDict_GetItemWithError(errors, number) : NULL; /* borrowed */
    Py_XDECREF(number);
    return raise_as(class != NULL ? class : error, error_number, sentence);
}

PyObject *convert_raise_late(const char *sentence)
{
    return raise_as(late, -ENOMEM, sentence);
}

PyObject *convert_raise_last(int error_number)
{
    return convert_raise(error_number, kmem_last_error());
}

PyObject *convert_text(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

/* ----------------------------------------------------------------------------------- handles -- */

PyObject *convert_from_handle(const struct kmem_handle *handle)
{
    return PyObject_CallFunction(
        a_handle, "KKKKK", (unsigned long long)handle->instance,
        (unsigned long long)handle->generation, (unsigned long long)handle->tag,
        (unsigned long long)handle->offset, (unsigned long long)handle->num_bytes);
}

static int handle_of_text(PyObject *object, struct kmem_handle *ret_handle)
{
    const char *text = PyUnicode_AsUTF8AndSize(object, NULL);
    int r;
    if (text == NULL) {
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS;
    r = kmem_handle_from_text(text, ret_handle);
    Py_END_ALLOW_THREADS;
    if (r < 0) {
        (void)convert_raise_last(r);
        return -1;
    }
    return 0;
}

int convert_to_handle(PyObject *object, struct kmem_handle *ret_handle)
{
    uint64_t numbers[5];
    if (PyUnicode_Check(object)) {
        return handle_of_text(object, ret_handle);
    }
    const int is_handle = PyObject_IsInstance(object, a_handle);
    if (is_handle <= 0) {
        if (is_handle == 0) {
            PyErr_SetString(PyExc_TypeError, "a kmem.Handle is wanted, or its text");
        }
        return -1;
    }
    for (Py_ssize_t i = 0; i < 5; i++) {
        PyObject *number = PyTuple_GetItem(object, i); /* borrowed */
        numbers[i] = number != NULL ? PyLong_AsUnsignedLongLong(number) : 0;
        if (PyErr_Occurred() != NULL) {
            return -1;
        }
    }
    *ret_handle = (struct kmem_handle){numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
    return 0;
}

/* -------------------------------------------------------------------------------------- time -- */

int convert_timeout(PyObject *object, int64_t *ret_timeout_ms)
{
    if (object == NULL || object == Py_None) {
        *ret_timeout_ms = CONVERT_FOR_EVER;
        return 0;
    }
    const double seconds = PyFloat_AsDouble(object);
    if (PyErr_Occurred() != NULL) {
        return -1;
    }
    if (!(seconds >= 0)) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, 0 or more, or None");
        return -1;
    }
    /* Longer than a hundred years is for ever. */
    *ret_timeout_ms = seconds < 4e9 ? (int64_t)ceil(seconds * 1000) : CONVERT_FOR_EVER;
    return 0;
}
