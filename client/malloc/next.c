/* SPDX-License-Identifier: MIT */
#include "client/malloc/next.h"

#include <dlfcn.h>
#include <string.h>

next_function next_keep(struct next *next, void *symbol)
{
    next_function found;
    memcpy(&found, &symbol, sizeof(found));
    atomic_store_explicit(&next->found, found, memory_order_relaxed);
    return found;
}

next_function next_find(struct next *next)
{
    return next_keep(next, dlsym(RTLD_NEXT, next->name));
}
