/* SPDX-License-Identifier: MIT */
/* kmem._kmem: what the package kmem is made of, on libkmem. */
#include "client/python/block.h"
#include "client/python/calls.h"
#include "client/python/convert.h"
#include "client/python/queries.h"

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "kmem._kmem",
    .m_doc = "What the package kmem is made of, on libkmem.",
    .m_size = -1, /* one segment a process: the library has one, and so have all interpreters */
};

PyMODINIT_FUNC PyInit__kmem(void);

PyMODINIT_FUNC PyInit__kmem(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *block = module != NULL && convert_open() == 0 ? block_open() : NULL;
    if (block == NULL || PyModule_AddObjectRef(module, "Block", block) < 0 ||
        PyModule_AddFunctions(module, calls_methods) < 0 ||
        PyModule_AddFunctions(module, queries_methods) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
