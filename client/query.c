/* SPDX-License-Identifier: MIT */
/*
 * A query is a connection in the role of an observer and the last sentence. Each function asks for
 * one page of an answer after the other and hands the rows to the callback while they are still in
 * the connection's arena: no answer, however long, takes memory of its own. Where answers are long
 * (query_blocks.c), the next page is asked for first, and the daemon makes it meanwhile.
 *
 * A daemon that says "more" must also move on, or this side would ask for ever: every page's
 * beginning is compared with the last one's, and an answer that stands still is -EPROTO.
 *
 * While a callback runs, its row lives in the arena that the next question would overwrite. A
 * callback that asks on the same query is therefore refused (-EBUSY).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/query.h>

#include "client/query_parts.h"
#include "client/link/handshake.h"
#include "client/link/refusal.h"
#include "proto/text.h"

/* ------------------------------------------------------------------------ opening, closing ---- */

int kmem_query_open(const char *socket_path, struct kmem_query **ret_query)
{
    int saved_errno = errno;
    struct failure failure;
    struct welcome welcome;
    struct kmem_query *query = calloc(1, sizeof(*query));
    int r = query != NULL ? kmem__handshake(&query->conn, socket_path, KMEM__ROLE__ROLE_OBSERVER,
                                            &welcome, &failure)
                          : kmem__failure_set(&failure, ENOMEM, "no memory for a connection");
    if (query == NULL || r < 0) {
        kmem__failure_record(&failure, "kmem_query_open");
        free(query);
    } else {
        query->instance = welcome.instance;
        query->timeout_ms = query->conn.timeout_ms;
        *ret_query = query;
    }
    errno = saved_errno;
    return r;
}

struct kmem_query *kmem_query_close(struct kmem_query *query)
{
    int saved_errno = errno;
    if (query != NULL) {
        kmem__conn_close(&query->conn);
        free(query);
    }
    errno = saved_errno;
    return NULL;
}

const char *kmem_query_error(const struct kmem_query *query)
{
    return query->message;
}

/* ---------------------------------------------------------------------------- one question ---- */

void kmem__query_record(struct kmem_query *query, const char *call)
{
    kmem__failure_record(&query->failure, call);
    memcpy(query->message, kmem_last_error(), strlen(kmem_last_error()) + 1);
}

int kmem__query_begin(struct kmem_query *query, const char *call)
{
    if (query->call != NULL) {
        int r = kmem__failure_set(&query->failure, EBUSY,
                                  "a callback of %s asks on the same query; open another one",
                                  query->call);
        kmem__query_record(query, call);
        return r;
    }
    query->call = call;
    return 0;
}

int kmem__query_end(struct kmem_query *query, int r)
{
    query->call = NULL;
    return r;
}

/* What has become of a question, whose sentence is in its place if it failed. */
static int query_answered(struct kmem_query *query, int r, const Kmem__Response *response)
{
    if (r == CONN_E_REFUSED) {
        r = kmem__refusal_of_query(response->error, &query->failure);
    }
    if (r < 0) {
        kmem__query_record(query, query->call);
    }
    return r;
}

int kmem__query_ask(struct kmem_query *query, Kmem__Request *request,
                    Kmem__Response__BodyCase expected, const Kmem__Response **ret_response)
{
    int saved_errno = errno;
    int r = kmem__conn_ask(&query->conn, request, expected, NULL, ret_response, &query->failure);
    if (kmem__query_can_repeat(query, request, r)) {
        r = kmem__query_repeat(query, request, expected, ret_response);
    }
    r = query_answered(query, r, *ret_response);
    errno = saved_errno;
    return r;
}

int kmem__query_ask_ahead(struct kmem_query *query, Kmem__Request *request)
{
    int saved_errno = errno;
    int r = kmem__conn_ask_ahead(&query->conn, request, &query->ahead_failure);
    errno = saved_errno;
    return r;
}

int kmem__query_hear(struct kmem_query *query, int asked, Kmem__Request *request,
                     Kmem__Response__BodyCase expected, const Kmem__Response **ret_response)
{
    int saved_errno = errno;
    int r = asked;
    if (asked == 0) {
        r = kmem__conn_hear(&query->conn, expected, ret_response, &query->failure);
    } else {
        query->failure = query->ahead_failure;
    }
    if (kmem__query_can_repeat(query, request, r)) {
        r = kmem__query_repeat(query, request, expected, ret_response);
    }
    r = query_answered(query, r, *ret_response);
    errno = saved_errno;
    return r;
}

void kmem__query_drop(struct kmem_query *query, int asked, Kmem__Response__BodyCase expected)
{
    const Kmem__Response *response = NULL;
    int saved_errno = errno;
    if (asked == 0) {
        const int r = kmem__conn_hear(&query->conn, expected, &response, &query->ahead_failure);
        (void)r; /* a fault has ended the connection, which the next question says */
    }
    errno = saved_errno;
}

int kmem__query_fail_to_move_on(struct kmem_query *query)
{
    int r = kmem__conn_lose(&query->conn, &query->failure, EPROTO,
                            "sent an answer that does not move on");
    kmem__query_record(query, query->call);
    return r;
}

int kmem__query_filter(struct kmem_query *query, const void *said, size_t said_bytes,
                       size_t least_bytes, void *ret_filter, size_t filter_bytes)
{
    memset(ret_filter, 0, filter_bytes);
    if (said_bytes < least_bytes) {
        int r = kmem__failure_set(&query->failure, EINVAL,
                                  "struct_bytes of the filter is %zu; set it to sizeof(filter)",
                                  said_bytes);
        kmem__query_record(query, query->call);
        return r;
    }
    memcpy(ret_filter, said, said_bytes < filter_bytes ? said_bytes : filter_bytes);
    return 0;
}

/* ----------------------------------------------------------------------------------- usage ---- */

const char *kmem__query_unit(Kmem__StatisticUnit unit)
{
    switch (unit) {
    case KMEM__STATISTIC_UNIT__UNIT_BYTES:
        return "bytes";
    case KMEM__STATISTIC_UNIT__UNIT_MILLISECONDS:
        return "milliseconds";
    case KMEM__STATISTIC_UNIT__UNIT_COUNT:
    case _KMEM__STATISTIC_UNIT_IS_INT_SIZE:
        break;
    }
    /* The unit of a newer daemon, too. */
    return "count";
}

static int usage_row(const struct kmem_daemon *daemon, const Kmem__Statistic *said,
                     kmem_statistic_fn each, void *user)
{
    const struct kmem_statistic statistic = {
        .name = said->name,
        .kind = said->kind == KMEM__STATISTIC_KIND__STATISTIC_COUNTER ? "counter" : "gauge",
        .unit = kmem__query_unit(said->unit),
        .text = said->text,
        .value = said->value,
    };
    return each(daemon, &statistic, user);
}

KMEM_MUST_USE static int usage_rows(struct kmem_query *query, kmem_statistic_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Usage usage = KMEM__USAGE__INIT;
    request.body_case = KMEM__REQUEST__BODY_USAGE;
    request.usage = &usage;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_USAGE, &response);
    if (r < 0) {
        return r;
    }
    const Kmem__UsageReport *report = response->usage;
    const struct kmem_daemon daemon = {
        .segment_name = report->segment_name,
        .version = report->daemon_version,
        .pid = report->daemon_pid,
        .instance = report->instance,
    };
    for (size_t i = 0; r == 0 && i < report->n_statistics; i++) {
        r = usage_row(&daemon, report->statistics[i], each, user);
    }
    return r;
}

int kmem_query_usage(struct kmem_query *query, kmem_statistic_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_usage");
    return r < 0 ? r : kmem__query_end(query, usage_rows(query, each, user));
}

/* ---------------------------------------------------------------------------------- ledger ---- */

static struct kmem_ledger_row ledger_row(const Kmem__LedgerRow *said)
{
    return (struct kmem_ledger_row){
        .key = said->key,
        .n_blocks = said->n_blocks,
        .num_bytes = said->num_bytes,
        .oldest_ms = said->oldest_ms,
        .pid = said->pid,
        .uid = said->uid,
    };
}

static int ledger_page(const Kmem__LedgerReport *report, kmem_ledger_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_rows; i++) {
        const struct kmem_ledger_row row = ledger_row(report->rows[i]);
        r = each(&row, user);
    }
    return r;
}

KMEM_MUST_USE static int ledger_rows(struct kmem_query *query, enum kmem_group_by by,
                                     kmem_ledger_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Ledger ledger = KMEM__LEDGER__INIT;
    ledger.by = (Kmem__GroupBy)by;
    request.body_case = KMEM__REQUEST__BODY_LEDGER;
    request.ledger = &ledger;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_LEDGER, &response);
        r = r ? r : ledger_page(response->ledger, each, user);
        if (r != 0 || !response->ledger->more) {
            return r;
        }
        uint32_t last_row = ledger.first_row;
        if (!checked_add(last_row, response->ledger->n_rows, &ledger.first_row) ||
            ledger.first_row == last_row) {
            return kmem__query_fail_to_move_on(query);
        }
    }
}

int kmem_query_ledger(struct kmem_query *query, enum kmem_group_by by, kmem_ledger_fn each,
                      void *user)
{
    int r = kmem__query_begin(query, "kmem_query_ledger");
    return r < 0 ? r : kmem__query_end(query, ledger_rows(query, by, each, user));
}

/* --------------------------------------------------------------------------------- clients ---- */

static int clients_page(const Kmem__ClientsReport *report, kmem_client_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_clients; i++) {
        const Kmem__Client *said = report->clients[i];
        const struct kmem_client client = {
            .slot = said->slot,
            .pid = said->pid,
            .uid = said->uid,
            .gid = said->gid,
            .command = said->command,
            .connected = said->connected,
            .is_reader = said->reader,
            .is_walled = said->walled,
            .unit = said->unit,
            .n_blocks = said->n_blocks,
            .num_bytes = said->num_bytes,
            .peak_bytes = said->peak_bytes,
            .age_ms = said->age_ms,
            .leased_bytes = said->leased_bytes,
            .unused_bytes = said->unused_bytes,
            .peak_used_bytes = said->peak_used_bytes,
            .idle_bytes = said->idle_bytes,
        };
        r = each(&client, user);
    }
    return r;
}

KMEM_MUST_USE static int clients_rows(struct kmem_query *query, kmem_client_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Clients clients = KMEM__CLIENTS__INIT;
    request.body_case = KMEM__REQUEST__BODY_CLIENTS;
    request.clients = &clients;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_CLIENTS, &response);
        r = r ? r : clients_page(response->clients, each, user);
        if (r != 0 || !response->clients->more) {
            return r;
        }
        if (response->clients->next_slot <= clients.from_slot) {
            return kmem__query_fail_to_move_on(query);
        }
        clients.from_slot = response->clients->next_slot;
    }
}

int kmem_query_clients(struct kmem_query *query, kmem_client_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_clients");
    return r < 0 ? r : kmem__query_end(query, clients_rows(query, each, user));
}

/* ------------------------------------------------------------------------------ obituaries ---- */

/* An obituary's rows stand together for the callback, in what is left of the connection's arena. */
KMEM_MUST_USE static int obituary_row(struct kmem_query *query, const Kmem__Obituary *said,
                                      kmem_obituary_fn each, void *user)
{
    ProtobufCAllocator *allocator = &query->conn.arena.allocator;
    struct kmem_ledger_row *rows =
        allocator->alloc(allocator->allocator_data, said->n_rows * sizeof(*rows));
    if (rows == NULL) {
        int r = kmem__conn_lose(&query->conn, &query->failure, ENOMEM,
                                "sent an answer that is too large");
        kmem__query_record(query, query->call);
        return r;
    }
    for (size_t i = 0; i < said->n_rows; i++) {
        rows[i] = ledger_row(said->rows[i]);
    }
    const struct kmem_obituary obituary = {
        .number = said->number,
        .pid = said->pid,
        .uid = said->uid,
        .command = said->command,
        .left = said->left,
        .lived_ms = said->lived_ms,
        .ended_ms_ago = said->ended_ms_ago,
        .n_blocks = said->n_blocks,
        .num_bytes = said->num_bytes,
        .peak_bytes = said->peak_bytes,
        .n_reasons = said->n_reasons,
        .n_rows = said->n_rows,
        .rows = rows,
        .peak_used_bytes = said->peak_used_bytes,
        .n_kept = said->n_kept,
        .kept_bytes = said->kept_bytes,
        .largest_kept_bytes = said->largest_kept_bytes,
        .kept_by_kind = (enum kmem_holder_kind)said->kept_by_kind,
        .kept_by_pid = said->kept_by_pid,
        .kept_by = said->kept_by,
    };
    return each(&obituary, user);
}

KMEM_MUST_USE static int obituaries_page(struct kmem_query *query,
                                         const Kmem__ObituariesReport *report,
                                         kmem_obituary_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_obituaries; i++) {
        r = obituary_row(query, report->obituaries[i], each, user);
    }
    return r;
}

KMEM_MUST_USE static int obituaries_rows(struct kmem_query *query, kmem_obituary_fn each,
                                         void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Obituaries obituaries = KMEM__OBITUARIES__INIT;
    request.body_case = KMEM__REQUEST__BODY_OBITUARIES;
    request.obituaries = &obituaries;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_OBITUARIES, &response);
        r = r ? r : obituaries_page(query, response->obituaries, each, user);
        if (r != 0 || !response->obituaries->more) {
            return r;
        }
        if (response->obituaries->next_number <= obituaries.from_number) {
            return kmem__query_fail_to_move_on(query);
        }
        obituaries.from_number = response->obituaries->next_number;
    }
}

int kmem_query_obituaries(struct kmem_query *query, kmem_obituary_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_obituaries");
    return r < 0 ? r : kmem__query_end(query, obituaries_rows(query, each, user));
}

/* --------------------------------------------------------------------------------- holders ---- */

static int holders_page(const Kmem__HoldersReport *report, kmem_holder_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_holders; i++) {
        const Kmem__Holder *said = report->holders[i];
        const struct kmem_holder holder = {
            .offset = said->offset,
            .num_bytes = said->num_bytes,
            .generation = said->generation,
            .block_reason = said->block_reason,
            .kind = (enum kmem_holder_kind)said->kind,
            .pid = said->pid,
            .uid = said->uid,
            .command = said->command,
            .reason = said->reason,
            .age_ms = said->age_ms,
            .write = said->write,
        };
        r = each(&holder, user);
    }
    return r;
}

static bool holders_move_on(const Kmem__HoldersReport *report, const Kmem__Holders *from)
{
    return report->next_share > from->from_share ||
           (report->next_share == from->from_share && report->next_holder > from->from_holder);
}

KMEM_MUST_USE static int holders_rows(struct kmem_query *query, uint64_t offset,
                                      kmem_holder_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Holders holders = KMEM__HOLDERS__INIT;
    holders.offset = offset;
    request.body_case = KMEM__REQUEST__BODY_HOLDERS;
    request.holders = &holders;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_HOLDERS, &response);
        r = r ? r : holders_page(response->holders, each, user);
        if (r != 0 || !response->holders->more) {
            return r;
        }
        if (!holders_move_on(response->holders, &holders)) {
            return kmem__query_fail_to_move_on(query);
        }
        holders.from_share = response->holders->next_share;
        holders.from_holder = response->holders->next_holder;
    }
}

int kmem_query_holders(struct kmem_query *query, uint64_t offset, kmem_holder_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_holders");
    return r < 0 ? r : kmem__query_end(query, holders_rows(query, offset, each, user));
}

/* ----------------------------------------------------------------------------------- names ---- */

static int names_page(const Kmem__NamesReport *report, kmem_name_fn each, void *user)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_names; i++) {
        const Kmem__Name *said = report->names[i];
        const struct kmem_name name = {
            .name = said->name,
            .version = said->version,
            .offset = said->offset,
            .num_bytes = said->num_bytes,
            .block_reason = said->block_reason,
            .pid = said->pid,
            .uid = said->uid,
            .command = said->command,
            .keep = said->keep,
            .n_holders = said->n_holders,
        };
        r = each(&name, user);
    }
    return r;
}

KMEM_MUST_USE static int names_rows(struct kmem_query *query, kmem_name_fn each, void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Names names = KMEM__NAMES__INIT;
    request.body_case = KMEM__REQUEST__BODY_NAMES;
    request.names = &names;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_NAMES, &response);
        r = r ? r : names_page(response->names, each, user);
        if (r != 0 || !response->names->more) {
            return r;
        }
        if (response->names->next_name <= names.from_name) {
            return kmem__query_fail_to_move_on(query);
        }
        names.from_name = response->names->next_name;
    }
}

int kmem_query_names(struct kmem_query *query, kmem_name_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_names");
    return r < 0 ? r : kmem__query_end(query, names_rows(query, each, user));
}

/* ---------------------------------------------------------------------------------- output ---- */

char *kmem_query_escape(const char *text, char *buffer, size_t buffer_bytes)
{
    return text_escape(text, strlen(text), buffer, buffer_bytes);
}

char *kmem_query_format_bytes(uint64_t num_bytes, char *buffer, size_t buffer_bytes)
{
    return text_format_bytes(num_bytes, buffer, buffer_bytes);
}
