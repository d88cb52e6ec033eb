/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ledger.c - members that write anything into their ledgers while the server reads them
 *
 * Two members have leased pages, carved and shared them. The bytes are a row of acts: one writes a
 * word somewhere in its ledger, at once or behind the server's next reads; somebody asks; memory
 * gets short, so that what is unused is taken back; a process dies. What an answer says of leased
 * blocks must be possible, and everything must come back in the end.
 */
#include <string.h>

#include "daemon/core/client_ledger.h"
#include "daemon/core/scans.h"
#include "proto/lease.h"
#include "proto/lifetimes.h"
#include "tests/fuzz/parley.h"

#define MEMBERS 2
#define OBSERVER 4
#define ACTS_MAX 60
/* What is written while the server reads. */
#define LATER_MAX 8

struct written {
    const struct ledger *ledger;
    size_t at; /* in its file */
    size_t width;
    uint64_t number;
};

static struct parley parley;
static struct written later[LATER_MAX];
static uint32_t n_later;
static uint32_t reads_left; /* before the next of them is written */
static client_ledger_read_fn honest_read;

static void write_word(const struct written *word)
{
    if (word->ledger->header) { /* else it has ended meanwhile */
        unsigned char *const base = (unsigned char *)word->ledger->header;
        memcpy(base + word->at, &word->number, word->width);
    }
}

/* client_ledger_read_fn: the client goes on writing meanwhile. */
static bool read_while_written(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    if (n_later > 0 && reads_left-- == 0) {
        write_word(&later[--n_later]);
        reads_left = 1;
    }
    return honest_read(user, slot, at, buffer, n_bytes);
}

/* ------------------------------------------------------------------------------ what is so --- */

static void begin(void)
{
    struct fixture *fixture = &parley.conversation.fixture;
    parley_begin(&parley);
    honest_read = parley.conversation.core->client_ledger.read;
    parley.conversation.core->client_ledger.read = read_while_written;
    fixture->config.ledger_read = read_while_written;
    n_later = 0;
    for (uint32_t peer = 0; peer < MEMBERS; peer++) {
        parley_join(&parley, peer, peer, KMEM__ROLE__ROLE_MEMBER);
        struct client *client = parley.peers[peer].peer.client;
        const uint32_t page = fixture_lease(fixture, client, 8);
        fixture_carve(fixture, client, page, 0);
        fixture_carve(fixture, client, page + 1, fixture_class_of(2));
        fixture_carve_large(fixture, client, page + 3, 3, UINT64_C(2) * PAGE_BYTES + 1);
        (void)fixture_tell(fixture, client, "video/a");
        (void)fixture_take(fixture, client, page, 16);
        (void)fixture_take(fixture, client, page + 1, 100);
        parley.known[parley.n_known++ % PARLEY_KNOWN] = (uint64_t)page << PAGE_SHIFT;
    }
    parley_join(&parley, OBSERVER, 3, KMEM__ROLE__ROLE_OBSERVER);
}

/* --------------------------------------------------------------------------- what is written -- */

static unsigned char *choose_place(struct choices *choices, const struct ledger *ledger)
{
    unsigned char *const base = (unsigned char *)ledger->header;
    const uint32_t page = 1 + choose_below(choices, PARLEY_PAGES - 1);
    const uint32_t plane = choose_below(choices, N_PLANES);
    const uint32_t at = choose_byte(choices);
    switch (choose_below(choices, 8)) {
    case 0:
        return base + at;
    case 1:
        return (unsigned char *)ledger->counts + at;
    case 2:
        return (unsigned char *)ledger->returns + at;
    case 3:
        return (unsigned char *)ledger->states + at % (PARLEY_PAGES + 8);
    case 4:
        return (unsigned char *)ledger->reasons + (at % 8 * sizeof(struct ledger_reason)) + at / 8;
    case 5:
        return (unsigned char *)ledger->lifetimes + at;
    case 6:
        return (unsigned char *)&ledger->heads[page] + at % sizeof(struct ledger_head);
    default:
        return (unsigned char *)&ledger->planes[plane][(uint64_t)page << PLANE_SHIFT(plane)] + at;
    }
}

static void write_by_choice(struct choices *choices, bool at_once)
{
    const struct fixture *fixture = &parley.conversation.fixture;
    const struct ledger *ledger = &fixture->ledgers[choose_below(choices, MEMBERS)];
    if (!ledger->header) {
        return; /* it has ended */
    }
    struct written word = {.ledger = ledger};
    word.at = (size_t)(choose_place(choices, ledger) - (unsigned char *)ledger->header);
    word.width = (size_t)1 << choose_below(choices, 4);
    word.number = choose_number(choices);
    if (at_once) {
        write_word(&word);
    } else if (n_later < LATER_MAX) {
        reads_left = choose_byte(choices) / 8;
        later[n_later++] = word;
    }
}

/* ------------------------------------------------------------------------------ who asks ----- */

static bool is_leased(const struct core *core, uint32_t page)
{
    const uint64_t word = pages_word(&core->pages, pages_run_of(&core->pages, page));
    return PAGE_WORD_STATE(word) == PAGE_LEASED;
}

/* What is told of a leased block lies in leased pages, one behind the other. */
static void check_blocks(const struct core *core, const Kmem__BlocksReport *report)
{
    uint64_t end = 0;
    for (size_t i = 0; i < report->n_blocks; i++) {
        const Kmem__Block *block = report->blocks[i];
        EXPECT(block->num_bytes > 0);
        EXPECT(block->offset >= end);
        end = block->offset + block->num_bytes;
        EXPECT(end <= (uint64_t)PARLEY_PAGES << PAGE_SHIFT);
        const uint64_t last = (end - 1) >> PAGE_SHIFT;
        for (uint64_t page = block->offset >> PAGE_SHIFT; block->leased && page <= last; page++) {
            EXPECT(is_leased(core, (uint32_t)page));
        }
    }
}

/* What all rows come to is no more than there is. */
static void check_rows(const Kmem__LedgerReport *report)
{
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < report->n_rows; i++) {
        EXPECT(report->rows[i]->num_bytes <= (uint64_t)PARLEY_PAGES << PAGE_SHIFT);
        num_bytes += report->rows[i]->num_bytes;
    }
    EXPECT(num_bytes <= (uint64_t)PARLEY_PAGES << PAGE_SHIFT);
}

static void query(struct choices *choices)
{
    static const Kmem__Request__BodyCase kinds[] = {
        KMEM__REQUEST__BODY_BLOCKS,    KMEM__REQUEST__BODY_LEDGER,  KMEM__REQUEST__BODY_CLIENTS,
        KMEM__REQUEST__BODY_LIFETIMES, KMEM__REQUEST__BODY_PAGES,   KMEM__REQUEST__BODY_USAGE,
        KMEM__REQUEST__BODY_HISTORY,   KMEM__REQUEST__BODY_HOLDERS, KMEM__REQUEST__BODY_AT,
    };
    struct request request;
    const uint32_t which = choose_below(choices, sizeof(kinds) / sizeof(kinds[0]));
    (void)request_plain(&request, kinds[which]);
    if (kinds[which] == KMEM__REQUEST__BODY_LEDGER) {
        request.ledger.by = (Kmem__GroupBy)choose_below(choices, 10);
    } else if (kinds[which] == KMEM__REQUEST__BODY_AT) {
        request.at.offset = (uint64_t)choose_below(choices, PARLEY_PAGES) << PAGE_SHIFT;
        request.at.offset += choose_number(choices) % PAGE_BYTES;
    }
    if (!parley.peers[OBSERVER].is_open) {
        parley_join(&parley, OBSERVER, 3, KMEM__ROLE__ROLE_OBSERVER);
    }
    if (!parley_query(&parley, OBSERVER, &request.base)) {
        return;
    }
    const Kmem__Response *said = &parley.conversation.reply->response;
    if (said->body_case == KMEM__RESPONSE__BODY_BLOCKS) {
        check_blocks(parley.conversation.core, said->blocks);
    } else if (said->body_case == KMEM__RESPONSE__BODY_LEDGER) {
        check_rows(said->ledger);
    }
}

/* Asks for so much that what others do not use is taken. */
static void ask_for_much(struct choices *choices)
{
    const uint32_t peer = choose_below(choices, MEMBERS);
    const uint32_t n_pages = 1 + choose_below(choices, PARLEY_PAGES);
    if (choose_whether(choices)) {
        (void)parley_query(&parley, peer, request_lease(NEW_REQUEST, n_pages, n_pages));
    } else {
        (void)parley_query(
            &parley, peer,
            request_allocate(NEW_REQUEST, (uint64_t)n_pages << PAGE_SHIFT, "much", 4));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct choices choices = choices_of(bytes, n_bytes);
    begin();
    for (uint32_t n = 0; has_choices(&choices) && n < ACTS_MAX; n++) {
        switch (choose_below(&choices, 10)) {
        case 0:
            query(&choices);
            break;
        case 1:
            ask_for_much(&choices);
            break;
        case 2:
            parley_ask(&parley, choose_below(&choices, MEMBERS), &choices);
            break;
        case 3:
            parley_tick(&parley, choose_byte(&choices) * UINT64_C(50));
            break;
        case 4:
            parley_use_lease(&parley, choose_below(&choices, MEMBERS), &choices);
            break;
        case 5:
            parley_die(&parley, choose_below(&choices, 2 * MEMBERS));
            break;
        case 6:
            write_by_choice(&choices, false);
            break;
        default:
            write_by_choice(&choices, true);
            break;
        }
        EXPECT(core_check(parley.conversation.core) == 0);
    }
    n_later = 0; /* their ledgers end */
    parley_end(&parley);
    return 0;
}
