/* SPDX-License-Identifier: MIT */
#include "client/heap/lifetimes.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "client/map/map.h"

#define PLACES_BYTES (LEDGER_REASONS_MAX * sizeof(uint16_t))
#define LIFETIMES_NONE UINT16_MAX

int kmem__lifetimes_init(struct lifetime_notes *lifetimes, struct ledger *ledger)
{
    void *places = kmem__map_sparse(NULL, PLACES_BYTES, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (places == MAP_FAILED) {
        return -ENOMEM;
    }
    (void)madvise(places, PLACES_BYTES, MADV_DONTFORK); /* as the ledger's mapping */
    lifetimes->places = places;
    lifetimes->records = ledger->lifetimes;
    return 0;
}

void kmem__lifetimes_fini(struct lifetime_notes *lifetimes)
{
    if (lifetimes->places != NULL) {
        (void)munmap((void *)lifetimes->places, PLACES_BYTES);
        lifetimes->places = NULL;
    }
}

/* The number of what stands before '#': the reason's own, if nothing follows one. */
static uint32_t reason_without_detail(struct intern *intern, uint32_t reason)
{
    if (reason < REASONS_RESERVED) {
        return reason;
    }
    const struct ledger_reason *text = &intern->ledger->reasons[reason];
    const char *detail = memchr(text->bytes, '#', text->n_bytes);
    return detail == NULL || detail == text->bytes
               ? reason
               : kmem__intern(intern, text->bytes, (size_t)(detail - text->bytes));
}

/* Under the lock. Return: as in places. */
static uint16_t record_of(struct lifetime_notes *lifetimes, uint32_t reason)
{
    uint16_t place = atomic_load_explicit(&lifetimes->places[reason], memory_order_relaxed);
    if (place == 0) {
        place = LIFETIMES_NONE;
        if (lifetimes->n_records < LIFETIMES_MAX) {
            place = (uint16_t)++lifetimes->n_records;
            /* Release: pairs with the server's read; its text is in the table. */
            atomic_store_explicit(&lifetimes->records[place - 1].reason, reason + 1,
                                  memory_order_release);
        }
        atomic_store_explicit(&lifetimes->places[reason], place, memory_order_relaxed);
    }
    return place;
}

static uint16_t place_find(struct lifetime_notes *lifetimes, struct intern *intern, uint32_t reason)
{
    const uint32_t whole = reason_without_detail(intern, reason);
    (void)pthread_mutex_lock(&lifetimes->lock);
    const uint16_t place = record_of(lifetimes, whole);
    atomic_store_explicit(&lifetimes->places[reason], place, memory_order_relaxed);
    (void)pthread_mutex_unlock(&lifetimes->lock);
    return place;
}

void kmem__lifetimes_note(struct lifetime_notes *lifetimes, struct intern *intern, uint32_t reason,
                          uint32_t ticks, uint32_t n_releases)
{
    if (lifetimes->places == NULL || reason >= LEDGER_REASONS_MAX) {
        return;
    }
    uint16_t place = atomic_load_explicit(&lifetimes->places[reason], memory_order_relaxed);
    place = place != 0 ? place : place_find(lifetimes, intern, reason);
    if (place != LIFETIMES_NONE) {
        /* Relaxed: it stands alone. */
        (void)atomic_fetch_add_explicit(&lifetimes->records[place - 1].n[lifetime_range(ticks)],
                                        n_releases, memory_order_relaxed);
    }
}
