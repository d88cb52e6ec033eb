/* SPDX-License-Identifier: MIT */
/*
 * usage.c - questions to the daemon, and what must hold of every answer
 */
#include "tests/system/usage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/wire/wire.h"

#define BALANCE_LIMIT_MS 2000
/*
 * Above what the daemon had when it had just started: glibc holds on to some hundred KiB of what
 * was freed. A leak of a kilobyte in each of a few thousand steps is more than this. Under
 * AddressSanitizer some freed memory stays in quarantine, and the stacks of where it came from for
 * ever. 2 MiB are the tables of who has which reason: what was used of them once stays.
 */
#define MEMORY_SLACK_KIB (HARNESS_SANITIZED ? 131072 : 3072 + 2048)

/* ------------------------------------------------------------------------------ usage ---- */

static void read_statistic(const Kmem__Statistic *statistic, struct usage *usage)
{
    const struct {
        const char *name;
        uint64_t *value;
    } wanted[] = {
        {"segment_bytes", &usage->segment_bytes},
        {"used_bytes", &usage->used_bytes},
        {"free_bytes", &usage->free_bytes},
        {"overhead_bytes", &usage->overhead_bytes},
        {"blocks", &usage->blocks},
        {"clients", &usage->clients},
        {"largest_hole_bytes", &usage->largest_hole_bytes},
        {"allocations", &usage->allocations},
        {"releases", &usage->releases},
        {"refusals", &usage->refusals},
        {"requests", &usage->requests},
        {"protocol_errors", &usage->protocol_errors},
        {"clients_seen", &usage->clients_seen},
        {"clients_ended", &usage->clients_ended},
        {"reasons", &usage->reasons},
        {"leased_bytes", &usage->leased_bytes},
        {"unused_bytes", &usage->unused_bytes},
        {"idle_bytes", &usage->idle_bytes},
        {"rounding_bytes", &usage->rounding_bytes},
        {"slab_bytes", &usage->slab_bytes},
        {"first_page_bytes", &usage->first_page_bytes},
        {"largest_extent_bytes", &usage->largest_extent_bytes},
        {"scattered_bytes", &usage->scattered_bytes},
        {"revoked_bytes", &usage->revoked_bytes},
        {"reclaimed_bytes", &usage->reclaimed_bytes},
        {"most_bytes", &usage->most_bytes},
        {"waiting_bytes", &usage->waiting_bytes},
        {"leases", &usage->leases},
        {"resident_bytes", &usage->resident_bytes},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (strcmp(statistic->name, wanted[i].name) == 0) {
            *wanted[i].value = statistic->value;
        }
    }
}

struct usage usage_ask(int fd)
{
    struct usage usage = {.segment_bytes = 0};
    Kmem__Response *const response =
        wire_ask_for(fd, request_usage(NEW_REQUEST), KMEM__RESPONSE__BODY_USAGE);
    for (size_t i = 0; i < response->usage->n_statistics; i++) {
        read_statistic(response->usage->statistics[i], &usage);
    }
    wire_free(response);
    expect_true(usage.segment_bytes > 0);
    expect_equal(usage.used_bytes + usage.free_bytes + usage.overhead_bytes, usage.segment_bytes);
    expect_equal(usage.rounding_bytes + usage.slab_bytes + usage.first_page_bytes,
                 usage.overhead_bytes);
    expect_equal(usage.idle_bytes + usage.largest_extent_bytes + usage.scattered_bytes,
                 usage.free_bytes);
    return usage;
}

struct usage usage_take(void)
{
    const int fd = wire_observer();
    const struct usage usage = usage_ask(fd);
    (void)close(fd);
    return usage;
}

void usage_expect(const char *file, int line, uint64_t used_bytes, uint64_t n_blocks)
{
    const struct usage usage = usage_take();
    if (usage.used_bytes != used_bytes || usage.blocks != n_blocks) {
        harness_fail(file, line, "%llu bytes in %llu blocks are live, expected %llu in %llu",
                     (unsigned long long)usage.used_bytes, (unsigned long long)usage.blocks,
                     (unsigned long long)used_bytes, (unsigned long long)n_blocks);
    }
}

static bool is_balanced(const struct usage *usage, unsigned int n_fds)
{
    return usage->clients == 0 && usage->blocks == 0 && usage->used_bytes == 0 &&
           usage->free_bytes == daemon_free_bytes_at_start() && n_fds == daemon_fds_at_start();
}

void usage_expect_balanced(const char *file, int line)
{
    const uint64_t until_us = harness_deadline_us(BALANCE_LIMIT_MS);
    for (;;) {
        const struct usage usage = usage_take();
        harness_sleep_ms(2); /* for the daemon to see that the question's connection is closed */
        const unsigned int n_fds = daemon_fds();
        const uint64_t memory_kib = daemon_memory_kib(); /* that of a look goes when it is over */
        const bool is_small = memory_kib <= daemon_memory_kib_at_start() + MEMORY_SLACK_KIB;
        if (is_small && is_balanced(&usage, n_fds)) {
            break;
        }
        if (harness_now_us() > until_us) {
            harness_fail(
                file, line,
                "not balanced: %llu clients, %llu blocks, %llu bytes used, %llu free (%llu "
                "at the start), %u descriptors (%u), the daemon has %llu KiB of memory (%llu)",
                (unsigned long long)usage.clients, (unsigned long long)usage.blocks,
                (unsigned long long)usage.used_bytes, (unsigned long long)usage.free_bytes,
                (unsigned long long)daemon_free_bytes_at_start(), n_fds, daemon_fds_at_start(),
                (unsigned long long)memory_kib, (unsigned long long)daemon_memory_kib_at_start());
        }
    }
}

/* ----------------------------------------------------------------------------- ledger ---- */

static void read_row(const Kmem__LedgerRow *from, struct ledger_row *to)
{
    (void)snprintf(to->key, sizeof(to->key), "%s", from->key);
    to->n_blocks = from->n_blocks;
    to->num_bytes = from->num_bytes;
    to->pid = (pid_t)from->pid;
    to->uid = (uid_t)from->uid;
}

/* Return: whether there is more to read, after *n_rows. */
static bool read_ledger_page(int fd, Kmem__GroupBy by, struct ledger_row *rows, size_t capacity,
                             size_t *n_rows)
{
    Kmem__Response *const response = wire_ask_for(
        fd, request_ledger(NEW_REQUEST, by, (uint32_t)*n_rows), KMEM__RESPONSE__BODY_LEDGER);
    const Kmem__LedgerReport *const report = response->ledger;
    for (size_t i = 0; i < report->n_rows; i++, (*n_rows)++) {
        if (*n_rows < capacity) {
            read_row(report->rows[i], &rows[*n_rows]);
        }
    }
    const bool more = report->more;
    expect_true(!more || report->n_rows > 0);
    wire_free(response);
    return more;
}

size_t ledger_rows(Kmem__GroupBy by, struct ledger_row *rows, size_t capacity)
{
    size_t n_rows = 0;
    const int fd = wire_observer();
    bool more = true;
    while (more) {
        more = read_ledger_page(fd, by, rows, capacity, &n_rows);
    }
    (void)close(fd);
    return n_rows;
}

void ledger_expect_row(const char *file, int line, const char *key, uint64_t n_blocks,
                       uint64_t num_bytes)
{
    struct ledger_row rows[256];
    const size_t n_rows = ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, 256);
    for (size_t i = 0; i < n_rows && i < 256; i++) {
        if (strcmp(rows[i].key, key) == 0) {
            if (rows[i].n_blocks == n_blocks && rows[i].num_bytes == num_bytes) {
                return;
            }
            harness_fail(file, line, "\"%s\" has %llu bytes in %llu blocks, expected %llu in %llu",
                         key, (unsigned long long)rows[i].num_bytes,
                         (unsigned long long)rows[i].n_blocks, (unsigned long long)num_bytes,
                         (unsigned long long)n_blocks);
        }
    }
    harness_fail(file, line, "the ledger has no row \"%s\"", key);
}

/* The sums of one way of rolling up. */
static void expect_rollup(const char *file, int line, Kmem__GroupBy by, const struct usage *usage)
{
    static struct ledger_row rows[8192];
    const size_t n_rows = ledger_rows(by, rows, 8192);
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    expect_at_most(n_rows, 8192);
    for (size_t i = 0; i < n_rows; i++) {
        n_blocks += rows[i].n_blocks;
        num_bytes += rows[i].num_bytes;
        if (i > 0 && rows[i].num_bytes > rows[i - 1].num_bytes) {
            harness_fail(file, line, "roll-up %d: row %zu is larger than the one before it",
                         (int)by, i);
        }
    }
    if (n_blocks != usage->blocks || num_bytes != usage->used_bytes) {
        harness_fail(file, line,
                     "roll-up %d: %llu bytes in %llu blocks, the usage says %llu in %llu", (int)by,
                     (unsigned long long)num_bytes, (unsigned long long)n_blocks,
                     (unsigned long long)usage->used_bytes, (unsigned long long)usage->blocks);
    }
}

struct block_walk {
    uint64_t end_offset; /* of the block before */
    uint64_t next_offset;
    uint64_t n_blocks;
    uint64_t num_bytes;
};

static Kmem__Response *ask_blocks(int fd, uint64_t from_offset)
{
    Kmem__Response *const response =
        wire_ask_for(fd, request_blocks(NEW_REQUEST, from_offset), KMEM__RESPONSE__BODY_BLOCKS);
    expect_true(!response->blocks->more || response->blocks->next_offset > from_offset);
    return response;
}

static bool walk_blocks_page(const char *file, int line, int fd, struct block_walk *walk)
{
    Kmem__Response *const response = ask_blocks(fd, walk->next_offset);
    const Kmem__BlocksReport *const report = response->blocks;
    for (size_t i = 0; i < report->n_blocks; i++) {
        const Kmem__Block *const block = report->blocks[i];
        if (block->offset == 0 || block->offset < walk->end_offset) {
            harness_fail(file, line, "the block at %llu overlaps what ends at %llu",
                         (unsigned long long)block->offset, (unsigned long long)walk->end_offset);
        }
        walk->end_offset = block->offset + block->num_bytes;
        walk->num_bytes += block->num_bytes;
        walk->n_blocks++;
    }
    const bool more = report->more;
    walk->next_offset = report->next_offset;
    wire_free(response);
    return more;
}

static void read_block(const Kmem__Block *from, struct block_row *to)
{
    to->offset = from->offset;
    to->num_bytes = from->num_bytes;
    to->age_ms = from->age_ms;
    to->leased = from->leased;
    (void)snprintf(to->reason, sizeof(to->reason), "%s", from->reason);
}

size_t ledger_blocks_of(pid_t pid, struct block_row *rows, size_t capacity)
{
    const int fd = wire_observer();
    size_t n_rows = 0;
    uint64_t from_offset = 0;
    bool more = true;
    while (more) {
        Kmem__Response *const response = ask_blocks(fd, from_offset);
        for (size_t i = 0; i < response->blocks->n_blocks; i++) {
            const Kmem__Block *const block = response->blocks->blocks[i];
            if ((pid_t)block->pid == pid && n_rows++ < capacity) {
                read_block(block, &rows[n_rows - 1]);
            }
        }
        more = response->blocks->more;
        from_offset = response->blocks->next_offset;
        wire_free(response);
    }
    (void)close(fd);
    return n_rows;
}

void ledger_expect_sound(const char *file, int line)
{
    struct block_walk walk = {.next_offset = 0};
    const struct usage usage = usage_take();
    const int fd = wire_observer();
    bool more = true;
    while (more) {
        more = walk_blocks_page(file, line, fd, &walk);
    }
    (void)close(fd);
    if (walk.end_offset > usage.segment_bytes) {
        harness_fail(file, line, "a block ends at %llu, behind the segment",
                     (unsigned long long)walk.end_offset);
    }
    if (walk.n_blocks != usage.blocks || walk.num_bytes != usage.used_bytes) {
        harness_fail(file, line, "%llu bytes in %llu blocks listed, the usage says %llu in %llu",
                     (unsigned long long)walk.num_bytes, (unsigned long long)walk.n_blocks,
                     (unsigned long long)usage.used_bytes, (unsigned long long)usage.blocks);
    }
    expect_rollup(file, line, KMEM__GROUP_BY__GROUP_BY_REASON, &usage);
    expect_rollup(file, line, KMEM__GROUP_BY__GROUP_BY_CLIENT, &usage);
    expect_rollup(file, line, KMEM__GROUP_BY__GROUP_BY_UID, &usage);
}

/* ---------------------------------------------------------------------------- clients ---- */

static void read_client(const Kmem__Client *from, struct client_row *to)
{
    to->found = true;
    to->connected = from->connected;
    to->uid = (uid_t)from->uid;
    to->n_blocks = from->n_blocks;
    to->num_bytes = from->num_bytes;
    to->peak_bytes = from->peak_bytes;
    to->peak_used_bytes = from->peak_used_bytes;
    to->leased_bytes = from->leased_bytes;
    to->unused_bytes = from->unused_bytes;
    to->idle_bytes = from->idle_bytes;
    to->age_ms = from->age_ms;
    (void)snprintf(to->command, sizeof(to->command), "%s", from->command);
}

struct client_row client_row_of(pid_t pid)
{
    struct client_row row = {.found = false};
    const int fd = wire_observer();
    uint32_t from_slot = 0;
    bool more = true;
    while (more) {
        Kmem__Response *const response =
            wire_ask_for(fd, request_clients(NEW_REQUEST, from_slot), KMEM__RESPONSE__BODY_CLIENTS);
        for (size_t i = 0; i < response->clients->n_clients; i++) {
            if ((pid_t)response->clients->clients[i]->pid == pid) {
                read_client(response->clients->clients[i], &row);
            }
        }
        more = response->clients->more;
        from_slot = response->clients->next_slot;
        wire_free(response);
    }
    (void)close(fd);
    return row;
}

/* ------------------------------------------------------------------------- obituaries ---- */

static void read_obituary(const Kmem__Obituary *from, struct obituary *to)
{
    to->found = true;
    to->left = from->left;
    to->n_blocks = from->n_blocks;
    to->num_bytes = from->num_bytes;
    to->peak_bytes = from->peak_bytes;
    to->peak_used_bytes = from->peak_used_bytes;
    to->lived_ms = from->lived_ms;
    to->n_reasons = from->n_reasons;
    to->n_rows = from->n_rows < OBITUARY_ROWS ? from->n_rows : OBITUARY_ROWS;
    for (size_t i = 0; i < to->n_rows; i++) {
        read_row(from->rows[i], &to->rows[i]);
    }
}

struct obituary obituary_of(pid_t pid)
{
    struct obituary obituary = {.found = false};
    const int fd = wire_observer();
    uint64_t from_number = 0;
    bool more = true;
    while (more) {
        Kmem__Response *const response = wire_ask_for(
            fd, request_obituaries(NEW_REQUEST, from_number), KMEM__RESPONSE__BODY_OBITUARIES);
        for (size_t i = 0; i < response->obituaries->n_obituaries; i++) {
            if ((pid_t)response->obituaries->obituaries[i]->pid == pid) {
                read_obituary(response->obituaries->obituaries[i], &obituary);
            }
        }
        more = response->obituaries->more;
        from_number = response->obituaries->next_number;
        wire_free(response);
    }
    (void)close(fd);
    return obituary;
}

/* ----------------------------------------------------------------------------- clearing ---- */

/* "...: loop64 up to 16.0 KiB, rep up to 512.0 KiB; ..." Return: 16 KiB. */
static uint64_t read_clearing(const char *text)
{
    char loop[16];
    unsigned int n_kib = 0;
    const char *planned = strstr(text, ": ");
    /* NOLINTNEXTLINE(cert-err34-c): what is no number there is no match, or another size */
    if (planned == NULL || sscanf(planned, ": %15s up to %u.0 KiB", loop, &n_kib) != 2 ||
        (strcmp(loop, "memset") != 0 && strcmp(loop, "loop32") != 0 &&
         strcmp(loop, "loop64") != 0 && strcmp(loop, "rep") != 0)) {
        fail("no loop that clears memory: %s", text);
    }
    return (uint64_t)n_kib * 1024;
}

uint64_t usage_clearing_bytes(void)
{
    uint64_t num_bytes = 0;
    const int fd = wire_observer();
    Kmem__Response *const response =
        wire_ask_for(fd, request_usage(NEW_REQUEST), KMEM__RESPONSE__BODY_USAGE);
    for (size_t i = 0; i < response->usage->n_statistics; i++) {
        const Kmem__Statistic *statistic = response->usage->statistics[i];
        if (strcmp(statistic->name, "clear_loop_bytes") == 0) {
            num_bytes = read_clearing(statistic->text);
        }
    }
    wire_free(response);
    (void)close(fd);
    return num_bytes;
}
