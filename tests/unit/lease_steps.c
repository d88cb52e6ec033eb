/* SPDX-License-Identifier: MIT */
#include "tests/unit/lease_steps.h"

#include <string.h>

#include "proto/lease.h"
#include "tests/unit/core_model.h"

static struct model_page *page_at(uint32_t page)
{
    return &run.model.pages[page];
}

static uint32_t n_pages_all(void)
{
    return run.core->state.n_pages;
}

/* Whether the table says that a page is leased to a client. */
static bool table_says(uint32_t page, const struct client *client)
{
    const uint64_t word = pages_word(&run.core->pages, pages_run_of(&run.core->pages, page));
    return PAGE_WORD_STATE(word) == PAGE_LEASED && PAGE_WORD_OWNER(word) == client->slot;
}

static bool table_says_free(uint32_t page)
{
    const uint64_t word = pages_word(&run.core->pages, pages_run_of(&run.core->pages, page));
    return PAGE_WORD_STATE(word) == PAGE_FREE;
}

/* ----------------------------------------------------------------------- what comes back ------ */

static void page_forget(uint32_t page)
{
    struct model_client *client = model_client(&run.model, page_at(page)->pid);
    client->leased_pages--;
    run.model.leased_pages--;
    *page_at(page) = (struct model_page){.pid = 0};
}

/* Whatever the daemon took back was unused; what is in use is where it was. */
static void pages_taken_back(void)
{
    for (uint32_t page = 0; page < n_pages_all(); page++) {
        if (page_at(page)->pid == 0) {
            continue;
        }
        const struct client *client = model_client(&run.model, page_at(page)->pid)->client;
        const uint32_t state = lease_state_of(client->states, page) & LEASE_STATE_MASK;
        if (page_at(page)->used) {
            EXPECT(state == LEASE_USED);
            EXPECT(table_says(page, client));
        } else if (state != LEASE_FREE) {
            EXPECT(state == LEASE_NONE);
            page_forget(page);
        }
    }
}

void lease_steps_check(void)
{
    pages_taken_back();
    for (uint32_t page = 0; page < n_pages_all(); page++) {
        for (uint32_t i = 0; i < run.model.n_clients; i++) {
            const struct model_client *client = &run.model.clients[i];
            EXPECT(table_says(page, client->client) == (page_at(page)->pid == client->pid));
        }
    }
}

void lease_steps_reaped(void)
{
    for (uint32_t page = 0; page < n_pages_all(); page++) {
        const uint32_t pid = page_at(page)->pid;
        const struct model_client *client = pid ? model_client(&run.model, pid) : NULL;
        if (client && client->ended && (client->buried || !table_says(page, client->client))) {
            page_forget(page);
        }
    }
    for (uint32_t i = run.model.n_blocks; i-- > 0;) {
        struct model_block *block = &run.model.blocks[i];
        if (block->leased && page_at((uint32_t)(block->offset >> PAGE_SHIFT))->pid != block->pid) {
            EXPECT(model_client(&run.model, block->pid)->ended);
            model_block_remove(&run.model, block);
        }
    }
}

/* The longest run there would be if all that is unused were taken back. */
static uint32_t room_pages(void)
{
    uint32_t longest = 0;
    uint32_t n_pages = 0;
    for (uint32_t page = 0; page < n_pages_all(); page++) {
        const bool unused = page_at(page)->pid != 0 && !page_at(page)->used;
        n_pages = unused || table_says_free(page) ? n_pages + 1 : 0;
        longest = n_pages > longest ? n_pages : longest;
    }
    return longest;
}

bool lease_steps_make_room(uint32_t n_pages)
{
    const bool can = room_pages() >= n_pages;
    const bool made = leases_make_room(&run.core->leases, n_pages) == 0;
    EXPECT(made == can);
    pages_taken_back();
    run.n_made_room += made;
    return made;
}

/* --------------------------------------------------------------------------------- the steps -- */

/* Pages that the model did not give to anybody, or that nobody used. */
static void granted(struct model_client *client, uint32_t page, uint32_t n_pages)
{
    pages_taken_back();
    for (uint32_t i = page; i < page + n_pages; i++) {
        EXPECT(page_at(i)->pid == client->pid || page_at(i)->pid == 0);
        EXPECT(!page_at(i)->used);
        EXPECT(table_says(i, client->client));
        if (page_at(i)->pid == 0) {
            client->leased_pages++;
            run.model.leased_pages++;
        }
        *page_at(i) = (struct model_page){.pid = client->pid};
    }
    model_client_note_peak(client);
    run.n_leased++;
}

void lease_steps_grant(void)
{
    struct model_client *client = random_living();
    if (!client) {
        return;
    }
    const uint32_t n_pages = (uint32_t)seeded_log(&run.seeded, 6);
    const uint32_t want_pages = n_pages + below(40);
    if (!may_have(client, (uint64_t)want_pages << PAGE_SHIFT)) {
        run.n_over_quota++;
        return;
    }
    const bool can = room_pages() >= n_pages;
    uint32_t page;
    uint32_t n_granted;
    const int r =
        leases_grant(&run.core->leases, client->client, n_pages, want_pages, 0, &page, &n_granted);
    EXPECT(r == (can ? 0 : LEASES_E_FULL));
    if (r) {
        pages_taken_back();
        run.n_refused++;
        return;
    }
    EXPECT(n_granted >= n_pages);
    EXPECT(n_granted <= want_pages);
    granted(client, page, n_granted);
}

/* The id in a client's own table; the words are there from the first use on. */
static uint32_t reason_id(struct ledger *ledger, uint32_t reason)
{
    if (reason == 0) {
        return REASON_NONE;
    }
    const uint32_t id = REASONS_RESERVED + reason;
    const char *text = model_reason(reason);
    ledger->reasons[id].n_bytes = (uint8_t)strlen(text);
    memcpy(ledger->reasons[id].bytes, text, strlen(text));
    return id;
}

static void carve_block(const struct model_client *client, struct ledger *ledger, uint32_t page,
                        uint64_t num_bytes)
{
    const uint32_t reason = below(N_REASONS);
    const uint32_t born = core_tick(run.core, run.fixture.now_ms);
    const uint32_t index = ledger_take(ledger, page, num_bytes, reason_id(ledger, reason), born, 0);
    const struct model_block block = {
        .offset = ledger_offset(ledger, page, index).bytes,
        .num_bytes = num_bytes,
        .pid = client->pid,
        .reason = reason,
        .born = born,
        .leased = true,
    };
    EXPECT(run.model.n_blocks < MODEL_BLOCKS_MAX);
    EXPECT(model_block_add(&run.model, &block, core_segment_bytes(run.core)));
    run.n_carved++;
}

static void carve(const struct model_client *client, uint32_t page, uint32_t n_pages,
                  uint32_t size_class)
{
    struct ledger *ledger = fixture_ledger(&run.fixture, client->client);
    for (uint32_t i = page; i < page + n_pages; i++) {
        EXPECT(page_at(i)->pid == client->pid);
        EXPECT(!page_at(i)->used);
        page_at(i)->used = true;
    }
    if (size_class == N_SIZE_CLASSES) {
        ledger_large_open(ledger, page, n_pages);
        carve_block(client, ledger, page, (n_pages << PAGE_SHIFT) - below(PAGE_BYTES));
        return;
    }
    ledger_slab_open(ledger, page, size_class);
    for (uint32_t n = below(8); n > 0 && !ledger_slab_is_full(&ledger->heads[page]); n--) {
        carve_block(client, ledger, page, 1 + below(size_classes[size_class].block_bytes));
    }
}

void lease_steps_carve(void)
{
    struct model_client *client = random_living();
    if (!client) {
        return;
    }
    _Atomic uint64_t *states = client->client->states;
    const uint32_t size_class = below(2) ? below(N_SIZE_CLASSES) : N_SIZE_CLASSES;
    const uint32_t n_pages = size_class < N_SIZE_CLASSES ? size_classes[size_class].span_pages
                                                         : (uint32_t)seeded_log(&run.seeded, 5);
    uint32_t page = below(n_pages_all());
    bool zero;
    if (below(4) == 0 && page + n_pages <= n_pages_all()) {
        /* Any pages, whosever they are. */
        bool can = true;
        for (uint32_t i = page; i < page + n_pages; i++) {
            can = can && page_at(i)->pid == client->pid && !page_at(i)->used;
        }
        EXPECT(lease_take(states, page, n_pages, &zero) == can);
        if (can) {
            carve(client, page, n_pages, size_class);
        }
        return;
    }
    if (lease_find(states, 0, n_pages_all(), n_pages, &page)) {
        EXPECT(lease_take(states, page, n_pages, &zero));
        carve(client, page, n_pages, size_class);
    }
}

/* The first slab or large block of a client from some page on; false: there is none. */
static bool carved_find(const struct model_client *client, uint32_t *page)
{
    const struct ledger *ledger = fixture_ledger(&run.fixture, client->client);
    for (; *page < n_pages_all(); ++*page) {
        const uint32_t kind = atomic_load(&ledger->heads[*page].kind);
        if (page_at(*page)->pid == client->pid && page_at(*page)->used &&
            (kind == HEAD_SLAB || kind == HEAD_LARGE)) {
            return true;
        }
    }
    return false;
}

void lease_steps_clear(void)
{
    const struct model_client *client = random_living();
    uint32_t page = below(n_pages_all());
    if (!client || !carved_find(client, &page)) {
        return;
    }
    struct ledger *ledger = fixture_ledger(&run.fixture, client->client);
    const uint32_t n_pages = ledger->heads[page].span_pages;
    const uint64_t begin = (uint64_t)page << PAGE_SHIFT;
    for (uint32_t i = run.model.n_blocks; i-- > 0;) {
        struct model_block *block = &run.model.blocks[i];
        struct ledger_block found;
        if (block->offset - begin < (uint64_t)n_pages << PAGE_SHIFT) {
            EXPECT(ledger_find(ledger, (struct seg_off){block->offset}, &found) == 0);
            ledger_give(ledger, &found);
            model_block_remove(&run.model, block);
        }
    }
    ledger_slab_close(ledger, page);
    lease_give(client->client->states, page, n_pages);
    for (uint32_t i = page; i < page + n_pages; i++) {
        page_at(i)->used = false;
    }
}

void lease_steps_return(void)
{
    const struct model_client *client = random_living();
    if (!client) {
        return;
    }
    const uint32_t begin = below(n_pages_all());
    const uint32_t end = begin + below(60);
    uint32_t n_unused = 0;
    for (uint32_t page = begin; page < end && page < n_pages_all(); page++) {
        n_unused += page_at(page)->pid == client->pid && !page_at(page)->used;
    }
    EXPECT(leases_return(&run.core->leases, client->client, begin, end) == n_unused);
    pages_taken_back();
}
