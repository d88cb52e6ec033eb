/* SPDX-License-Identifier: MIT */
/*
 * scenes.c - the public calls, scene by scene
 *
 * Each call is judged by did(): in peace it has to succeed; while something fails it may fail with
 * an errno that its header has, and a sentence. An act goes on behind a call that has failed as a
 * program would: with what it has.
 */
#include "tests/system/scenes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/history.h>
#include <kmem/kmem.h>
#include <kmem/observe.h>
#include <kmem/query.h>
#include <kmem/share.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_HOT 40
#define SMALL_BYTES 96
#define HOT_BYTES 1000
#define LARGE_BYTES 300000
#define HUGE_BYTES (3U << 20)
#define N_PENDING_MAX 512
/* Half a minute of them. */
#define REPEATS_MAX 150
#define NAME "scenes/own"
#define PRODUCED "scenes/produced"

/* ---------------------------------------------------------------------------- judging ---- */

static bool may_fail; /* something fails just now */

/*
 * What kmem.h and share.h have for a call that needs the daemon, the first one included: no
 * descriptor, no memory, no daemon, no answer.
 */
static bool is_documented(int error)
{
    static const int errors[] = {ECONNREFUSED, ECONNRESET, EMFILE, ENFILE,
                                 ENOMEM,       ETIMEDOUT,  EUSERS};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i] == error) {
            return true;
        }
    }
    return false;
}

/* Return: whether the call has succeeded. */
static bool judge(int line, const char *call, int r, const char *sentence)
{
    if (r >= 0) {
        return true;
    }
    if (!may_fail) {
        harness_fail(__FILE__, line, "in peace: %s: %s (%s)", call, strerror(-r), sentence);
    }
    if (!is_documented(-r)) {
        harness_fail(__FILE__, line, "undocumented: %s: %s (%s)", call, strerror(-r), sentence);
    }
    if (strlen(sentence) < 20) {
        harness_fail(__FILE__, line, "no sentence: %s: %s \"%s\"", call, strerror(-r), sentence);
    }
    return false;
}

static unsigned int n_timeouts; /* while something fails */
static unsigned int n_repeats;  /* in peace */

/* The time for an answer is short, as some calls fail until then; a busy machine needs more. */
static bool is_to_be_repeated(int r)
{
    n_timeouts += may_fail && r == -ETIMEDOUT;
    return !may_fail && r == -ETIMEDOUT && n_repeats++ < REPEATS_MAX;
}

/* A program that has waited in vain twice goes on without the daemon. */
static bool has_given_up(void)
{
    return may_fail && n_timeouts >= 2;
}

/* Makes the call; again, in peace, if its time was over. Whether it has succeeded. */
#define did(call)                                                                                  \
    __extension__({                                                                                \
        int r_ = -ETIMEDOUT;                                                                       \
        if (!has_given_up()) {                                                                     \
            do {                                                                                   \
                r_ = (call);                                                                       \
            } while (is_to_be_repeated(r_));                                                       \
            (void)judge(__LINE__, #call, r_, kmem_last_error());                                   \
        }                                                                                          \
        r_ >= 0;                                                                                   \
    })

/* --------------------------------------------------------------------- blocks in hand ---- */

/* What could not be released, and why. ECONNRESET: the library could not say whether it was. */
static struct {
    void *block;
    int error;
} pending[N_PENDING_MAX];
static size_t n_pending;

static void keep_for_later(void *block, int r)
{
    expect_true(n_pending < N_PENDING_MAX);
    pending[n_pending].block = block;
    pending[n_pending].error = -r;
    n_pending++;
}

static void release(void *block)
{
    void *pointer = block;
    int r = -ETIMEDOUT;
    if (!did(r = kmem_try_release(&pointer))) {
        keep_for_later(block, r);
    }
}

static void release_pending(void)
{
    for (size_t i = 0; i < n_pending; i++) {
        int r = -ETIMEDOUT;
        do {
            r = kmem_try_release(&pending[i].block);
        } while (is_to_be_repeated(r));
        if (r != 0 && pending[i].error != ECONNRESET) {
            fail("not released because of %s, and now: %s", strerror(pending[i].error),
                 kmem_last_error());
        }
    }
    n_pending = 0;
}

/* Return: 0 and the block, every byte of which is 0, or a negative errno. */
static int allocate(size_t n_bytes, unsigned char **ret_block)
{
    unsigned char *const block = kmem_try_allocate(n_bytes, "scenes");
    if (block == NULL) {
        return -errno;
    }
    expect_equal(block[0], 0);
    expect_equal(block[n_bytes - 1], 0);
    memset(block, 0x5A, n_bytes);
    *ret_block = block;
    return 0;
}

static void expect_marked(const unsigned char *block, size_t n_bytes)
{
    expect_equal(block[0], 0x5A);
    expect_equal(block[n_bytes - 1], 0x5A);
}

/* So many blocks, or as many as there are; then all of them are released. */
static void allocate_and_release(unsigned int n, size_t n_bytes)
{
    unsigned char *blocks[256] = {NULL};
    unsigned int n_got = 0;
    for (unsigned int i = 0; i < n; i++) {
        n_got += did(allocate(n_bytes, &blocks[n_got])) ? 1U : 0U;
    }
    for (unsigned int i = 0; i < n_got; i++) {
        size_t known = 0;
        expect_true(blocks[i] != NULL);
        if (did(kmem_try_sizeof(blocks[i], &known))) {
            expect_equal(known, n_bytes);
        }
        expect_marked(blocks[i], n_bytes);
        release(blocks[i]);
    }
}

/* ------------------------------------------------------------------- join, allocate ---- */

static void join(void)
{
    allocate_and_release(1, SMALL_BYTES);
}

static void act_join(void)
{
    allocate_and_release(1, SMALL_BYTES);
    (void)did(kmem_close());
}

static void act_carve(void)
{
    allocate_and_release(4, SMALL_BYTES);
    allocate_and_release(2, LARGE_BYTES);
    allocate_and_release(1, HUGE_BYTES);
    for (int flags = KMEM_SHAREABLE; flags <= KMEM_UNINITIALIZED; flags *= 2) {
        void *block = NULL;
        if (did((block = kmem_try_allocate_with(SMALL_BYTES, flags, "scenes")) ? 0 : -errno)) {
            release(block);
        }
    }
}

static void become_hot(void)
{
    allocate_and_release(N_HOT, HOT_BYTES);
}

/* More than one lease; so one is asked for, and the guard opens it. */
static void act_lease(void)
{
    allocate_and_release(200, HOT_BYTES);
    allocate_and_release(6, LARGE_BYTES);
}

static void act_close(void)
{
    unsigned char *left = NULL;
    (void)did(allocate(SMALL_BYTES, &left));
    (void)did(kmem_close());
    allocate_and_release(2, SMALL_BYTES);
}

const struct scene scene_join = {"join", false, NULL, act_join};
const struct scene scene_carve = {"carve", false, join, act_carve};
const struct scene scene_lease = {"lease", false, become_hot, act_lease};
const struct scene scene_close = {"close", false, become_hot, act_close};

/* ----------------------------------------------------------------------------- sharing ---- */

/* A sandbox that hides the host's name: EPERM. */
static int of_host(int r)
{
    return r == -EPERM && may_fail ? -ENOMEM : r;
}

/* Nothing was published: the daemon has not answered an earlier call. */
static int of_publish(int r)
{
    return r == -EAGAIN && may_fail ? -ETIMEDOUT : r;
}

static void share_and_name(void *block)
{
    struct kmem_handle handle;
    struct kmem_handle again;
    char text[KMEM_HANDLE_TEXT_BYTES];
    uint64_t version = 0;
    void *mem = NULL;
    if (did(kmem_share(block, 0, &handle)) &&
        did(of_host(kmem_handle_to_text(&handle, text, sizeof(text))))) {
        (void)did(of_host(kmem_handle_from_text(text, &again)));
    }
    if (!did(of_publish(kmem_publish(block, NAME, 0, &version)))) {
        return;
    }
    (void)did(kmem_wait(NAME, 0, 0, &version));
    if (did(kmem_find(NAME, KMEM_READ, "scenes", &mem, &version))) {
        release(mem);
    }
    (void)did(kmem_unpublish(NAME));
}

static unsigned int n_offered; /* handed over, and attached by no process */

static void transfer_to_itself(void)
{
    struct kmem_handle handle;
    unsigned char *block = NULL;
    void *mem = NULL;
    if (!did(allocate(LARGE_BYTES, &block))) {
        return;
    }
    if (!did(kmem_transfer(&block, 0, &handle))) {
        release(block);
        return;
    }
    if (did(kmem_attach(&handle, KMEM_WRITE, "scenes", &mem))) {
        release(mem);
    } else {
        n_offered++; /* it ends with this process */
    }
}

static void act_share(void)
{
    unsigned char *block = NULL;
    if (did(allocate(LARGE_BYTES, &block))) {
        share_and_name(block);
        release(block);
    }
    transfer_to_itself();
}

void scenes_produce(const void *argument)
{
    unsigned char *block = NULL;
    (void)argument;
    expect_equal(allocate(LARGE_BYTES, &block), 0);
    expect_equal(kmem_publish(block, PRODUCED, 0, NULL), 0);
    client_pause();
    expect_equal(kmem_close(), 0);
}

static void follow(void)
{
    uint64_t seen = 0;
    void *mem = NULL;
    (void)did(kmem_next(PRODUCED, KMEM_READ, "scenes", &seen, &mem, 0));
    if (mem != NULL) {
        expect_marked(mem, LARGE_BYTES);
        release(mem);
    }
}

/* Its own: the other's handle is not known here. */
static void attach_many(void)
{
    struct kmem_handle handles[2];
    unsigned char *block = NULL;
    void *mems[2] = {NULL, NULL};
    if (!did(allocate(SMALL_BYTES, &block))) {
        return;
    }
    if (did(kmem_share(block, 0, &handles[0]))) {
        handles[1] = handles[0];
        if (did(kmem_attach_many(handles, 2, KMEM_READ, "scenes", mems)) &&
            !did(kmem_release_many(mems, 2))) {
            for (size_t i = 0; i < 2; i++) {
                if (mems[i] != NULL) {
                    release(mems[i]);
                }
            }
        }
    }
    release(block);
}

static void act_attach(void)
{
    void *mem = NULL;
    follow();
    if (!did(kmem_find(PRODUCED, KMEM_WRITE, "scenes", &mem, NULL))) {
        return;
    }
    expect_marked(mem, LARGE_BYTES);
    release(mem);
    attach_many();
}

static void act_read(void)
{
    void *mem = NULL;
    if (!did(kmem_join_as_reader(NULL))) {
        return;
    }
    if (did(kmem_find(PRODUCED, KMEM_READ, "scenes", &mem, NULL))) {
        release(mem);
    }
    follow();
}

static void act_watch(void)
{
    const int fd = kmem_watch(PRODUCED);
    if (did(fd)) {
        (void)did(kmem_watch_read(fd));
        (void)close(fd);
    }
}

const struct scene scene_share = {"share", false, join, act_share};
const struct scene scene_attach = {"attach", false, join, act_attach};
const struct scene scene_read = {"read", false, NULL, act_read};
const struct scene scene_watch = {"watch", false, NULL, act_watch};

/* ----------------------------------------------------------------------------- queries ---- */

#define ROW_FN(name, row_type)                                                                     \
    static int name(const row_type *row, void *user)                                               \
    {                                                                                              \
        (void)row;                                                                                 \
        (void)user;                                                                                \
        return 0;                                                                                  \
    }

static int each_statistic(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                          void *user)
{
    (void)daemon;
    (void)statistic;
    (void)user;
    return 0;
}

ROW_FN(each_limit, struct kmem_limit)
ROW_FN(each_ledger, struct kmem_ledger_row)
ROW_FN(each_block, struct kmem_block)
ROW_FN(each_client, struct kmem_client)
ROW_FN(each_obituary, struct kmem_obituary)
ROW_FN(each_refusal, struct kmem_refusal)
ROW_FN(each_count, struct kmem_refusal_count)
ROW_FN(each_holder, struct kmem_holder)
ROW_FN(each_name, struct kmem_name)
ROW_FN(each_pages, struct kmem_pages)
ROW_FN(each_byte, struct kmem_byte)
ROW_FN(each_change, struct kmem_change)
ROW_FN(each_history, struct kmem_history_row)
ROW_FN(each_lifetimes, struct kmem_lifetimes)

#define asked(call) (!has_given_up() && judge(__LINE__, #call, (call), kmem_query_error(query)))

static bool ask_for_blocks(struct kmem_query *query)
{
    const struct kmem_block_filter filter = {.struct_bytes = sizeof(filter), .reason = "s*"};
    return asked(kmem_query_usage(query, each_statistic, NULL)) &&
           asked(kmem_query_limits(query, each_limit, NULL)) &&
           asked(kmem_query_ledger(query, KMEM_BY_REASON, each_ledger, NULL)) &&
           asked(kmem_query_blocks(query, each_block, NULL)) &&
           asked(kmem_query_blocks_where(query, &filter, each_block, NULL)) &&
           asked(kmem_query_clients(query, each_client, NULL)) &&
           asked(kmem_query_obituaries(query, each_obituary, NULL));
}

static bool ask_for_the_rest(struct kmem_query *query)
{
    struct kmem_change_position position = {.number = KMEM_CHANGES_FROM_NOW};
    const struct kmem_history_filter filter = {.struct_bytes = sizeof(filter)};
    return asked(kmem_query_refusals(query, each_refusal, NULL)) &&
           asked(kmem_query_refusal_counts(query, each_count, NULL)) &&
           asked(kmem_query_holders(query, 0, each_holder, NULL)) &&
           asked(kmem_query_names(query, each_name, NULL)) &&
           asked(kmem_query_pages(query, 0, each_pages, NULL)) &&
           asked(kmem_query_at(query, 65536, each_byte, NULL)) &&
           asked(kmem_query_changes(query, &position, 0, each_change, NULL)) &&
           asked(kmem_query_history(query, &filter, each_history, NULL)) &&
           asked(kmem_query_lifetimes(query, each_lifetimes, NULL));
}

/* Behind the first that fails nothing more is asked: the connection is given up. */
static void act_query(void)
{
    struct kmem_query *query = NULL;
    if (did(kmem_query_open(NULL, &query))) {
        if (ask_for_blocks(query)) {
            (void)ask_for_the_rest(query);
        }
        query = kmem_query_close(query);
    }
    expect_true(query == NULL);
}

const struct scene scene_query = {"query", false, NULL, act_query};

/* ------------------------------------------------------------------ forks and restarts ---- */

#define N_KEPT 3
static unsigned char *kept[N_KEPT];
static const size_t kept_bytes[N_KEPT] = {SMALL_BYTES, HOT_BYTES, LARGE_BYTES};

/* Direct, leased, large; held over both acts, and released in the second. */
static void hold(void)
{
    become_hot();
    for (size_t i = 0; i < N_KEPT; i++) {
        expect_equal(allocate(kept_bytes[i], &kept[i]), 0);
    }
}

static void hold_and_kill_server(void)
{
    hold();
    daemon_kill_server();
}

static void expect_kept(void)
{
    for (size_t i = 0; i < N_KEPT; i++) {
        if (kept[i] != NULL) {
            size_t known = 0;
            expect_marked(kept[i], kept_bytes[i]);
            if (did(kmem_try_sizeof(kept[i], &known))) {
                expect_equal(known, kept_bytes[i]);
            }
        }
    }
}

static void release_kept(void)
{
    for (size_t i = 0; i < N_KEPT; i++) {
        if (kept[i] != NULL) {
            release(kept[i]);
        }
        kept[i] = NULL;
    }
}

static void act_resume(void)
{
    expect_kept();
    allocate_and_release(2, SMALL_BYTES);
    allocate_and_release(60, HOT_BYTES);
    allocate_and_release(1, LARGE_BYTES);
    if (may_fail) {
        return;
    }
    release_kept();
}

static void act_in_child(void)
{
    allocate_and_release(2, SMALL_BYTES);
    allocate_and_release(1, LARGE_BYTES);
    (void)did(kmem_close());
    _exit(0);
}

static void act_fork(void)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid < 0) {
        expect_true(may_fail); /* it is the program's call that has failed */
        return;
    }
    if (pid == 0) {
        act_in_child();
    }
    while (waitpid(pid, &status, 0) != pid) {
        expect_true(may_fail);
    }
    expect_equal(status, 0);
    expect_kept();
    if (!may_fail) {
        release_kept();
    }
}

const struct scene scene_fork = {"fork", false, hold, act_fork};
const struct scene scene_resume = {"resume", true, hold_and_kill_server, act_resume};

/* ----------------------------------------------------------------------------- playing ---- */

void scene_play(const struct scene *scene, scene_arm_fn arm, scene_disarm_fn disarm)
{
    const unsigned int n_fds = harness_count_fds(getpid());
    if (scene->prepare != NULL) {
        scene->prepare();
    }
    may_fail = true;
    arm();
    scene->act();
    const unsigned int n_unseen = disarm();
    may_fail = false;
    release_pending();
    scene->act();
    release_pending();
    expect_at_most(client_row_of(getpid()).n_blocks, n_offered);
    (void)did(kmem_close());
    expect_at_most(harness_count_fds(getpid()), n_fds + n_unseen);
}
