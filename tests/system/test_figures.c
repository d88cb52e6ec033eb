/* SPDX-License-Identifier: MIT */
/*
 * test_figures.c - every figure is compared with the truth
 *
 * A workload whose truth is known: processes with and without the library, direct and leased
 * blocks, one that is killed, one that leaves, a server that is killed in between, everything that
 * can be refused. Each statistic of daemon/core/stats.def, each column of the tables and each
 * figure of the log is compared with what these processes did. A statistic that is compared with
 * nothing makes test_every_statistic_is_the_truth fail.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/core/tick.h"
#include "tests/system/client.h"
#include "tests/system/clocks.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"
#include "tests/system/workload.h"

/* ------------------------------------------------------------------------- the statistics ---- */

static const struct {
    const char *name;
    bool is_counter;
} statistics[] = {
#define IS_COUNTER_GAUGE false
#define IS_COUNTER_COUNTER true
#define STAT(name, kind, unit, value, text) {#name, IS_COUNTER_##kind},
#include "daemon/core/stats.def"
#undef STAT
};
#define N_STATISTICS (sizeof(statistics) / sizeof(statistics[0]))

/* All statistics at one instant. */
struct figures {
    uint64_t values[N_STATISTICS];
};

static bool is_compared[N_STATISTICS];

static size_t statistic_find(const char *name)
{
    for (size_t i = 0; i < N_STATISTICS; i++) {
        if (strcmp(statistics[i].name, name) == 0) {
            return i;
        }
    }
    fail("daemon/core/stats.def has no \"%s\"", name);
}

static struct figures figures_take(void)
{
    struct figures figures;
    const int fd = wire_observer();
    Kmem__Response *const response =
        wire_ask_for(fd, request_usage(NEW_REQUEST), KMEM__RESPONSE__BODY_USAGE);
    expect_equal(response->usage->n_statistics, N_STATISTICS);
    for (size_t i = 0; i < N_STATISTICS; i++) {
        expect_text(response->usage->statistics[i]->name, statistics[i].name);
        figures.values[i] = response->usage->statistics[i]->value;
    }
    wire_free(response);
    (void)close(fd);
    return figures;
}

static uint64_t figure(const struct figures *figures, const char *name)
{
    return figures->values[statistic_find(name)];
}

/* Wants a figure to be this, and notes that it has been compared. */
#define expect_figure(figures, name, truth) figure_expect(__FILE__, __LINE__, figures, name, truth)

static void figure_expect(const char *file, int line, const struct figures *figures,
                          const char *name, uint64_t truth)
{
    const size_t at = statistic_find(name);
    is_compared[at] = true;
    if (figures->values[at] != truth) {
        harness_fail(file, line, "%s is %" PRIu64 ", and in truth %" PRIu64, name,
                     figures->values[at], truth);
    }
}

static void expect_all_compared(void)
{
    for (size_t i = 0; i < N_STATISTICS; i++) {
        if (!is_compared[i]) {
            fail("the statistic %s is compared with nothing", statistics[i].name);
        }
    }
}

/* What holds of every answer. */
static void expect_identities(const struct figures *figures)
{
    expect_equal(figure(figures, "used_bytes") + figure(figures, "free_bytes") +
                     figure(figures, "overhead_bytes"),
                 SEGMENT_BYTES);
    expect_equal(figure(figures, "rounding_bytes") + figure(figures, "slab_bytes") + PAGE_BYTES,
                 figure(figures, "overhead_bytes"));
    expect_figure(figures, "first_page_bytes", PAGE_BYTES);
    expect_equal(figure(figures, "idle_bytes") + figure(figures, "largest_extent_bytes") +
                     figure(figures, "scattered_bytes"),
                 figure(figures, "free_bytes"));
    expect_equal(figure(figures, "allocations") - figure(figures, "releases"),
                 figure(figures, "blocks"));
    expect_equal(figure(figures, "leases_refused_no_room") +
                     figure(figures, "leases_refused_quota"),
                 figure(figures, "leases_refused"));
    expect_figure(figures, "refusals",
                  figure(figures, "refusals_no_room") + figure(figures, "refusals_quota") +
                      figure(figures, "refusals_too_large") + figure(figures, "refusals_invalid"));
}

/* ------------------------------------------------------------------------------- the acts ---- */

#define HOUR_S 3600
#define HOUR_MS UINT64_C(3600000)

static struct clocks *clocks; /* the daemon's */

static void daemon_begin(void)
{
    clocks = clocks_prepare();
    const struct daemon_setting setting = {.max_fds = 256,
                                           .program = harness_program("kmemd_shifted")};
    daemon_start_as(&setting, OPTIONS("--quota", "8MiB"));
}

/* For the daemon, and for nobody else. */
static void an_hour_passes(void)
{
    clocks->boot_s += HOUR_S;
}

static void expect_worked(const struct figures *now)
{
    expect_identities(now);
    expect_figure(now, "segment_bytes", SEGMENT_BYTES);
    expect_figure(now, "most_bytes", 16 * SEGMENT_BYTES);
    expect_figure(now, "used_bytes", WORKED_BYTES);
    expect_figure(now, "blocks", WORKED_BLOCKS);
    expect_figure(now, "rounding_bytes", WORKED_ROUNDING_BYTES);
    expect_figure(now, "slab_bytes", WORKED_SLAB_BYTES);
    expect_figure(now, "idle_bytes", figure(now, "leased_bytes") - WORKED_LEASED_BYTES);
    expect_figure(now, "unused_bytes", figure(now, "idle_bytes") - PAGE_BYTES); /* the pairs' */
    expect_figure(now, "direct_bytes", WORKED_DIRECT_BYTES);
    expect_figure(now, "direct_blocks", WORKED_DIRECT);
    expect_figure(now, "allocations", WORKED_ALLOCATIONS);
    expect_figure(now, "releases", WORKED_RELEASES);
    expect_figure(now, "direct_allocations", WORKED_DIRECT + HOT_AFTER); /* of the pairs, too */
    expect_figure(now, "direct_releases", HOT_AFTER);
    expect_figure(now, "clients", 1);
    expect_figure(now, "clients_seen", 1);
    expect_figure(now, "clients_ended", 0);
    expect_figure(now, "peak_used_bytes", WORKED_BYTES);
    expect_figure(now, "peak_bytes", WORKED_DIRECT_BYTES + figure(now, "leased_bytes"));
    expect_figure(now, "refusals", 0);
    expect_figure(now, "misuses", 0);
    expect_figure(now, "revoked_bytes", 0);
    expect_figure(now, "reclaimed_bytes", 0);
    expect_figure(now, "waiting_bytes", 0);              /* system.store has another */
    expect_figure(now, "resident_bytes", SEGMENT_BYTES); /* system.waste: --commit lazy */
    expect_figure(now, "other_reasons", 0);
    expect_figure(now, "reasons_overflowed", 0);
}

/* The same program once more, on the same files. */
static void daemon_upgrade(void)
{
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 5000);
}

/* Another server: all figures are as they were, but for the two requests that ask for them. */
static void expect_as_before(const struct figures *before, const struct figures *now)
{
    for (size_t i = 0; i < N_STATISTICS; i++) {
        const bool is_requests = strcmp(statistics[i].name, "requests") == 0;
        if (strcmp(statistics[i].name, "huge_bytes") == 0) {
            continue; /* the next server makes them anew */
        }
        if (strcmp(statistics[i].name, "uptime_ms") == 0) {
            expect_at_least(now->values[i], before->values[i]);
        } else if (now->values[i] != before->values[i] + (is_requests ? 2 : 0)) {
            fail("%s was %" PRIu64 " before the server was killed, and is %" PRIu64,
                 statistics[i].name, before->values[i], now->values[i]);
        }
    }
}

static void expect_requests_and_uptime(void)
{
    const uint64_t clearing_bytes = usage_clearing_bytes();
    const struct figures before = figures_take();
    expect_figure(&before, "clear_loop_bytes", clearing_bytes);
    an_hour_passes();
    const struct figures now = figures_take();
    expect_figure(&now, "requests", figure(&before, "requests") + 2); /* Hello and Usage */
    expect_at_least(figure(&now, "uptime_ms"), figure(&before, "uptime_ms") + HOUR_MS);
    expect_equal(figure(&now, "uptime_ms") / HOUR_MS, 1); /* the test takes seconds */
    is_compared[statistic_find("uptime_ms")] = true;
}

/* As many as its log says that it has made: none, where the kernel can not. */
static void expect_huge(void)
{
    char pattern[64];
    expect_log_line("(0 B|[0-9.]+ MiB) of [0-9.]+ MiB are made of 2 MiB pages");
    const struct figures now = figures_take();
    const uint64_t huge_bytes = figure(&now, "huge_bytes");
    (void)snprintf(pattern, sizeof(pattern),
                   huge_bytes == 0 ? " 0 B of " : " %" PRIu64 "\\.0 MiB of ", huge_bytes >> 20);
    expect_log_line(pattern);
    is_compared[statistic_find("huge_bytes")] = true;
}

static void expect_clients_limit(const struct figures *now)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof(pattern), "RLIMIT_NOFILE suffices for %" PRIu64 " clients",
                   figure(now, "clients_limit"));
    expect_log_line(pattern);
    is_compared[statistic_find("clients_limit")] = true;
}

/* What the worker could not have: what is unused of all leases was looked at, and taken back. */
static void expect_refused(const struct figures *before, const struct figures *now)
{
    expect_figure(now, "refusals_no_room", 1);
    expect_figure(now, "refusals_quota", 1);
    expect_figure(now, "refusals_too_large", 1);
    expect_figure(now, "refusals_invalid", 1);
    expect_figure(now, "refusals", 4);
    expect_figure(now, "unused_bytes", 0);
    /* Some may have been taken back before, when the second large block made memory short. */
    const uint64_t revoked_bytes = figure(before, "leased_bytes") - figure(now, "leased_bytes");
    expect_figure(now, "revoked_bytes", figure(before, "revoked_bytes") + revoked_bytes);
    expect_at_least(revoked_bytes, figure(before, "idle_bytes"));
}

static void expect_hole(const struct figures *now)
{
    const uint64_t hole_bytes = figure(now, "largest_hole_bytes");
    struct client client = client_start(workload_fill_hole, &hole_bytes);
    expect_equal(client_hear(&client), hole_bytes);
    client_end(&client);
    const uint64_t more_bytes = hole_bytes + 1;
    client = client_start(workload_fill_hole, &more_bytes);
    expect_equal(client_hear(&client), 0);
    client_end(&client);
    is_compared[statistic_find("largest_hole_bytes")] = true;
}

/* The worker has misused and been refused, a second process has come, a third spoke nonsense. */
static void expect_misused(const struct figures *before, const struct figures *now, pid_t worker)
{
    expect_identities(now);
    expect_figure(now, "misuses", MISUSES_SEEN_BY_LIBRARY + MISUSES_SEEN_BY_SERVER);
    expect_figure(now, "protocol_errors", 1);
    expect_figure(now, "blocks", WORKED_BLOCKS - 2 + 1);
    expect_figure(now, "used_bytes", WORKED_BYTES - 2 * KEPT_BYTES + BIG_BYTES);
    expect_figure(now, "reasons", 3); /* kept, large, big */
    expect_figure(now, "leases_refused", 1);
    expect_figure(now, "leases_refused_quota", 1);
    expect_figure(now, "leases_refused_no_room", 0);
    expect_figure(now, "leases", figure(before, "leases") + 1);
    expect_figure(now, "peak_used_bytes", WORKED_BYTES - 2 * KEPT_BYTES + BIG_BYTES);
    expect_figure(now, "peak_bytes", figure(now, "direct_bytes") + figure(now, "leased_bytes"));
    /* What the worker did not use was taken back when it wanted more than its quota. */
    expect_figure(now, "unused_bytes", SPARE_PAGES * PAGE_BYTES);
    expect_figure(now, "leased_bytes",
                  client_row_of(worker).leased_bytes + SPARE_PAGES * PAGE_BYTES);
}

static uint64_t count_in_log(const char *words)
{
    uint64_t n = 0;
    for (const char *at = daemon_log(); (at = strstr(at, words)) != NULL; at++) {
        n++;
    }
    return n;
}

/* Of connections that were refused the log has some lines, and counts the others. */
static void expect_connections_in_vain(void)
{
    struct client client = client_start(workload_connect_in_vain, NULL);
    const uint64_t n_refused = client_hear(&client);
    client_finish(&client);
    const struct figures now = figures_take();
    expect_at_least(n_refused, CONNECTIONS - 128);
    expect_figure(&now, "connections_refused", n_refused);
    expect_figure(&now, "connections_dropped", CONNECTIONS - n_refused);
    expect_figure(&now, "log_lines_dropped", n_refused - count_in_log(" is refused: "));
    expect_at_least(figure(&now, "log_lines_dropped"), 1);
}

/* Nobody is left. */
static void expect_ended(const struct figures *now)
{
    expect_identities(now);
    expect_figure(now, "allocations", WORKED_ALLOCATIONS + 2 + 1);
    expect_figure(now, "releases", WORKED_ALLOCATIONS + 2 + 1);
    expect_figure(now, "direct_releases", figure(now, "direct_allocations"));
    expect_figure(now, "misuses", MISUSES_SEEN_BY_LIBRARY + MISUSES_SEEN_BY_SERVER);
    expect_figure(now, "refusals_too_large", 1);
    expect_figure(now, "clients_seen", 5);
    expect_figure(now, "clients_ended", 5);
    expect_figure(now, "leased_bytes", 0);
    expect_figure(now, "free_bytes", SEGMENT_BYTES - PAGE_BYTES);
    expect_figure(now, "largest_extent_bytes", SEGMENT_BYTES - PAGE_BYTES);
    expect_figure(now, "scattered_bytes", 0);
    expect_figure(now, "idle_bytes", 0);
    expect_figure(now, "rounding_bytes", 0);
    expect_figure(now, "slab_bytes", 0);
    expect_figure(now, "overhead_bytes", PAGE_BYTES);
}

static bool is_kept(void)
{
    const struct figures now = figures_take();
    return figure(&now, "kept_blocks") == 1 && figure(&now, "kept_bytes") == BIG_BYTES;
}

/* A block with a name, that another process holds as well; then both have ended. */
static void expect_sharing(void)
{
    daemon_begin();
    struct client publisher = client_start(workload_publish, NULL);
    (void)client_hear(&publisher);
    const struct figures published = figures_take();
    expect_figure(&published, "kept_blocks", 0); /* its publisher is charged for it */
    expect_figure(&published, "kept_bytes", 0);
    struct client follower = client_start(workload_follow, NULL);
    (void)client_hear(&follower);
    const struct figures shared = figures_take();
    expect_identities(&shared);
    expect_figure(&shared, "shares", 1);
    expect_figure(&shared, "kept_blocks", 0); /* it is the follower's now */
    expect_figure(&shared, "kept_bytes", 0);
    expect_figure(&shared, "holds", 1);
    expect_figure(&shared, "names", 1);
    expect_figure(&shared, "names_limit", 4096);
    expect_figure(&shared, "attaches", 1);
    expect_figure(&shared, "attaches_refused", 1);
    daemon_kill_server();
    const struct figures recovered = figures_take();
    expect_as_before(&shared, &recovered);
    client_kill(&publisher);
    client_tell(&follower, 1);
    client_end(&follower);
    expect_soon(is_kept(), 2000);
    client_run(workload_unpublish, NULL);
    expect_balanced();
    const struct figures ended = figures_take();
    expect_figure(&ended, "shares", 0);
    expect_figure(&ended, "holds", 0);
    expect_figure(&ended, "names", 0);
    expect_equal(figure(&ended, "blocks"), 0);
    daemon_stop();
}

static void test_every_statistic_is_the_truth(void)
{
    expect_sharing();
    daemon_begin();
    struct client worker = client_begin(workload_work, NULL);
    expect_huge();
    const struct figures worked = figures_take();
    expect_worked(&worked);
    expect_clients_limit(&worked);
    daemon_kill_server();
    const struct figures recovered = figures_take();
    expect_as_before(&worked, &recovered);
    daemon_upgrade();
    const struct figures upgraded = figures_take();
    expect_as_before(&recovered, &upgraded);
    expect_requests_and_uptime();

    client_resume(&worker);
    client_run(workload_speak_nonsense, NULL);
    struct client big = client_begin(workload_hold_big, NULL);
    const struct figures misused = figures_take();
    expect_misused(&recovered, &misused, worker.pid);

    struct client bigger = client_begin(workload_hold_big, NULL);
    const struct figures filled = figures_take();
    client_resume(&worker);
    const struct figures refused = figures_take();
    expect_identities(&refused);
    expect_refused(&filled, &refused);
    expect_hole(&refused);
    expect_connections_in_vain();

    daemon_kill_server();
    client_kill(&big);
    client_kill(&bigger);
    client_finish(&worker);
    expect_balanced();
    const struct figures ended = figures_take();
    expect_ended(&ended);
    expect_all_compared();
    daemon_stop();
}

/* ------------------------------------------------------------------------------ the rows ---- */

/* A number as kmemctl prints it with --bytes. */
static const char *with_commas(uint64_t number, char *text, size_t n_bytes)
{
    char digits[24];
    const int n_digits = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    size_t at = 0;
    for (int i = 0; i < n_digits && at + 2 < n_bytes; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0) {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

/* The tables say what the answers say: a row of kmemctl usage --all for every statistic. */
static void expect_usage_table(const struct figures *now)
{
    static struct ctl_end end;
    end = *ctl("usage", "--all", "--bytes");
    expect_equal(end.exit_status, 0);
    for (size_t i = 0; i < N_STATISTICS; i++) {
        char pattern[128];
        char number[32];
        const bool moves = strcmp(statistics[i].name, "requests") == 0 ||
                           strcmp(statistics[i].name, "uptime_ms") == 0 ||
                           strcmp(statistics[i].name, "huge_bytes") == 0; /* expect_huge() */
        (void)snprintf(pattern, sizeof(pattern), "^%s +%s +%s ", statistics[i].name,
                       moves ? "[0-9,.a-z ]+" : with_commas(now->values[i], number, sizeof(number)),
                       statistics[i].is_counter ? "counter" : "gauge");
        expect_match(end.out, pattern);
    }
}

static void expect_client_table(pid_t pid, const struct client_row *row)
{
    char pattern[512];
    char number[6][32];
    const uint64_t columns[6] = {row->n_blocks,   row->num_bytes,       row->leased_bytes,
                                 row->idle_bytes, row->peak_used_bytes, row->peak_bytes};
    for (size_t i = 0; i < 6; i++) {
        (void)with_commas(columns[i], number[i], sizeof(number[i]));
    }
    (void)snprintf(pattern, sizeof(pattern),
                   "^ *%d +%u +[^ ]+ +%u +[0-9.]+ m?s +%s +%s +%s +%s +%s +%s +member +%s +%s$",
                   (int)pid, getuid(), getgid(), number[0], number[1], number[2], number[3],
                   number[4], number[5], row->connected ? "connected" : "cut off", row->command);
    expect_match(ctl("clients", "--bytes")->out, pattern);
}

static void expect_worker_row(pid_t pid, const struct figures *now, bool is_connected)
{
    const struct client_row row = client_row_of(pid);
    expect_true(row.found);
    expect_equal(row.connected, is_connected);
    expect_equal(row.uid, getuid());
    expect_equal(row.n_blocks, WORKED_BLOCKS);
    expect_equal(row.num_bytes, WORKED_BYTES);
    expect_equal(row.leased_bytes, figure(now, "leased_bytes"));
    expect_equal(row.unused_bytes, figure(now, "unused_bytes"));
    expect_equal(row.idle_bytes, figure(now, "idle_bytes"));
    expect_equal(row.peak_used_bytes, WORKED_BYTES);
    expect_equal(row.peak_bytes, figure(now, "peak_bytes"));
    expect_at_least(figures_take().values[statistic_find("uptime_ms")] + TICK_MS, row.age_ms);
    expect_client_table(pid, &row);
}

static void expect_ledger_columns(pid_t pid)
{
    struct ledger_row rows[8];
    expect_ledger_row("figures/kept", KEPT_BLOCKS, KEPT_BLOCKS * KEPT_BYTES);
    expect_ledger_row("figures/large", LARGE_BLOCKS, LARGE_BLOCKS * LARGE_BYTES);
    expect_equal(ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, 8), 2);
    expect_equal(ledger_rows(KMEM__GROUP_BY__GROUP_BY_CLIENT, rows, 8), 1);
    expect_equal(rows[0].pid, pid);
    expect_equal(rows[0].uid, getuid());
    expect_equal(rows[0].n_blocks, WORKED_BLOCKS);
    expect_equal(rows[0].num_bytes, WORKED_BYTES);
    expect_equal(ledger_rows(KMEM__GROUP_BY__GROUP_BY_UID, rows, 8), 1);
    expect_equal(rows[0].n_blocks, WORKED_BLOCKS);
    expect_equal(rows[0].num_bytes, WORKED_BYTES);
    expect_match(ctl("ledger", "--bytes")->out,
                 "^ *491,526 +83\\.1 % +6 +[0-9.]+ m?s  figures/large$");
    expect_match(ctl("ledger", "--bytes")->out,
                 "^ *100,000 +16\\.9 % +1,000 +[0-9.]+ m?s  figures/kept$");
    expect_ledger_sound();
}

/* Of one that was killed with everything: what the columns, the log and the table say. */
static void expect_killed_obituary(pid_t pid)
{
    char pattern[256];
    const struct obituary obituary = obituary_of(pid);
    expect_true(obituary.found);
    expect_true(!obituary.left);
    expect_equal(obituary.n_blocks, 1);
    expect_equal(obituary.num_bytes, BIG_BYTES);
    expect_equal(obituary.peak_used_bytes, BIG_BYTES);
    expect_equal(obituary.peak_bytes, BIG_BYTES + SPARE_PAGES * PAGE_BYTES);
    expect_equal(obituary.n_reasons, 1);
    expect_equal(obituary.n_rows, 1);
    expect_text(obituary.rows[0].key, "figures/big");
    expect_equal(obituary.rows[0].n_blocks, 1);
    expect_equal(obituary.rows[0].num_bytes, BIG_BYTES);
    expect_equal(obituary.lived_ms / HOUR_MS, 1);
    (void)snprintf(pattern, sizeof(pattern),
                   "client %d \\(.*, uid %u\\) ended after 36[0-9.]+ s: 1 block, 7\\.0 MiB taken "
                   "back: figures/big 7\\.0 MiB \\(1\\)",
                   (int)pid, getuid());
    expect_log_line(pattern);
    (void)snprintf(pattern, sizeof(pattern),
                   "^ *[0-9]+ .* %d +%u .*died +7,339,932 +7,405,468 +7,339,932 +1$", (int)pid,
                   getuid());
    expect_match(ctl("obituaries", "--bytes")->out, pattern);
}

/* Of one that has released everything and left: what it had was seen, but for its last blocks. */
static void expect_passing_obituary(pid_t pid)
{
    char pattern[128];
    const uint64_t all_bytes = (uint64_t)PASSING_BLOCKS * PASSING_BYTES;
    const struct obituary obituary = obituary_of(pid);
    expect_true(obituary.found);
    expect_true(obituary.left);
    expect_equal(obituary.n_blocks, 0);
    expect_equal(obituary.num_bytes, 0);
    expect_equal(obituary.n_reasons, 0);
    expect_at_most(obituary.peak_used_bytes, all_bytes);
    expect_at_least(obituary.peak_used_bytes, all_bytes - UINT64_C(32) * PASSING_BYTES);
    expect_at_least(obituary.peak_bytes, all_bytes);
    (void)snprintf(pattern, sizeof(pattern),
                   "client %d \\(.*, uid %u\\) left after [0-9.]+ s, all released", (int)pid,
                   getuid());
    expect_log_line(pattern);
}

static void test_every_column_and_log_line_is_the_truth(void)
{
    daemon_begin();
    struct client worker = client_begin(workload_work, NULL);
    const struct figures worked = figures_take();
    expect_usage_table(&worked);
    expect_worker_row(worker.pid, &worked, true);
    expect_ledger_columns(worker.pid);
    daemon_kill_server();
    expect_log_line("recovered in [0-9.]+ ms: 1 clients, 2 direct blocks \\(80\\.1 KiB\\), ");
    expect_usage_table(&worked);
    expect_worker_row(worker.pid, &worked, false); /* it has not asked anything yet */
    expect_ledger_columns(worker.pid);

    struct client passing = client_start(workload_pass_through, NULL);
    const pid_t passing_pid = passing.pid;
    (void)client_hear(&passing);
    client_finish(&passing);
    struct client big = client_start(workload_hold_big, NULL);
    const pid_t big_pid = big.pid;
    (void)client_hear(&big);
    an_hour_passes();
    client_kill(&big);
    struct client last = client_begin(workload_hold_big, NULL);
    expect_killed_obituary(big_pid);
    expect_passing_obituary(passing_pid);

    /* 7,339,932 + 591,526 bytes; 7,339,932 + 82,021 of them direct. */
    daemon_stop();
    expect_match(daemon_log(), "ending with 2 clients in the segment: 1007 blocks, 7\\.6 MiB "
                               "\\(7\\.1 MiB direct, 497\\.6 KiB leased\\)");
    expect_match(daemon_log(), "uid [0-9]+\\) lives on, and lost the segment after [0-9.]+ s: 1006 "
                               "blocks, 577\\.7 KiB taken "
                               "back: figures/large 480\\.0 KiB \\(6\\), figures/kept 97\\.7 KiB "
                               "\\(1000\\)$");
    client_kill(&last);
    client_kill(&worker);
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_every_statistic_is_the_truth, 30),
        SYSTEM_TEST(test_every_column_and_log_line_is_the_truth, 30),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
