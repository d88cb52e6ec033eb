/* SPDX-License-Identifier: MIT */
/*
 * fuzz_decoder.c - the library and kmemctl before a daemon that says what it likes
 *
 * The first byte says who reads. A command of kmemctl asks over a real socket, in which the
 * answers lie already: bytes, recorded or not, or messages by choice; behind the last the daemon
 * has closed. What the command prints holds nothing that a terminal would obey. Or an Error becomes
 * each of the library's sentences; or a Welcome is looked at.
 */
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/link/refusal.h"
#include "client/link/welcome.h"
#include "client/query_parts.h"
#include "tests/fuzz/message.h"

#define ANSWERS_MAX 4
#define PRINTED_MAX_BYTES (4 * 1024 * 1024)

static struct kmem_query query;
static _Alignas(16) unsigned char memory[RESPONSE_ARENA_BYTES];
static unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
static char printed[PRINTED_MAX_BYTES];

/* ------------------------------------------------------------------------------- answers ----- */

/* A response as bytes that are there, or made by choice. Return: its frame's bytes, 0: none. */
static size_t choose_answer(struct choices *choices, uint64_t id)
{
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    Kmem__Response *response;
    if (choose_whether(choices)) {
        const uint8_t *payload = choices->at + 2;
        const size_t n_wanted = choose_raw(choices, 2);
        const size_t n_left = (size_t)(choices->end - choices->at);
        const size_t n_bytes = n_wanted < n_left ? n_wanted : n_left;
        choices->at += n_bytes;
        response = n_bytes == 0 ? NULL
                                : (Kmem__Response *)frame_decode(
                                      &arena, &kmem__response__descriptor, payload, n_bytes);
    } else {
        response = (Kmem__Response *)message_choose(choices, &arena, &kmem__response__descriptor);
    }
    if (!response) {
        return 0;
    }
    response->id = id;
    return frame_encode(&response->base, frame, sizeof(frame));
}

static void answer(struct choices *choices, int fd)
{
    for (uint64_t id = 1; id <= ANSWERS_MAX && has_choices(choices); id++) {
        const size_t n_bytes = choose_answer(choices, id);
        if (n_bytes > 0) {
            (void)!send(fd, frame, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    }
    EXPECT(shutdown(fd, SHUT_WR) == 0);
}

/* ------------------------------------------------------------------------------- commands ---- */

static const command_show_fn commands[] = {
    blocks_show, usage_show,    ledger_show, clients_show, obituaries_show, holders_show,
    names_show,  refusals_show, limits_show, history_show, map_show,        reasons_show,
    leaks_show,  status_show,   export_show, why_show,
};

/* A line for a person is safe but for its end; what programs read has escapes of its own. */
static void check_printed(const char *text, size_t n_bytes, enum format format)
{
    const char *end = text + n_bytes;
    for (const char *at = text; at < end && format <= FORMAT_WIDE;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *stop = line_end ? line_end : end;
        EXPECT(fuzz_is_safe(at, (size_t)(stop - at)));
        at = stop + 1;
    }
}

static void show(struct choices *choices)
{
    int fds[2];
    struct failure failure;
    struct options options = {.steps = 10, .since_ms = 60000};
    const command_show_fn command =
        commands[choose_below(choices, sizeof(commands) / sizeof(commands[0]))];
    options.format = (enum format)choose_below(choices, FORMAT_CSV + 1);
    const bool is_shown_whole = command != export_show;
    options.by = (enum kmem_group_by)choose_below(choices, 6);
    options.arguments[0] = command == why_show ? "0x4000" : NULL;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    query.call = NULL;
    query.conn.fd = -1;
    query.conn.last_id = 0;
    query.conn.loss[0] = '\0';
    EXPECT(kmem__conn_open(&query.conn, fds[0], "/fuzz", 100, &failure) == 0);
    answer(choices, fds[1]);
    FILE *file = fmemopen(printed, sizeof(printed), "w");
    EXPECT(file);
    struct screen screen = {.unicode = true, .n_columns = 80, .file = file, .notes = file};
    (void)command(&query, &options, &screen);
    (void)fflush(file); /* what does not fit is not looked at */
    const long n_bytes = ftell(file);
    EXPECT(n_bytes >= 0);
    check_printed(printed, (size_t)n_bytes, is_shown_whole ? options.format : FORMAT_JSON);
    (void)fclose(file);
    kmem__conn_close(&query.conn);
    EXPECT(close(fds[1]) == 0);
}

/* ------------------------------------------------------------------- errors and a welcome ---- */

static void check_failure(const struct failure *failure, int r)
{
    EXPECT(r < 0);
    EXPECT(failure->error == -r);
    EXPECT(strlen(failure->sentence) < sizeof(failure->sentence));
    EXPECT(fuzz_is_safe(failure->sentence, strlen(failure->sentence)));
    EXPECT(strlen(failure->reason) < sizeof(failure->reason));
}

static void refuse(struct choices *choices)
{
    static struct failure failure;
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    const Kmem__Error *error =
        (const Kmem__Error *)message_choose(choices, &arena, &kmem__error__descriptor);
    if (!error) {
        return;
    }
    const struct seg_off off = {error->offset};
    check_failure(&failure, kmem__refusal_of_block(error, off, &failure));
    check_failure(&failure, kmem__refusal_of_room(error, error->num_bytes, "video", &failure));
    check_failure(&failure, kmem__refusal_of_handle(error, &failure));
    check_failure(&failure, kmem__refusal_of_lease(error, &failure));
    check_failure(&failure, kmem__refusal_of_hello(error, "/fuzz", &failure));
    check_failure(&failure, kmem__refusal_of_query(error, &failure));
}

static void welcome(struct choices *choices)
{
    static struct failure failure;
    struct arena arena;
    struct welcome checked;
    arena_init(&arena, memory, sizeof(memory));
    const Kmem__Role role = (Kmem__Role)(1 + choose_below(choices, 3));
    const Kmem__Welcome *said =
        (const Kmem__Welcome *)message_choose(choices, &arena, &kmem__welcome__descriptor);
    const struct descriptors descriptors = {.n_fds = 0};
    if (!said) {
        return;
    }
    const int r = kmem__welcome_check(&query.conn, said, role, &descriptors, &checked, &failure);
    if (r) {
        check_failure(&failure, r);
        return;
    }
    EXPECT(role == KMEM__ROLE__ROLE_OBSERVER); /* the others get descriptors */
    EXPECT(fuzz_is_safe(checked.segment_name, strlen(checked.segment_name)));
    EXPECT(checked.segment_bytes >= SEGMENT_MIN_BYTES);
    EXPECT(checked.segment_bytes <= SEGMENT_MAX_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static bool is_prepared;
    struct choices choices = choices_of(bytes, n_bytes);
    if (!is_prepared) {
        is_prepared = true;
        EXPECT(setlocale(LC_ALL, "C.UTF-8"));
        (void)strcpy(query.conn.path, "/fuzz"); /* fits */
    }
    switch (choose_below(&choices, 8)) {
    case 0:
        refuse(&choices);
        break;
    case 1:
        welcome(&choices);
        break;
    default:
        show(&choices);
        break;
    }
    return 0;
}
