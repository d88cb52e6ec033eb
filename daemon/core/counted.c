/* SPDX-License-Identifier: MIT */
#include "daemon/core/counted.h"

#include "proto/counts.h"

/*
 * 2^53: at a hundred million a second a client gets there in three years, and what 4,096 of them
 * say at most can be added up 511 times; also the largest number that every reader of JSON knows.
 */
#define COUNTED_MAX (UINT64_C(1) << 53)

static uint64_t at_most(uint64_t number, uint64_t limit)
{
    return number < limit ? number : limit;
}

static uint64_t count_read(const _Atomic uint64_t *count)
{
    /* Relaxed: each number stands alone. */
    return at_most(atomic_load_explicit(count, memory_order_relaxed), COUNTED_MAX);
}

static uint64_t releases_read(const struct ledger_counts *counts)
{
    const uint64_t n_threads = at_most(count_read(&counts->n_threads), COUNTS_THREADS);
    uint64_t n_releases = count_read(&counts->n_releases);
    for (uint64_t i = COUNTS_THREADS - n_threads; i < COUNTS_THREADS; i++) {
        /* Volatile: another process writes it. */
        const volatile uint64_t *count = &counts->threads[i].n_releases;
        n_releases = at_most(n_releases + at_most(*count, COUNTED_MAX), COUNTED_MAX);
    }
    return n_releases;
}

struct counted counted_read(const struct client *client)
{
    const struct ledger_counts *counts = client->counts;
    if (!counts) {
        return (struct counted){0};
    }
    return (struct counted){
        .n_releases = releases_read(counts),
        .n_misuses = count_read(&counts->n_misuses),
        .n_too_large = count_read(&counts->n_too_large),
        .n_invalid = count_read(&counts->n_invalid),
    };
}

/* Threads without a place count late. */
bool counted_releases(const struct client *client, uint64_t *ret_n_releases)
{
    const struct ledger_counts *counts = client->counts;
    if (!counts || count_read(&counts->n_threads) >= COUNTS_THREADS) {
        return false;
    }
    *ret_n_releases = releases_read(counts);
    return true;
}

/* What is live was given to the client, and charged to it. */
uint64_t counted_live_bytes(const struct client *client)
{
    const uint64_t charged_bytes = client_charged_bytes(client);
    return client->counts ? at_most(count_read(&client->counts->live_bytes), charged_bytes) : 0;
}

uint64_t counted_peak_bytes(const struct client *client)
{
    const uint64_t charged_bytes = client->stored->peak_bytes;
    return client->counts ? at_most(count_read(&client->counts->peak_bytes), charged_bytes) : 0;
}

void counted_add(struct counted *sum, const struct counted *counted)
{
    sum->n_releases += counted->n_releases;
    sum->n_misuses += counted->n_misuses;
    sum->n_too_large += counted->n_too_large;
    sum->n_invalid += counted->n_invalid;
}

void counted_note_peak(struct client *client, struct state_counters *counters)
{
    client_note_used(client, counted_peak_bytes(client));
    state_raise(&counters->peak_used_bytes, client->stored->peak_used_bytes);
}

uint64_t counted_note_peaks(struct clients *clients, struct state_counters *counters)
{
    uint64_t used_bytes = 0;
    struct client *client = clients_next(clients, 0);
    for (; client; client = clients_next(clients, client->slot + 1)) {
        const uint64_t live_bytes = counted_live_bytes(client);
        /* A client without the library counts nothing, and has direct blocks only. */
        used_bytes += live_bytes > client->num_bytes ? live_bytes : client->num_bytes;
        counted_note_peak(client, counters);
    }
    state_raise(&counters->peak_used_bytes, used_bytes);
    return used_bytes;
}
