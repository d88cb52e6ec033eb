/* SPDX-License-Identifier: MIT */
/*
 * spoiled_ledger.c - the files in shared memory that a client may write, and how it may
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "proto/lease.h"
#include "tests/hostile/hostile.h"
#include "tests/support/seeded.h"

enum { SEGMENT, LEDGER };

/* A member that has a lease, and its ledger. */
struct member {
    struct wire_descriptors descriptors;
    struct ledger_layout layout;
    struct ledger ledger;
    uint64_t *words;
    uint64_t n_words;
    uint32_t n_pages;
    int fd;
};

static void member_open(struct member *member)
{
    struct stat status;
    member->fd = hostile_member(&member->descriptors);
    must(fstat(member->descriptors.fds[SEGMENT], &status) == 0);
    member->n_pages = (uint32_t)((uint64_t)status.st_size >> PAGE_SHIFT);
    ledger_layout_init(&member->layout, member->n_pages);
    member->n_words = member->layout.total_bytes / sizeof(uint64_t);
    member->words = mmap(NULL, member->layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                         member->descriptors.fds[LEDGER], 0);
    must(member->words != MAP_FAILED);
    must(ledger_attach(&member->ledger, member->words, member->n_pages) == 0);
    (void)hostile_answer(member->fd, request_lease(NEW_REQUEST, 64, 64)); /* or there is no room */
}

static void member_close(struct member *member)
{
    (void)munmap(member->words, member->layout.total_bytes);
    hostile_drop(member->fd, &member->descriptors);
}

/* What makes the server read ledgers: every look at blocks, and the search for unused pages. */
static void make_it_read(const struct member *member)
{
    const int observer = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
    if (observer >= 0) {
        must(hostile_answer(observer, request_usage(NEW_REQUEST)) == ANSWER_OK);
        (void)hostile_answer(observer,
                             request_ledger(NEW_REQUEST, KMEM__GROUP_BY__GROUP_BY_REASON, 0));
        (void)hostile_answer(observer, request_blocks(NEW_REQUEST, 0));
        (void)close(observer);
    }
    /* More than there is: what is unused is looked for, and taken back. */
    (void)hostile_answer(member->fd, request_lease(NEW_REQUEST, member->n_pages, 0));
    (void)hostile_answer(member->fd, request_lease(NEW_REQUEST, 8, 16));
}

/* Heads and entries that pass for real ones: in pages not in use, or not its own, or too many. */
static void write_plausible(struct member *member, struct seeded *seeded)
{
    for (uint32_t page = 1; page < member->n_pages; page++) {
        struct ledger_head *const head = &member->ledger.heads[page];
        head->size_class = (uint16_t)(seeded_next(seeded) % (N_SIZE_CLASSES + 2));
        head->span_pages = seeded_below(seeded, 3) == 0 ? (uint32_t)seeded_next(seeded)
                                                        : 1 + seeded_below(seeded, 8);
        head->n_carved = (uint16_t)seeded_next(seeded);
        atomic_store(&head->kind, seeded_below(seeded, 8));
        for (uint32_t i = 0; i < 16; i++) {
            atomic_store(&member->ledger.planes[0][page * 16 + i].word, seeded_next(seeded) >> 20);
        }
    }
    for (uint32_t i = 0; i < member->n_pages / LEASE_PAGES_PER_WORD; i++) {
        atomic_store(&member->ledger.states[i], UINT64_C(0x0202020202020202)); /* all in use */
    }
}

static void write_everywhere(const struct member *member, unsigned int kind, struct seeded *seeded)
{
    /* A hole stays a hole where nothing is written but 0. */
    const uint64_t n_words = many(member->layout.plane_at[0] / sizeof(uint64_t), member->n_words);
    for (uint64_t i = 0; i < n_words; i++) {
        member->words[i] = kind == 0 ? 0 : kind == 1 ? UINT64_MAX : seeded_next(seeded);
    }
}

void attack_ledger_nonsense(void)
{
    struct seeded seeded = {(uint64_t)getpid()};
    for (uint64_t n = 0; n < many(8, 40); n++) {
        struct member member;
        member_open(&member);
        if (n % 4 == 3) {
            write_plausible(&member, &seeded);
        } else {
            write_everywhere(&member, (unsigned int)n % 4, &seeded);
        }
        make_it_read(&member);
        member_close(&member);
    }
}

/* -------------------------------------------------------------------- while it is read ---- */

/* Writes into the mapping that it shares with its parent, until that ends it. */
static pid_t writer_start(void (*write_one)(struct member *member, struct seeded *seeded),
                          struct member *member)
{
    const pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        struct seeded seeded = {(uint64_t)getpid()};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            write_one(member, &seeded);
        }
    }
    return pid;
}

static void read_while(void (*write_one)(struct member *member, struct seeded *seeded),
                       uint64_t n_rounds)
{
    struct member member;
    member_open(&member);
    const pid_t writer = writer_start(write_one, &member);
    for (uint64_t n = 0; n < n_rounds; n++) {
        make_it_read(&member);
    }
    must(kill(writer, SIGKILL) == 0);
    must(waitpid(writer, NULL, 0) == writer);
    member_close(&member);
}

/* Mostly where the server looks: states and heads, and what belongs to them. */
static void write_a_word(struct member *member, struct seeded *seeded)
{
    const uint64_t n_near = member->layout.plane_at[0] / sizeof(uint64_t);
    const uint64_t random = seeded_next(seeded);
    const uint64_t at = random % (random % 8 == 0 ? member->n_words : n_near);
    member->words[at] = random % 3 == 0 ? UINT64_C(0x0201020102010201) : seeded_next(seeded);
}

void attack_ledger_changes(void)
{
    read_while(write_a_word, many(30, 5000));
}

static void write_returns(struct member *member, struct seeded *seeded)
{
    struct ledger_returns *const returns = member->ledger.returns;
    atomic_store(&returns->n_taken, seeded_next(seeded));
    atomic_store(&returns->n_put, seeded_next(seeded));
    atomic_store(&returns->offsets[seeded_below(seeded, RETURNS_MAX)], seeded_next(seeded));
    memset(member->ledger.counts, (int)seeded_next(seeded), sizeof(*member->ledger.counts));
}

void attack_returns_nonsense(void)
{
    read_while(write_returns, many(30, 5000));
}

/* Free, in use, revoked and asked for, against the compare-and-swap of the server. */
static void write_states(struct member *member, struct seeded *seeded)
{
    static const uint64_t states[] = {0x0101010101010101, 0x0202020202020202, 0x0303030303030303,
                                      0x1a1a1a1a1a1a1a1a, 0x0505050505050505, 0x8181818181818181};
    const uint32_t n_words = member->n_pages / LEASE_PAGES_PER_WORD;
    atomic_store(&member->ledger.states[seeded_below(seeded, n_words)],
                 states[seeded_below(seeded, 6)]);
    atomic_store(member->ledger.asked, seeded_next(seeded));
}

void attack_page_words(void)
{
    read_while(write_states, many(30, 5000));
}

static void write_reasons(struct member *member, struct seeded *seeded)
{
    struct ledger_reason *const reason = &member->ledger.reasons[2 + seeded_below(seeded, 4000)];
    reason->n_bytes = (uint8_t)seeded_next(seeded);
    memset(reason->bytes, (int)seeded_next(seeded), sizeof(reason->bytes));
    atomic_store(&member->ledger.header->n_reasons, seeded_next(seeded) % 70000);
}

/* Slabs that are full of blocks with a reason each, which changes. */
void attack_reasons_rewritten(void)
{
    struct member member;
    struct seeded seeded = {1};
    member_open(&member);
    for (unsigned int i = 0; i < 2; i++) {
        write_plausible(&member, &seeded);
    }
    member_close(&member);
    read_while(write_reasons, many(30, 5000));
}
