/* SPDX-License-Identifier: MIT */
/*
 * The module that an address is in, and its name as a reason.
 *
 * The loader keeps a sorted table of its modules for unwinders of stacks; _dl_find_object()
 * reads it without a lock and in 3 ns. So nothing is remembered by address, and a module that is
 * loaded where another one was before gets its own name at once. Rejected: dladdr() and
 * dl_iterate_phdr(), which take the loader's lock: malloc() is called by the loader itself, while
 * it holds that.
 *
 * What is remembered is the reason of each module, by the address of the loader's description of
 * it, in a table that only grows. That address may come again for another module, so the path is
 * compared too. A table of reasons that do not move is also what makes an allocation fast: the
 * library compares the text of a reason that it has met at the same address before, and is done.
 */
#include "client/malloc/caller.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <kmem/kmem.h>

#define PREFIX "malloc/"

/* What compilers at run time make, and trampolines: code that is no module's. */
#define REASON_UNKNOWN PREFIX "generated code"
#define REASON_TOO_MANY PREFIX "other modules"

/*
 * 1024: a browser loads some 250 modules. A program that loads and unloads more than this, each at
 * an address of its own, has the rest under one name. 16 probes: at 90 % full nearly all are found.
 */
#define N_MODULES 1024
#define N_PROBES 16

/* Constant once it is in the table; stays for ever. */
struct module {
    const struct link_map *map;
    char reason[KMEM_REASON_MAX_BYTES + 1];
    char path[];
};

/* Slots are filled once, from NULL: compare-and-swap, release; read with acquire. */
static _Atomic(struct module *) modules[N_MODULES];

extern void *__libc_malloc(size_t num_bytes);
extern void __libc_free(void *block);

/* The program itself has no path in the loader's list. */
static const char *module_name(const struct link_map *map)
{
    const char *slash = strrchr(map->l_name, '/');
    if (*map->l_name == '\0') {
        return program_invocation_short_name;
    }
    return slash != NULL ? slash + 1 : map->l_name;
}

/* Return: a description of its own; NULL if there is no memory. */
static struct module *module_new(const struct link_map *map)
{
    const size_t path_bytes = strlen(map->l_name) + 1;
    struct module *module = __libc_malloc(sizeof(*module) + path_bytes);
    if (module != NULL) {
        module->map = map;
        memcpy(module->path, map->l_name, path_bytes);
        /* A name that is longer is cut; snprintf() allocates nothing for strings. */
        (void)snprintf(module->reason, sizeof(module->reason), PREFIX "%.100s", module_name(map));
    }
    return module;
}

static bool module_is(const struct module *module, const struct link_map *map)
{
    return module->map == map && strcmp(module->path, map->l_name) == 0;
}

static size_t slot_of(const struct link_map *map, unsigned int probe)
{
    /* Descriptions are some hundred bytes apart; the multiplier is 2^64 / golden ratio. */
    const uint64_t hash = (uint64_t)(uintptr_t)map * UINT64_C(0x9e3779b97f4a7c15);
    return ((hash >> 32) + probe) % N_MODULES;
}

/* Return: the module in the slot; made's, if the slot was empty. */
static struct module *slot_fill(_Atomic(struct module *) *slot, struct module *made)
{
    struct module *there = NULL;
    /* Release: a thread that sees the module sees its texts. Acquire: a faster thread's module. */
    return atomic_compare_exchange_strong_explicit(slot, &there, made, memory_order_acq_rel,
                                                   memory_order_acquire)
               ? made
               : there;
}

/* The way that each module takes once. */
static const char *reason_make(const struct link_map *map)
{
    struct module *made = module_new(map);
    for (unsigned int probe = 0; made != NULL && probe < N_PROBES; probe++) {
        struct module *there = slot_fill(&modules[slot_of(map, probe)], made);
        if (there == made) {
            return made->reason;
        }
        if (module_is(there, map)) {
            __libc_free(made);
            return there->reason;
        }
    }
    __libc_free(made);
    return REASON_TOO_MANY;
}

const char *caller_reason(const void *address)
{
    struct dl_find_object object;
    if (_dl_find_object((void *)(uintptr_t)address, &object) != 0) {
        return REASON_UNKNOWN;
    }
    for (unsigned int probe = 0; probe < N_PROBES; probe++) {
        /* Acquire: pairs with slot_fill(). */
        const struct module *module = atomic_load_explicit(
            &modules[slot_of(object.dlfo_link_map, probe)], memory_order_acquire);
        if (module == NULL) {
            return reason_make(object.dlfo_link_map);
        }
        if (module_is(module, object.dlfo_link_map)) {
            return module->reason;
        }
    }
    return REASON_TOO_MANY;
}
