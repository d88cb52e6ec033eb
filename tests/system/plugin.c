/* SPDX-License-Identifier: MIT */
/*
 * A plugin that uses libkmem; plugin_host.c loads it, uses it, and unloads it while its threads go
 * on. It is built twice: with the shared library, and with the archive inside.
 */
#include <stddef.h>
#include <string.h>

#include <kmem/kmem.h>

#include "tests/system/plugin.h"

#define N_BLOCKS 100

/* Direct blocks and, as it is done again and again, leased ones. Return: 0, or what went wrong. */
KMEM_API int plugin_use(const char **ret_error)
{
    void *blocks[N_BLOCKS];
    for (size_t i = 0; i < N_BLOCKS; i++) {
        const size_t num_bytes = i % 10 == 0 ? 70000 : 200;
        blocks[i] = kmem_try_allocate(num_bytes, "plugin");
        if (blocks[i] == NULL) {
            *ret_error = kmem_last_error();
            return -1;
        }
        memset(blocks[i], 1, num_bytes);
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        const int r = kmem_try_release(&blocks[i]);
        if (r < 0) {
            *ret_error = kmem_last_error();
            return r;
        }
    }
    return 0;
}

/* A block that the program keeps when the plugin is gone. */
KMEM_API void *plugin_keep(void)
{
    return kmem_try_allocate(3000, "kept");
}
