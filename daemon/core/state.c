/* SPDX-License-Identifier: MIT */
#include "daemon/core/state.h"

#include "proto/store.h"

#define PART_ALIGN_BYTES 4096

struct state_layout {
    uint64_t words_at;
    uint64_t maybe_dirty_at;
    uint64_t clients_at;
    uint64_t reasons_at;
    uint64_t obituaries_at;
    uint64_t shares_at;
    uint64_t holds_at;
    uint64_t names_at;
    uint64_t series_at;
    uint64_t seconds_at;
    uint64_t minutes_at;
    uint64_t refusals_at;
    uint64_t ledger_at;
    uint64_t total_bytes;
};

static uint64_t part_reserve(uint64_t *at, uint64_t n_bytes)
{
    const uint64_t begin = *at;
    *at = (begin + n_bytes + PART_ALIGN_BYTES - 1) & ~(uint64_t)(PART_ALIGN_BYTES - 1);
    return begin;
}

static void state_layout_init(struct state_layout *layout, uint32_t n_pages)
{
    struct ledger_layout ledger;
    ledger_layout_init(&ledger, n_pages);
    uint64_t at = 0;
    (void)part_reserve(&at, sizeof(struct state_header)); /* the header begins at 0 */
    layout->words_at = part_reserve(&at, n_pages * sizeof(uint64_t));
    layout->maybe_dirty_at = part_reserve(&at, STATE_MAYBE_DIRTY_WORDS(n_pages) * sizeof(uint64_t));
    layout->clients_at = part_reserve(&at, CLIENTS_MAX * sizeof(struct state_client));
    layout->reasons_at = part_reserve(&at, REASONS_MAX * sizeof(struct state_reason));
    layout->obituaries_at = part_reserve(&at, OBITUARIES_PLACES * sizeof(struct obituary));
    layout->shares_at = part_reserve(&at, SHARES_MAX * sizeof(struct state_share));
    layout->holds_at = part_reserve(&at, HOLDS_MAX * sizeof(struct state_hold));
    layout->names_at = part_reserve(&at, SHARE_NAMES_MAX * sizeof(struct state_name));
    layout->series_at = part_reserve(&at, HISTORY_SERIES * sizeof(struct state_series));
    layout->seconds_at = part_reserve(&at, HISTORY_SECONDS * sizeof(struct state_point));
    layout->minutes_at = part_reserve(&at, HISTORY_MINUTES * sizeof(struct state_point));
    layout->refusals_at = part_reserve(&at, sizeof(struct state_refusals));
    layout->ledger_at = part_reserve(&at, ledger.total_bytes);
    layout->total_bytes = at;
}

/* Changes with the ledger's layout and with every size and count that stands here. */
static uint64_t state_signature(void)
{
    const uint64_t parts[] = {
        STATE_LAYOUT_VERSION,
        sizeof(struct state_header),
        sizeof(struct state_client),
        sizeof(struct state_reason),
        sizeof(struct obituary),
        sizeof(struct state_share),
        sizeof(struct state_hold),
        sizeof(struct state_name),
        sizeof(struct state_series),
        sizeof(struct state_point),
        sizeof(struct refusal),
        CLIENTS_MAX,
        REASONS_MAX,
        OBITUARIES_PLACES,
        SHARES_MAX,
        HOLDS_MAX,
        SHARE_NAMES_MAX,
        HISTORY_SECONDS,
        HISTORY_MINUTES,
        REFUSALS_PLACES,
        N_ASKED,
        N_WHY,
    };
    uint64_t signature = ledger_layout_signature();
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        signature = (signature ^ parts[i]) * UINT64_C(0x100000001b3); /* FNV-1a, a word at a time */
    }
    return signature;
}

static void state_view(struct state *state, void *base, const struct state_layout *layout,
                       uint32_t n_pages)
{
    unsigned char *bytes = base;
    state->header = base;
    state->counters = &state->header->counters;
    state->page_words = (void *)(bytes + layout->words_at);
    state->maybe_dirty = (void *)(bytes + layout->maybe_dirty_at);
    state->clients = (void *)(bytes + layout->clients_at);
    state->reasons = (void *)(bytes + layout->reasons_at);
    state->obituaries = (void *)(bytes + layout->obituaries_at);
    state->shares = (void *)(bytes + layout->shares_at);
    state->holds = (void *)(bytes + layout->holds_at);
    state->names = (void *)(bytes + layout->names_at);
    state->series = (void *)(bytes + layout->series_at);
    state->seconds = (void *)(bytes + layout->seconds_at);
    state->minutes = (void *)(bytes + layout->minutes_at);
    state->refusals = (void *)(bytes + layout->refusals_at);
    state->n_pages = n_pages;
}

uint64_t state_bytes(uint32_t n_pages)
{
    struct state_layout layout;
    state_layout_init(&layout, n_pages);
    return layout.total_bytes;
}

void state_format(struct state *state, void *base, uint32_t n_pages, uint32_t begin_pages,
                  uint64_t instance, uint64_t now_ms)
{
    struct state_layout layout;
    state_layout_init(&layout, n_pages);
    state_view(state, base, &layout, n_pages);
    ledger_format(&state->ledger, (unsigned char *)base + layout.ledger_at, n_pages);
    const struct state_header header = {
        .layout = state_signature(),
        .n_pages = n_pages,
        .instance = instance,
        .born_ms = now_ms,
        .asked_pages = begin_pages,
        .now_pages = begin_pages,
    };
    store_prepare_bytes(state->header, &header, sizeof(header));
    if (begin_pages < n_pages) {
        state_commit(state, &state->page_words[begin_pages],
                     PAGE_WORD(PAGE_BEYOND, 0, n_pages - begin_pages));
    }
    state_commit(state, &state->page_words[1], PAGE_WORD(PAGE_FREE, 0, begin_pages - 1));
    state_commit(state, &state->page_words[0], PAGE_WORD(PAGE_RESERVED, 0, 1));
    /* Before: a new file. After: an empty segment. */
    store_commit(&state->header->magic, STATE_MAGIC);
}

bool state_is_new(const void *base)
{
    const struct state_header *header = base;
    return state_load(&header->magic) == 0;
}

int state_attach(struct state *state, void *base, uint32_t n_pages)
{
    const struct state_header *header = base;
    if (state_load(&header->magic) != STATE_MAGIC || header->layout != state_signature() ||
        header->n_pages != n_pages) {
        return STATE_E_FOREIGN;
    }
    struct state_layout layout;
    state_layout_init(&layout, n_pages);
    state_view(state, base, &layout, n_pages);
    if (ledger_attach(&state->ledger, (unsigned char *)base + layout.ledger_at, n_pages)) {
        return STATE_E_FOREIGN;
    }
    return 0;
}

bool state_sizes_of(const struct state_header *header, struct state_sizes *ret_sizes)
{
    if (state_load(&header->magic) != STATE_MAGIC || header->layout != state_signature()) {
        return false;
    }
    ret_sizes->asked_pages = (uint32_t)state_load(&header->asked_pages);
    ret_sizes->now_pages = (uint32_t)state_load(&header->now_pages);
    return true;
}

void state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value)
{
    KMEM_CHECK((void *)where > (void *)state->header);
    store_commit(where, value);
}

struct state_numbers state_numbers(_Atomic uint64_t *reserved)
{
    return (struct state_numbers){.reserved = reserved, .last = state_load(reserved)};
}

uint64_t state_number(struct state *state, struct state_numbers *numbers)
{
    if (numbers->last == state_load(numbers->reserved)) {
        /* Before: none above was given. After: each of these counts as given. */
        state_commit(state, numbers->reserved, numbers->last + STATE_NUMBERS_AHEAD);
    }
    numbers->last++;
    KMEM_ASSERT(numbers->last >> STATE_NUMBER_BITS == 0);
    return numbers->last;
}
