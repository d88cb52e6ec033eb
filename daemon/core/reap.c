/* SPDX-License-Identifier: MIT */
/*
 * reap.c - taking back what ended clients held
 *
 * Taking back is a walk over all direct slabs, not over a list of the client's blocks. A list would
 * cost every allocation two more stores and every block eight more bytes, for ever, so that a death
 * is cheaper; the walk looks at a million blocks in some milliseconds, serves any number of deaths
 * at once, needs nothing that must be rebuilt after a crash, and pauses whenever it is told to, so
 * that no client waits for it. A client that holds nothing needs no walk.
 */
#include "daemon/core/reap.h"

#include "daemon/core/block_iter.h"
#include "daemon/core/counted.h"
#include "daemon/core/queue.h"
#include "daemon/core/released.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"

/* A step of the reaping, and what it has cost. */
struct step {
    struct core *core;
    uint32_t budget;
    uint32_t spent;
};

static void reap_note(const struct block *block, void *user)
{
    struct step *step = user;
    step->spent += obituaries_note(&step->core->obituaries, block);
}

/* 100 entries: two reads. Small leases come back at once, in however small steps. */
#define REAP_READ_MIN (2 * CLIENT_LEDGER_READ_COST)

/*
 * Reads what a lease of an ended client says of its blocks, one last time, as far as the budget
 * goes. Blocks before reap.at have been read by an earlier step. Return: whether the run is read.
 */
static bool reap_read(struct step *step, const struct client *client, uint32_t page, uint32_t end)
{
    struct reap *progress = &step->core->reap;
    const uint64_t at_page = progress->at.bytes >> PAGE_SHIFT;
    /* By this walk, of this client: before that, the pages may have been another's. */
    const bool is_begun = progress->at_slot == client->slot && at_page >= page;
    if (is_begun && at_page >= end) {
        return true; /* it was one run with what is behind it, where the reading has come to */
    }
    const struct seg_off from =
        is_begun ? progress->at : (struct seg_off){(uint64_t)page << PAGE_SHIFT};
    const uint32_t left = step->budget - step->spent;
    const uint32_t budget = left > REAP_READ_MIN ? left : REAP_READ_MIN;
    struct block_iter iter;
    struct block block;
    block_iter_init_run(&iter, step->core, from, budget);
    while (iter.spent < budget && block_iter_next(&iter, &block)) {
        iter.spent += obituaries_note(&step->core->obituaries, &block);
        progress->n_noted++;
    }
    step->spent += iter.spent;
    progress->at = block_iter_position(&iter);
    progress->at_slot = client->slot;
    return progress->at.bytes == 0;
}

/*
 * Whether a lease lies where another's, whose reading is not over, has been read: it was granted
 * since, of what that left unused. To read it would lose the place there.
 */
static bool is_for_next_walk(const struct reap *progress, const struct client *client,
                             uint32_t page)
{
    return client->slot != progress->at_slot && page < progress->at.bytes >> PAGE_SHIFT;
}

/* Takes a lease of an ended client back. Return: whether the walk can go on behind it. */
static bool reap_lease(struct step *step, uint32_t page, uint32_t end)
{
    struct core *core = step->core;
    struct client *client =
        clients_get(&core->clients, PAGE_WORD_OWNER(pages_word(&core->pages, page)));
    if (client->client_state != CLIENT_ENDED || is_for_next_walk(&core->reap, client, page)) {
        return true;
    }
    if (client->states && !reap_read(step, client, page, end)) {
        return false;
    }
    leases_reap(&core->leases, client, page);
    core->state.counters->leased_taken_back += core->reap.n_noted;
    core->reap.n_noted = 0;
    return true;
}

/* From run to run, until the budget is spent. Return: where to go on; 0: the walk is complete. */
static uint32_t reap_walk(struct step *step, uint32_t from_page)
{
    struct core *core = step->core;
    const uint32_t n_pages = core->state.n_pages;
    uint32_t page = pages_run_of(&core->pages, from_page);
    while (page < n_pages && step->spent < step->budget) {
        const uint64_t word = pages_word(&core->pages, page);
        const uint32_t end = page + PAGE_WORD_PAGES(word);
        step->spent++;
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT) {
            step->spent += core->direct.ledger->heads[page].n_carved;
            KMEM_CRASH_POINT("server.reap.direct");
            direct_reap_run(&core->direct, page, reap_note, step);
        } else if (PAGE_WORD_STATE(word) == PAGE_LEASED && !reap_lease(step, page, end)) {
            return page;
        }
        page = end;
    }
    return page < n_pages ? page : 0;
}

static void note_taken_back(struct core *core, const struct obituary *obituary)
{
    const struct change_facts facts = {
        .kind = CHANGE_TAKEN_BACK,
        .num_bytes = obituary->num_bytes,
        .n_blocks = obituary->n_blocks,
    };
    core_note_change(core, &obituary->identity, &facts, NULL, 0);
}

/*
 * Writes the obituaries of ended clients that hold nothing any more. Return: whether those of all
 * of them are written.
 */
static bool reap_finalize(struct step *step, reap_written_fn written, void *user)
{
    struct core *core = step->core;
    struct client *client = clients_next(&core->clients, 0);
    while (client && core->clients.n_ended > 0) {
        if (client->client_state == CLIENT_ENDED && client->n_blocks == 0 &&
            client->leased_pages == 0) {
            if (step->spent >= step->budget ||
                !obituaries_prepare(&core->obituaries, client, step->budget)) {
                return false;
            }
            const uint32_t slot = client->slot;
            counted_note_peak(client, core->state.counters); /* the last that it counted */
            step->spent += released_keep(core, slot);
            const struct obituary *obituary = obituaries_write(&core->obituaries, client);
            KMEM_CRASH_POINT("server.obituary.written");
            note_taken_back(core, obituary);
            accounts_leave(&core->accounts, client);
            clients_remove(&core->clients, client);
            if (core->reap.at_slot == slot) {
                core->reap.at = (struct seg_off){0}; /* the slot's next client is not read yet */
            }
            written(obituary, slot, user);
            queue_look(core);
            step->spent += REAP_OBITUARY_COST + core->clients.n_slots;
        }
        client = clients_next(&core->clients, client->slot + 1);
    }
    return true;
}

/* Ended clients let go of what they share: first, see sharing_reap(). Return: whether all have. */
static bool reap_shared(struct step *step)
{
    struct core *core = step->core;
    struct client *client = core_has_dead(core) ? clients_next(&core->clients, 0) : NULL;
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        if (client->client_state == CLIENT_ENDED && !client->has_let_go &&
            !sharing_reap(core, client, step->budget, &step->spent)) {
            return false;
        }
    }
    return true;
}

void reap(struct core *core, uint32_t budget, reap_written_fn written, void *user)
{
    struct step step = {.core = core, .budget = budget};
    if (!reap_shared(&step) || !reap_finalize(&step, written, user)) {
        return;
    }
    if (!core_has_dead(core)) {
        core->reap.from_page = 0;
        return;
    }
    if (core->reap.from_page == 0) {
        core->reap.n_ended_behind = 0;
        core->reap.at = (struct seg_off){0};
    }
    step.spent = 0; /* at least one run is looked at */
    core->reap.from_page = reap_walk(&step, core->reap.from_page);
    step.spent = 0; /* and what it was the last of is written */
    const bool is_complete = reap_finalize(&step, written, user);
    /* A whole walk leaves only clients that ended while it was under way. */
    KMEM_ASSERT(core->reap.from_page != 0 || core->reap.n_ended_behind != 0 || !is_complete ||
                !core_has_dead(core));
}
