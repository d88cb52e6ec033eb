/* SPDX-License-Identifier: MIT */
#include "daemon/obituary.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tick.h"
#include "proto/text.h"

struct obituary_draft {
    struct tally *by_reason; /* NULL: nothing noted, or no memory to note it in */
    uint64_t n_blocks;
    uint64_t num_bytes;
};

int obituaries_init(struct obituaries *obituaries, const struct tally_tables *tables)
{
    *obituaries = (struct obituaries){.tables = *tables};
    obituaries->kept = calloc(OBITUARIES_KEPT, sizeof(*obituaries->kept));
    obituaries->drafts = calloc(CLIENTS_MAX, sizeof(*obituaries->drafts));
    if (!obituaries->kept || !obituaries->drafts) {
        obituaries_fini(obituaries);
        return -ENOMEM;
    }
    return 0;
}

void obituaries_fini(struct obituaries *obituaries)
{
    for (uint32_t slot = 0; obituaries->drafts && slot < CLIENTS_MAX; slot++) {
        obituaries->drafts[slot].by_reason = tally_free(obituaries->drafts[slot].by_reason);
    }
    free(obituaries->drafts);
    free(obituaries->kept);
    *obituaries = (struct obituaries){.kept = NULL};
}

void obituaries_note(struct obituaries *obituaries, const struct direct_block *block)
{
    struct obituary_draft *draft = &obituaries->drafts[block->slot];
    if (draft->n_blocks == 0) {
        draft->by_reason = tally_new(TALLY_BY_REASON, &obituaries->tables);
    }
    draft->n_blocks++;
    draft->num_bytes += block->num_bytes;
    if (draft->by_reason && tally_add(draft->by_reason, block)) {
        /* Half a table would be a wrong one: the obituary goes without. */
        draft->by_reason = tally_free(draft->by_reason);
    }
}

static void obituary_rows(struct obituary *obituary, const struct tally *by_reason)
{
    obituary->n_reasons = tally_n_groups(by_reason);
    for (; obituary->n_rows < OBITUARY_ROWS && obituary->n_rows < obituary->n_reasons;
         obituary->n_rows++) {
        const struct tally_group *group = tally_group(by_reason, obituary->n_rows);
        struct obituary_row *row = &obituary->rows[obituary->n_rows];
        (void)snprintf(row->reason, sizeof(row->reason), "%s", group->key);
        row->n_blocks = group->n_blocks;
        row->num_bytes = group->num_bytes;
        row->oldest = group->oldest;
    }
}

const struct obituary *obituaries_write(struct obituaries *obituaries, const struct client *client)
{
    struct obituary_draft *draft = &obituaries->drafts[client->slot];
    struct obituary *obituary = &obituaries->kept[obituaries->n_written % OBITUARIES_KEPT];
    *obituary = (struct obituary){
        .number = ++obituaries->n_written,
        .identity = client->identity,
        .left = client->left,
        .born = client->born,
        .ended = client->ended,
        .n_blocks = draft->n_blocks,
        .num_bytes = draft->num_bytes,
        .peak_bytes = client->peak_bytes,
    };
    if (draft->by_reason && tally_sort(draft->by_reason) == 0) {
        obituary_rows(obituary, draft->by_reason);
    }
    draft->by_reason = tally_free(draft->by_reason);
    draft->n_blocks = 0;
    draft->num_bytes = 0;
    return obituary;
}

const struct obituary *obituaries_next(const struct obituaries *obituaries, uint64_t number)
{
    const uint64_t n_written = obituaries->n_written;
    const uint64_t oldest = n_written > OBITUARIES_KEPT ? n_written - OBITUARIES_KEPT + 1 : 1;
    number = number < oldest ? oldest : number;
    return number <= n_written ? &obituaries->kept[(number - 1) % OBITUARIES_KEPT] : NULL;
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
    const size_t written = n_bytes < 0 ? 0 : (size_t)n_bytes;
    const size_t step = written < line->left_bytes ? written : line->left_bytes - 1;
    line->at += step;
    line->left_bytes -= step;
}

char *obituary_format(const struct obituary *obituary, char *buffer, size_t buffer_bytes)
{
    struct line line = {buffer, buffer_bytes};
    char command[4 * COMMAND_BYTES];
    char size[TEXT_BYTES_MAX];
    const struct client_identity *who = &obituary->identity;
    line_add(&line, "client %u (%s, uid %u) %s after %.1f s", who->pid,
             text_escape(who->command, strlen(who->command), command, sizeof(command)), who->uid,
             obituary->left ? "left" : "ended",
             (double)(obituary->ended - obituary->born) * TICK_MS / 1000.0);
    if (obituary->n_blocks == 0) {
        line_add(&line, ", all released");
        return buffer;
    }
    line_add(&line, ": %llu block%s, %s taken back", (unsigned long long)obituary->n_blocks,
             obituary->n_blocks == 1 ? "" : "s",
             text_format_bytes(obituary->num_bytes, size, sizeof(size)));
    for (uint32_t i = 0; i < obituary->n_rows; i++) {
        const struct obituary_row *row = &obituary->rows[i];
        char reason[4 * REASON_MAX_BYTES + 1];
        line_add(&line, "%s %s %s (%llu)", i == 0 ? ":" : ",",
                 text_escape(row->reason, strlen(row->reason), reason, sizeof(reason)),
                 text_format_bytes(row->num_bytes, size, sizeof(size)),
                 (unsigned long long)row->n_blocks);
    }
    if (obituary->n_reasons > obituary->n_rows && obituary->n_rows > 0) {
        const uint64_t n_more = obituary->n_reasons - obituary->n_rows;
        line_add(&line, ", and %llu more reason%s", (unsigned long long)n_more,
                 n_more == 1 ? "" : "s");
    }
    return buffer;
}
