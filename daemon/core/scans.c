/* SPDX-License-Identifier: MIT */
#include "daemon/core/scans.h"

#include <stdlib.h>

void scan_reader_link(struct scan_reader **list, struct scan_reader *reader)
{
    reader->next = *list;
    reader->at = list;
    if (reader->next) {
        reader->next->at = &reader->next;
    }
    *list = reader;
}

void scan_reader_unlink(struct scan_reader *reader)
{
    *reader->at = reader->next;
    if (reader->next) {
        reader->next->at = reader->at;
    }
    reader->next = NULL;
    reader->at = NULL;
}

void scan_free(struct scan *scan)
{
    KMEM_ASSERT(!scan->readers);
    scan->rollup = rollup_free(scan->rollup);
    scan->by_reason = rollup_free(scan->by_reason);
    waste_fini(&scan->waste);
    free(scan);
}

static void complete_remove(struct scans *scans, const struct scan *scan)
{
    struct scan **at = &scans->complete;
    while (*at != scan) {
        KMEM_ASSERT(*at != NULL);
        at = &(*at)->next_complete;
    }
    *at = scan->next_complete;
    scans->n_complete--;
}

void scans_leave(struct scans *scans, struct scan_reader *reader)
{
    struct scan *scan = reader->scan;
    if (reader->at) {
        scan_reader_unlink(reader);
    }
    reader->waits = false;
    reader->keeps = false;
    reader->scan = NULL;
    if (!scan || scan->readers) {
        return;
    }
    if (scan->done) {
        complete_remove(scans, scan);
    } else {
        scans->under_way[scan->kind] = NULL;
    }
    scan_free(scan);
}

bool scans_are_none(const struct scans *scans)
{
    bool none = scans->n_complete == 0;
    for (uint32_t kind = 0; kind < N_SCAN_KINDS; kind++) {
        none = none && !scans->under_way[kind] && !scans->waiting[kind];
    }
    return none;
}
