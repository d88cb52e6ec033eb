/* SPDX-License-Identifier: MIT */
#include "daemon/core/obituary.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/tick.h"
#include "proto/store.h"
#include "proto/text.h"

struct obituary_draft {
    struct rollup *by_reason; /* NULL: nothing noted, or no memory to note it in */
    uint64_t n_blocks;
    uint64_t num_bytes;
    struct obituary_kept kept;
};

/* Who was to have an obituary that was never written has none. */
static void numbers_recover(struct obituaries *obituaries)
{
    struct state *state = obituaries->state;
    const uint64_t n_slots = state_load(&state->header->n_slots);
    for (uint64_t slot = 0; slot < n_slots; slot++) {
        _Atomic uint64_t *number = &state->clients[slot].obituary;
        if (state_load(number) > obituaries->n_written) {
            /* Before and after: there is none of that number. */
            store_prepare_u64(number, 0);
        }
    }
}

int obituaries_init(struct obituaries *obituaries, struct state *state,
                    const struct rollup_tables *tables)
{
    *obituaries = (struct obituaries){
        .state = state,
        .tables = *tables,
        .kept = state->obituaries,
        .n_written = state_load(&state->header->n_obituaries),
    };
    rollup_purse_init(&obituaries->purse);
    obituaries->drafts = calloc(CLIENTS_MAX, sizeof(*obituaries->drafts));
    if (!obituaries->drafts) {
        obituaries_fini(obituaries);
        return -ENOMEM;
    }
    numbers_recover(obituaries);
    return 0;
}

void obituaries_fini(struct obituaries *obituaries)
{
    for (uint32_t slot = 0; obituaries->drafts && slot < CLIENTS_MAX; slot++) {
        obituaries->drafts[slot].by_reason = rollup_free(obituaries->drafts[slot].by_reason);
    }
    free(obituaries->drafts);
    *obituaries = (struct obituaries){.kept = NULL};
}

uint32_t obituaries_note(struct obituaries *obituaries, const struct block *block)
{
    struct obituary_draft *draft = &obituaries->drafts[block->slot];
    if (draft->n_blocks == 0) {
        draft->by_reason = rollup_new(ROLLUP_BY_REASON, &obituaries->tables, &obituaries->purse);
    }
    draft->n_blocks++;
    draft->num_bytes += block->num_bytes;
    if (!draft->by_reason) {
        return 0;
    }
    const uint64_t spent = rollup_spent(draft->by_reason);
    if (rollup_add(draft->by_reason, block)) {
        /* Half a table would be a wrong one: the obituary goes without. */
        draft->by_reason = rollup_free(draft->by_reason);
        return 0;
    }
    return (uint32_t)(rollup_spent(draft->by_reason) - spent);
}

struct obituary_kept *obituaries_note_kept(struct obituaries *obituaries, uint32_t slot,
                                           uint64_t num_bytes)
{
    struct obituary_kept *kept = &obituaries->drafts[slot].kept;
    kept->n_blocks++;
    kept->num_bytes += num_bytes;
    if (num_bytes <= kept->largest_bytes) {
        return NULL;
    }
    kept->largest_bytes = num_bytes;
    return kept;
}

bool obituaries_prepare(struct obituaries *obituaries, const struct client *client, uint32_t budget)
{
    struct obituary_draft *draft = &obituaries->drafts[client->slot];
    if (!draft->by_reason) {
        return true;
    }
    const int r = rollup_sort_step(draft->by_reason, OBITUARY_ROWS, budget);
    if (r < 0) {
        draft->by_reason = rollup_free(draft->by_reason);
    }
    return r != ROLLUP_E_MORE;
}

static void obituary_rows(struct obituary *obituary, const struct rollup *by_reason)
{
    obituary->n_reasons = rollup_n_groups(by_reason);
    for (; obituary->n_rows < OBITUARY_ROWS && obituary->n_rows < obituary->n_reasons;
         obituary->n_rows++) {
        const struct rollup_group *group = rollup_group(by_reason, obituary->n_rows);
        struct obituary_row *row = &obituary->rows[obituary->n_rows];
        (void)snprintf(row->reason, sizeof(row->reason), "%s", group->key);
        row->n_blocks = group->n_blocks;
        row->num_bytes = group->num_bytes;
        row->oldest = group->oldest;
    }
}

static struct obituary *obituary_place(const struct obituaries *obituaries, uint64_t number)
{
    return &obituaries->kept[number % OBITUARIES_PLACES];
}

static void obituary_commit(struct obituaries *obituaries, const struct client *client)
{
    struct state *state = obituaries->state;
    const uint64_t number = obituaries->n_written + 1;
    store_prepare_u64(&state->clients[client->slot].obituary, number);
    /* Before: the client has none, and its place is nobody's. After: it has one. */
    state_commit(state, &state->header->n_obituaries, number);
    obituaries->n_written = number;
}

static struct counted obituaries_counted(const struct obituaries *obituaries)
{
    const struct obituary *last = obituary_place(obituaries, obituaries->n_written);
    if (obituaries->n_written == 0) {
        return (struct counted){0};
    }
    return (struct counted){
        .n_releases = last->sum_releases,
        .n_misuses = last->sum_misuses,
        .n_too_large = last->sum_too_large,
        .n_invalid = last->sum_invalid,
    };
}

struct counted obituaries_counted_all(const struct obituaries *obituaries,
                                      const struct clients *clients)
{
    struct counted sum = obituaries_counted(obituaries);
    const struct client *client = clients_next(clients, 0);
    for (; client; client = clients_next(clients, client->slot + 1)) {
        const struct counted counted = counted_read(client);
        counted_add(&sum, &counted);
    }
    sum.n_releases += obituaries->state->counters->leased_taken_back;
    return sum;
}

uint64_t obituaries_n_seen(const struct obituaries *obituaries, const struct clients *clients)
{
    uint64_t n_seen = obituaries->n_written;
    const struct client *client = clients_next(clients, 0);
    for (; client; client = clients_next(clients, client->slot + 1)) {
        n_seen += state_load(&client->stored->obituary) == 0;
    }
    return n_seen;
}

const struct obituary *obituaries_write(struct obituaries *obituaries, const struct client *client)
{
    const uint64_t written = state_load(&obituaries->state->clients[client->slot].obituary);
    if (written != 0) {
        return obituary_place(obituaries, written);
    }
    const uint64_t number = obituaries->n_written + 1;
    struct obituary_draft *draft = &obituaries->drafts[client->slot];
    struct counted sum = obituaries_counted(obituaries);
    const struct counted counted = counted_read(client);
    counted_add(&sum, &counted);
    struct obituary obituary = {
        .number = number,
        .identity = client->identity,
        .left = client->left,
        .born = client->born,
        .ended = client->ended,
        .n_blocks = draft->n_blocks,
        .num_bytes = draft->num_bytes,
        .peak_bytes = client->stored->peak_bytes,
        .peak_used_bytes = client->stored->peak_used_bytes,
        .sum_releases = sum.n_releases,
        .sum_misuses = sum.n_misuses,
        .sum_too_large = sum.n_too_large,
        .sum_invalid = sum.n_invalid,
        .kept = draft->kept,
    };
    if (draft->by_reason) {
        KMEM_ASSERT(rollup_is_sorted(draft->by_reason)); /* obituaries_prepare() */
        obituary_rows(&obituary, draft->by_reason);
    }
    draft->by_reason = rollup_free(draft->by_reason);
    draft->n_blocks = 0;
    draft->num_bytes = 0;
    draft->kept = (struct obituary_kept){.n_blocks = 0};
    struct obituary *place = obituary_place(obituaries, number);
    store_prepare_bytes(place, &obituary, sizeof(obituary));
    obituary_commit(obituaries, client);
    return place;
}

const struct obituary *obituaries_next(const struct obituaries *obituaries, uint64_t number)
{
    const uint64_t n_written = obituaries->n_written;
    const uint64_t oldest = n_written > OBITUARIES_KEPT ? n_written - OBITUARIES_KEPT + 1 : 1;
    number = number < oldest ? oldest : number;
    return number <= n_written ? obituary_place(obituaries, number) : NULL;
}

static bool obituary_is_one(const struct obituary *obituary, uint64_t number)
{
    bool is_one = obituary->number == number && obituary->n_rows <= OBITUARY_ROWS &&
                  memchr(obituary->identity.command, '\0', COMMAND_BYTES) &&
                  memchr(obituary->kept.text, '\0', sizeof(obituary->kept.text));
    for (uint32_t i = 0; is_one && i < obituary->n_rows; i++) {
        is_one = memchr(obituary->rows[i].reason, '\0', sizeof(obituary->rows[i].reason));
    }
    return is_one;
}

int obituaries_check(const struct obituaries *obituaries)
{
    const uint64_t n_written = obituaries->n_written;
    const uint64_t n_kept = n_written < OBITUARIES_KEPT ? n_written : OBITUARIES_KEPT;
    for (uint64_t number = n_written - n_kept; number < n_written; number++) {
        if (!obituary_is_one(obituary_place(obituaries, number + 1), number + 1)) {
            return OBITUARIES_E_CORRUPT;
        }
    }
    return 0;
}

/* Appends to a line of a fixed size; what does not fit is cut. */
struct line {
    char *at;
    size_t left_bytes;
};

KMEM_PRINTF(2, 3) static void line_add(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n_bytes = vsnprintf(line->at, line->left_bytes, format, arguments);
    va_end(arguments);
    KMEM_ASSERT(n_bytes >= 0);
    const size_t written = (size_t)n_bytes;
    const size_t step = written < line->left_bytes ? written : line->left_bytes - 1;
    line->at += step;
    line->left_bytes -= step;
}

static const char *obituary_verb(const struct obituary *obituary, bool outlived)
{
    if (outlived) {
        return "lives on, and lost the segment after";
    }
    return obituary->left ? "left after" : "ended after";
}

static void line_add_taken_back(struct line *line, const struct obituary *obituary)
{
    char size[TEXT_BYTES_MAX];
    line_add(line, ": %llu block%s, %s taken back", (unsigned long long)obituary->n_blocks,
             obituary->n_blocks == 1 ? "" : "s",
             text_format_bytes(obituary->num_bytes, size, sizeof(size)));
    for (uint32_t i = 0; i < obituary->n_rows; i++) {
        const struct obituary_row *row = &obituary->rows[i];
        char reason[4 * REASON_MAX_BYTES + 1];
        line_add(line, "%s %s %s (%llu)", i == 0 ? ":" : ",",
                 text_escape(row->reason, strlen(row->reason), reason, sizeof(reason)),
                 text_format_bytes(row->num_bytes, size, sizeof(size)),
                 (unsigned long long)row->n_blocks);
    }
    if (obituary->n_reasons > obituary->n_rows && obituary->n_rows > 0) {
        const uint64_t n_more = obituary->n_reasons - obituary->n_rows;
        line_add(line, ", and %llu more reason%s", (unsigned long long)n_more,
                 n_more == 1 ? "" : "s");
    }
}

static void line_add_kept(struct line *line, const struct obituary_kept *kept)
{
    const bool is_one = kept->n_blocks == 1;
    char text[4 * sizeof(kept->text)];
    char size[TEXT_BYTES_MAX];
    line_add(line, "; %llu block%s, %s, live%s on", (unsigned long long)kept->n_blocks,
             is_one ? "" : "s", text_format_bytes(kept->num_bytes, size, sizeof(size)),
             is_one ? "s" : "");
    if (!is_one) {
        line_add(line, ", the largest (%s)",
                 text_format_bytes(kept->largest_bytes, size, sizeof(size)));
    }
    (void)text_escape(kept->text, strlen(kept->text), text, sizeof(text)); /* its buffer */
    if (kept->kept_by == KEPT_BY_PROCESS) {
        char pid[PID_TEXT_BYTES];
        line_add(line, " with process %s (%s)", client_pid_text(kept->pid, pid), text);
    } else if (kept->kept_by == KEPT_BY_NAME) {
        line_add(line, " by the name \"%s\"", text);
    } else {
        line_add(line, " as an offer that no process has attached");
    }
}

char *obituary_format(const struct obituary *obituary, bool outlived, char *buffer,
                      size_t buffer_bytes)
{
    struct line line = {buffer, buffer_bytes};
    char command[4 * COMMAND_BYTES];
    char pid[PID_TEXT_BYTES];
    const struct client_identity *who = &obituary->identity;
    line_add(&line, "client %s (%s, uid %u) %s %.1f s", client_pid_text(who->pid, pid),
             text_escape(who->command, strlen(who->command), command, sizeof(command)), who->uid,
             obituary_verb(obituary, outlived),
             (double)(obituary->ended - obituary->born) * TICK_MS / 1000.0);
    if (obituary->n_blocks > 0) {
        line_add_taken_back(&line, obituary);
    } else {
        line_add(&line, obituary->kept.n_blocks > 0 ? ", nothing taken back" : ", all released");
    }
    if (obituary->kept.n_blocks > 0) {
        line_add_kept(&line, &obituary->kept);
    }
    return buffer;
}
