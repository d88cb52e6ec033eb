/* SPDX-License-Identifier: MIT */
/*
 * The module that an address is in, and its name as a reason.
 *
 * The loader keeps a sorted table of its modules for unwinders of stacks; _dl_find_object()
 * reads it without a lock and in 3 ns. Rejected: dladdr() and dl_iterate_phdr(), which take the
 * loader's lock: malloc() is called by the loader itself, while it holds that.
 *
 * What is remembered is the reason of each module, by the address of the loader's description of
 * it, in a table that only grows. That address may come again for another module, so the path is
 * compared too. What a thread remembers of an address is in block.h.
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
    bool is_loader;
    char reason[KMEM_REASON_MAX_BYTES + 1];
    char path[];
};

/* Slots are filled once, from NULL: compare-and-swap, release; read with acquire. */
static _Atomic(struct module *) modules[N_MODULES];

/* One more with each call of the loader. */
static _Atomic uint64_t generation;

/* Heaps that have had something to remember. They stay; push: compare-and-swap, release. */
static struct heap *_Atomic known;

extern void *__tls_get_addr(void *index);
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

/* The loader's own code is where __tls_get_addr() is; _dl_find_object() is libc's. */
static bool is_loader(const struct link_map *map)
{
    struct dl_find_object object;
    return _dl_find_object((void *)(uintptr_t)&__tls_get_addr, &object) != 0 ||
           object.dlfo_link_map == map; /* any, if it is not to be found: nothing is remembered */
}

/* Return: a description of its own; NULL if there is no memory. */
static struct module *module_new(const struct link_map *map)
{
    const size_t path_bytes = strlen(map->l_name) + 1;
    struct module *module = __libc_malloc(sizeof(*module) + path_bytes);
    if (module != NULL) {
        module->map = map;
        module->is_loader = is_loader(map);
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

/* The way that each module takes once. Return: NULL: there is no room for it. */
static const struct module *module_make(const struct link_map *map)
{
    struct module *made = module_new(map);
    for (unsigned int probe = 0; made != NULL && probe < N_PROBES; probe++) {
        struct module *there = slot_fill(&modules[slot_of(map, probe)], made);
        if (there == made) {
            return made;
        }
        if (module_is(there, map)) {
            __libc_free(made);
            return there;
        }
    }
    __libc_free(made);
    return NULL;
}

static const struct module *module_find(const struct link_map *map)
{
    for (unsigned int probe = 0; probe < N_PROBES; probe++) {
        /* Acquire: pairs with slot_fill(). */
        const struct module *module =
            atomic_load_explicit(&modules[slot_of(map, probe)], memory_order_acquire);
        if (module == NULL) {
            return module_make(map);
        }
        if (module_is(module, map)) {
            return module;
        }
    }
    return NULL;
}

/* --------------------------------------------------------------- what heaps remember of it ---- */

static void forget(struct heap *heap)
{
    for (uint32_t set = 0; set < CALL_SETS; set++) {
        for (uint32_t way = 0; way < CALL_WAYS; way++) {
            __atomic_store_n(&heap->calls[set][way].caller, NULL, __ATOMIC_RELAXED);
        }
    }
}

/*
 * The loader has called. A thread that is about to remember writes `caller`, then has_calls, and
 * looks at `generation` once more then; here it is the other way round. So what was looked up
 * before is forgotten here or there.
 */
static void forget_all(void)
{
    (void)atomic_fetch_add_explicit(&generation, 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    /* Acquire: pairs with heap_make_known(). */
    struct heap *heap = atomic_load_explicit(&known, memory_order_acquire);
    for (; heap != NULL; heap = heap->next_known) {
        /* Relaxed: a loader that calls often finds most heaps without. Acquire: what they are. */
        if (atomic_load_explicit(&heap->has_calls, memory_order_relaxed) &&
            atomic_exchange_explicit(&heap->has_calls, false, memory_order_acq_rel)) {
            forget(heap);
        }
    }
}

static void heap_make_known(struct heap *heap)
{
    if (heap->is_known) {
        return;
    }
    heap->is_known = true;
    heap->next_known = atomic_load_explicit(&known, memory_order_relaxed);
    /* Release: pairs with forget_all(). */
    while (!atomic_compare_exchange_weak_explicit(&known, &heap->next_known, heap,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

/* Where a place is, or may be: the ways of a full set are replaced by turns. */
static struct call_site *call_to_write(struct heap *heap, const void *address)
{
    struct call_site *set = caller_set(heap, address);
    for (uint32_t way = 0; way < CALL_WAYS; way++) {
        if (set[way].caller == NULL || set[way].caller == address) {
            return &set[way];
        }
    }
    return &set[heap->n_replaced++ % CALL_WAYS];
}

void caller_remember(struct heap *heap, const void *address, const struct caller *of, uint64_t word)
{
    struct call_site *call = call_to_write(heap, address);
    heap_make_known(heap);
    __atomic_store_n(&call->caller, NULL, __ATOMIC_RELAXED);
    atomic_signal_fence(memory_order_seq_cst); /* a handler may ask here for the one replaced */
    call->word = word;
    __atomic_store_n(&call->caller, address, __ATOMIC_RELEASE);
    atomic_store_explicit(&heap->has_calls, true, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst); /* pairs with forget_all() */
    if (atomic_load_explicit(&generation, memory_order_relaxed) != of->generation) {
        __atomic_store_n(&call->caller, NULL, __ATOMIC_RELAXED);
    }
}

const struct call_site *caller_remembered(struct heap *heap, const void *address)
{
    const struct call_site *set = caller_set(heap, address);
    for (uint32_t way = 0; way < CALL_WAYS; way++) {
        if (set[way].caller == address) {
            return &set[way];
        }
    }
    return NULL;
}

void caller_begin_child(void)
{
    atomic_store_explicit(&known, NULL, memory_order_relaxed);
}

void caller_find(const void *address, struct caller *ret_caller)
{
    struct dl_find_object object;
    /* Acquire: before the look. A module that comes later is not this one. */
    ret_caller->generation = atomic_load_explicit(&generation, memory_order_acquire);
    ret_caller->reason = REASON_UNKNOWN;
    ret_caller->stays = true;
    if (_dl_find_object((void *)(uintptr_t)address, &object) != 0) {
        return;
    }
    const struct module *module = module_find(object.dlfo_link_map);
    ret_caller->reason = module != NULL ? module->reason : REASON_TOO_MANY;
    ret_caller->stays = module != NULL && !module->is_loader;
    if (module != NULL && module->is_loader) {
        forget_all();
    }
}
