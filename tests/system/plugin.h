/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SYSTEM_PLUGIN_H
#define TESTS_SYSTEM_PLUGIN_H

#include <kmem/kmem.h>

KMEM_API int plugin_use(const char **ret_error);
KMEM_API void *plugin_keep(void);

#endif
