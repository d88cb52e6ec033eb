/* SPDX-License-Identifier: MIT */
/*
 * test_ctl.c - what kmemctl says about a segment that real processes use
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------- processes ---- */

struct holding {
    size_t num_bytes;
    const char *reason;
};

/* Holds an array of blocks, ended by 0 bytes, until it is told to release them. */
static void hold(const void *argument)
{
    void *blocks[16];
    size_t n_blocks = 0;
    const struct holding *const holdings = argument;

    (void)prctl(PR_SET_NAME, "holder");
    for (; holdings[n_blocks].num_bytes > 0; n_blocks++) {
        blocks[n_blocks] =
            kmem_try_allocate(holdings[n_blocks].num_bytes, holdings[n_blocks].reason);
        expect_call(blocks[n_blocks] != NULL);
    }
    client_say(n_blocks);
    (void)client_await();
    for (size_t i = 0; i < n_blocks; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_say(0);
    (void)client_await();
}

static struct client start_holder(const struct holding *holdings)
{
    const struct client client = client_start(hold, holdings);

    (void)client_hear(&client);
    return client;
}

static void end_holder(struct client *client)
{
    client_resume(client);
    client_finish(client);
}

static const struct holding video[] = {
    {101, "video/capture/scratch"},
    {1 << 20, "video/capture"},
    {44, "video/index#3"},
    {4096, "audio"},
    {0, NULL},
};

static const struct holding nasty[] = {
    {16, "\033]0;owned\a\033[31mred"},
    {17, "line\nfeed\rreturn"},
    {18, "\xC2\x9B\x33\x31m"},
    {19, "caf\xE9"},
    {20, "back\\slash"},
    {21, "\x7F\x01\"quoted\""},
    {22, "映像"},
    {0, NULL},
};

/* ------------------------------------------------------------------------------- questions ---- */

static void test_ctl_usage_shows_what_is_live(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(video);
    const struct ctl_end *const end = ctl("usage");

    expect_equal(end->exit_status, 0);
    expect_text(end->err, "");
    expect_match(end->out, "^segment \"test\"  16\\.0 MiB, up to 256\\.0 MiB  "
                           "\\(kmemd [0-9.]+, pid [0-9]+, up ");
    expect_match(end->out, "^  # used 1\\.0 MiB \\(6\\.[0-9] %\\)  \\+ overhead ");
    expect_match(end->out, "^  blocks +4 +peak used +1\\.0 MiB +peak held +1\\.0 MiB$");
    expect_match(end->out, "^  clients +1 +seen +1 +ended +0$");
    end_holder(&client);
    daemon_stop_balanced();
}

static void test_ctl_usage_all_explains_every_figure(void)
{
    daemon_start("--size", "16MiB", NULL);
    const struct ctl_end *const end = ctl("usage", "--all");

    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^used_bytes +0 B +gauge +live blocks, as asked for$");
    expect_match(end->out, "^uptime_ms +[0-9.]+ m?s +gauge +");
    daemon_stop();
}

static void test_ctl_ledger_rolls_up_by_reason(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(video);
    const struct ctl_end *end = ctl("ledger", "--bytes");

    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^ +BYTES +SHARE +BLOCKS +OLDEST  REASON$");
    expect_match(end->out, "^ *1,048,576 +99\\.6 % +1 +[0-9.]+ m?s  video/capture$");
    expect_match(end->out, "^ *101 +0\\.0 % +1 +[0-9.]+ m?s  video/capture/scratch$");
    expect_match(end->out, "^ *44 +0\\.0 % +1 +[0-9.]+ m?s  video/index$");
    expect_match(end->out, "^1,052,817 +100\\.0 % +4 +[0-9.]+ m?s  total$");

    end = ctl("ledger", "--depth", "1", "-b");
    expect_match(end->out, "^1,048,721 +99\\.6 % +3 +[0-9.]+ m?s  video$");
    end_holder(&client);
    expect_text(ctl("ledger")->out, "no live blocks\n");
    daemon_stop();
}

static void test_ctl_ledger_rolls_up_by_client_and_uid(void)
{
    char pattern[128];

    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(video);
    (void)snprintf(pattern, sizeof(pattern), "^ *1\\.0 MiB +100\\.0 %% +4 +[0-9.]+ m?s +%d +%u  ",
                   client.pid, getuid());
    expect_match(ctl("ledger", "--by", "client")->out, pattern);
    (void)snprintf(pattern, sizeof(pattern), "^1\\.0 MiB +100\\.0 %% +4 +[0-9.]+ m?s +%u  [^ ]+$",
                   getuid());
    expect_match(ctl("ledger", "--by=uid")->out, pattern);
    end_holder(&client);
    daemon_stop();
}

static size_t count_lines(const char *text, const char *part)
{
    size_t n_lines = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        n_lines++;
    }
    return n_lines;
}

static void test_ctl_blocks_filters_by_pid_and_reason(void)
{
    char pid[16];

    daemon_start("--size", "16MiB", NULL);
    struct client first = start_holder(video);
    struct client second = start_holder(video);
    (void)snprintf(pid, sizeof(pid), "%d", second.pid);

    expect_match(ctl("blocks")->out, "^8 blocks, 2\\.0 MiB$");
    expect_match(ctl("blocks", "--bytes")->out, "^8 blocks, 2,105,634 bytes$");
    expect_match(ctl("blocks", "--pid", pid)->out, "^4 blocks, ");
    expect_match(ctl("blocks", "--reason", "video/capture")->out, "^4 blocks, ");
    expect_match(ctl("blocks", "-p", pid, "-r", "video/index")->out, "^1 block, 44 B$");
    expect_equal(count_lines(ctl("blocks", "-r", "video/i")->out, "  video/index#3\n"), 2);
    expect_text(ctl("blocks", "--reason", "film")->out, "no live blocks of that kind\n");
    end_holder(&first);
    end_holder(&second);
    expect_text(ctl("blocks")->out, "no live blocks\n");
    daemon_stop();
}

static void test_ctl_clients_shows_who_holds_what(void)
{
    char pattern[128];

    daemon_start("--size", "16MiB", NULL);
    expect_text(ctl("clients")->out, "no clients\n");
    struct client client = start_holder(video);
    (void)snprintf(
        pattern, sizeof(pattern),
        "^ *%d +%u +[^ ]+ +%u +[0-9.]+ m?s +4  1\\.0 MiB +0 B +0 B +1\\.0 MiB +1\\.0 MiB  "
        "member  connected  ",
        client.pid, getuid(), getgid());
    expect_match(ctl("clients")->out, pattern);
    end_holder(&client);
    daemon_stop_balanced();
}

static void test_ctl_obituaries_tell_what_was_not_released(void)
{
    char pattern[128];

    daemon_start("--size", "16MiB", NULL);
    expect_text(ctl("obituaries")->out, "nobody has ended\n");
    struct client killed = start_holder(video);
    const pid_t pid = killed.pid;
    client_kill(&killed);
    expect_balanced();
    const struct ctl_end *const end = ctl("obituaries", "--bytes");

    (void)snprintf(pattern, sizeof(pattern),
                   "^ *1 .* %d +%u +[^ ]+ +[a-z_]+ +died +1,052,817 +1,052,817 +1,052,817 +4$", pid,
                   getuid());
    expect_match(end->out, pattern);
    expect_match(end->out, "^ +1,048,576 +1  video/capture$");
    expect_match(end->out, "^ +44 +1  video/index$");
    daemon_stop();
}

/* --------------------------------------------------------------------------------- foreign ---- */

static void expect_harmless(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (iscntrl(*at) && *at != '\n') {
            fail("control character 0x%02x in\n%s", *at, text);
        }
        if (at[0] == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F) {
            fail("C1 control character 0x%02x in\n%s", at[1], text);
        }
    }
}

static void test_ctl_lets_no_escape_sequence_through(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(nasty);

    expect_harmless(ctl("ledger")->out);
    expect_match(ctl("ledger")->out, "  \\\\x1b\\]0;owned\\\\x07\\\\x1b\\[31mred$");
    expect_match(ctl("ledger")->out, "  line\\\\x0afeed\\\\x0dreturn$");
    expect_match(ctl("ledger")->out, "  back\\\\\\\\slash$");
    expect_harmless(ctl("blocks")->out);
    expect_equal(count_lines(ctl("blocks")->out, "\n"), 1 + 7 + 2);
    client_kill(&client);
    expect_balanced();
    expect_harmless(ctl("obituaries")->out);
    daemon_stop();
}

static struct json_object *parse(const char *text)
{
    struct json_tokener *const tokener = json_tokener_new();

    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *const object = json_tokener_parse_ex(tokener, text, (int)strlen(text));
    if (object == NULL) {
        fail("%s in\n%s", json_tokener_error_desc(json_tokener_get_error(tokener)), text);
    }
    json_tokener_free(tokener);
    return object;
}

/* The sum of a member over a list of objects; -1 if one lacks it. */
static int64_t json_sum(const struct json_object *document, const char *list, const char *member)
{
    int64_t sum = 0;
    struct json_object *rows;
    struct json_object *number;

    expect_true(json_object_object_get_ex(document, list, &rows));
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        if (!json_object_object_get_ex(json_object_array_get_idx(rows, i), member, &number)) {
            return -1;
        }
        sum += json_object_get_int64(number);
    }
    return sum;
}

static void expect_json_sum(const struct ctl_end *end, const char *list, int64_t sum)
{
    expect_equal(end->exit_status, 0);
    struct json_object *const document = parse(end->out);

    expect_equal(json_sum(document, list, "num_bytes"), sum);
    json_object_put(document);
}

static void test_ctl_json_is_valid_whatever_the_reason(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(nasty);

    expect_json_sum(ctl("ledger", "--json"), "ledger", 133);
    expect_json_sum(ctl("ledger", "--json", "--by", "client"), "ledger", 133);
    expect_json_sum(ctl("ledger", "--json", "--by", "uid"), "ledger", 133);
    expect_json_sum(ctl("blocks", "--json"), "blocks", 133);
    expect_json_sum(ctl("--json", "clients"), "clients", 133);
    client_kill(&client);
    expect_balanced();
    expect_json_sum(ctl("obituaries", "--json"), "obituaries", 133);
    daemon_stop();
}

static void test_ctl_usage_json_has_every_figure(void)
{
    struct json_object *statistics;
    struct json_object *value;

    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(video);
    struct json_object *const document = parse(ctl("usage", "--json")->out);

    expect_true(json_object_object_get_ex(document, "statistics", &statistics));
    expect_true(json_object_object_get_ex(statistics, "segment_bytes", &value));
    expect_equal(json_object_get_int64(value), 16 << 20);
    expect_true(json_object_object_get_ex(statistics, "used_bytes", &value));
    expect_equal(json_object_get_int64(value), 1052817);
    json_object_put(document);
    end_holder(&client);
    daemon_stop();
}

/* ------------------------------------------------------------------------------- reconcile ---- */

static void test_ctl_reconcile_proves_the_balance(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(video);
    const struct ctl_end *end = ctl("reconcile");

    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^  ok    blocks            4 blocks, 1,052,817 bytes$");
    expect_match(end->out, "^balanced: ");
    client_kill(&client);
    expect_balanced();
    expect_equal(ctl("reconcile")->exit_status, 0);
    daemon_stop();
}

static void allocate_and_release_for_ever(const void *argument)
{
    const bool *const says = argument;

    for (bool said = false;; said = true) {
        void *block = kmem_try_allocate(100, "churn");
        expect_call(block != NULL);
        if (*says && !said) {
            client_say(1);
        }
        expect_equal(kmem_try_release(&block), 0);
    }
}

/*
 * Whether the client gets to run within each of the tries is the scheduler's business; that nothing
 * is compared if it does is proven with faked answers, in the unit test.
 */
static void test_ctl_reconcile_of_a_busy_segment_is_75_or_balanced(void)
{
    static const bool says = true;

    daemon_start("--size", "16MiB", NULL);
    struct client client = client_begin(allocate_and_release_for_ever, &says);
    const struct ctl_end *const end = ctl("reconcile");

    expect_match(end->out, end->exit_status == 75 ? "^busy: " : "^balanced");
    expect_true(end->exit_status == 75 || end->exit_status == 0);
    client_kill(&client);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------- refusals ---- */

static void test_ctl_usage_of_a_segment_that_is_too_full_is_5(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client client = start_holder(video);
    expect_equal(ctl("usage", "--fail-above", "80%")->exit_status, 0);
    expect_equal(ctl("usage", "--fail-above=5")->exit_status, 5);
    expect_match(ctl("usage", "--fail-above=5%")->out, "^segment \"test\"");
    expect_equal(ctl("usage", "--json", "--fail-above=5%")->exit_status, 5);
    end_holder(&client);
    daemon_stop_balanced();
}

/* Another could have put that socket there. */
static void test_ctl_that_is_not_permitted_is_4(void)
{
    daemon_start("--size", "16MiB", NULL);
    expect_call(chmod(harness_path("."), 0770) == 0);
    expect_equal(ctl("usage")->exit_status, 4);
    expect_match(ctl("usage")->err, "others than its owner may replace files");
    expect_call(chmod(harness_path("."), 0700) == 0);
    daemon_stop();
}

static void test_ctl_without_a_daemon_is_3(void)
{
    const struct ctl_end *const end = ctl("--socket", harness_path("nobody.sock"), "usage");

    expect_equal(end->exit_status, 3);
    expect_text(end->out, "");
    expect_match(end->err, "^kmemctl: .*no daemon answers: tried .*/nobody\\.sock");
    expect_match(end->err, "start one with");
}

static void test_ctl_command_line_that_can_not_be_meant_is_2(void)
{
    expect_match(ctl("lgeder")->err, "no command \"lgeder\"; did you mean \"ledger\"\\?");
    expect_equal(ctl("lgeder")->exit_status, 2);
    expect_equal(ctl("frobnicate")->exit_status, 2);
    expect_true(!harness_matches(ctl("frobnicate")->err, "did you mean"));
    expect_equal(ctl_run((const char *const[]){NULL})->exit_status, 2);
    expect_equal(ctl("ledger", "--by", "colour")->exit_status, 2);
    expect_equal(ctl("ledger", "--depth", "0")->exit_status, 2);
    expect_equal(ctl("ledger", "--depth", "1", "--by", "uid")->exit_status, 2);
    expect_equal(ctl("blocks", "--pid", "-1")->exit_status, 2);
    expect_equal(ctl("blocks", "--pid", "12x")->exit_status, 2);
    expect_equal(ctl("usage", "extra")->exit_status, 2);
    expect_equal(ctl("--nonsense")->exit_status, 2);
    expect_equal(ctl("--socket", "/a", "--segment", "b", "usage")->exit_status, 2);
    expect_equal(ctl("--socket", "/a", "usage", "--segment", "b")->exit_status, 2);
    expect_equal(ctl("--segment", "../b", "usage")->exit_status, 2);
    expect_equal(ctl("run")->exit_status, 2);
    expect_equal(ctl("--socket", "/a", "run", "true")->exit_status, 2);
    expect_match(ctl("--bytes", "run", "true")->err,
                 "\"run\" starts a daemon of its own: --bytes means nothing to it");
}

/* Nobody who types a command has seen the names of the library's functions and variables. */
static void test_ctl_blames_the_option_that_is_wrong(void)
{
    char path[120];
    (void)memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[108] = '\0';

    expect_match(ctl("-n", "a/b", "usage")->err, "^kmemctl: --segment takes .*not \"a/b\"$");
    expect_match(ctl("usage", "-n", "a/b")->err, "^kmemctl usage: --segment takes .*\"a/b\"$");
    expect_match(ctl("usage", "--segment=")->err, "--segment takes a name .*not \"\"$");
    expect_match(ctl("usage", "--socket=")->err, "--socket takes a path; this one is empty$");
    expect_match(ctl("usage", "-s", path)->err, "--socket takes .* 107 bytes; this one has 108: ");
    expect_equal(ctl("usage", "-s", path)->exit_status, 2);
    expect_match(ctl("blocks", "-p", "x")->err, "--pid takes a number .*not \"x\"$");
    expect_match(ctl("ledger", "-d", "x")->err, "--depth takes a number .*not \"x\"$");
    expect_match(ctl("usage", "--fail-above", "x")->err, "--fail-above takes a share .*\"x\"$");
    expect_match(ctl("usage", "--fail-above=101%")->err, "--fail-above takes a share ");
    expect_match(ctl("ledger", "-g", "x")->err, "--by takes .*not \"x\"$");
    expect_match(ctl("run", "-e", "256", "true")->err, "--leaks-exit-code takes .*not \"256\"$");
    expect_match(ctl("run", "-s", "x", "true")->err, "^kmemd: --size: \"x\" is no size");
    (void)setenv("KMEM_TIMEOUT_MS", "x", 1);
    expect_match(ctl("-s", "/a", "usage")->err, "^kmemctl: \\$KMEM_TIMEOUT_MS is \"x\", not a ");
    (void)unsetenv("KMEM_TIMEOUT_MS");
    expect_match(ctl("-n", "nowhere", "usage")->err, "^kmemctl: no daemon answers: tried ");
}

static void test_ctl_alone_lists_its_commands(void)
{
    const struct ctl_end *const end = ctl_run((const char *const[]){NULL});

    expect_equal(end->exit_status, 2);
    expect_text(end->out, "");
    expect_match(end->err, "^  usage +Show how full the segment is\\.$");
    expect_match(end->err, "^  run +Run a program on a segment of its own\\.$");
}

/* Listens, and answers with bytes that are no frame of the protocol. */
static void answer_with_junk(const void *path)
{
    static const char junk[64] = {5, 0, 0, 0, '\xFF', '\xFF', '\xFF', '\xFF', '\xFF'};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", (const char *)path);
    expect_call(bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0);
    expect_call(listen(listener, 1) == 0);
    client_say(1);
    (void)send(accept(listener, NULL, NULL), junk, sizeof(junk), MSG_NOSIGNAL);
    (void)client_await();
}

static void test_ctl_of_a_daemon_that_talks_junk_is_1(void)
{
    const char *const path = harness_path("junk.sock");
    struct client junk = client_start(answer_with_junk, path);

    (void)client_hear(&junk);
    const struct ctl_end *const end = ctl("--socket", path, "usage");
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "^kmemctl: ");
    client_finish(&junk);
}

static void test_ctl_finds_a_segment_by_its_name(void)
{
    daemon_start("--name", "other", NULL);
    expect_call(mkdir(harness_path("kmemd"), 0700) == 0);
    expect_call(symlink(daemon_socket(), harness_path("kmemd/other.sock")) == 0);
    (void)setenv("XDG_RUNTIME_DIR", harness_path("."), 1);
    (void)setenv("KMEM_SOCKET", "/nowhere", 1);
    const struct ctl_end *const end = ctl("usage", "--segment", "other");

    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^segment \"other\" ");
    (void)setenv("KMEM_SOCKET", daemon_socket(), 1);
    daemon_stop();
}

static void test_ctl_that_can_not_write_its_answer_is_1(void)
{
    daemon_start("--size", "16MiB", NULL);
    (void)fflush(NULL);
    const pid_t pid = fork();
    int status = 0;

    expect_call(pid >= 0);
    if (pid == 0) {
        (void)dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
        (void)execl(harness_program("kmemctl"), "kmemctl", "usage", (char *)NULL);
        _exit(99);
    }
    expect_call(waitpid(pid, &status, 0) == pid);
    expect_true(WIFEXITED(status));
    expect_equal(WEXITSTATUS(status), 1);
    daemon_stop();
}

static void test_ctl_version_and_help(void)
{
    expect_match(ctl("--version")->out, "^kmemctl [0-9]+\\.[0-9]+\\.[0-9]+$");
    const struct ctl_end *const end = ctl("--help");

    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^  reconcile +Check that all figures add up\\.$");
    expect_match(ctl("help")->out, "^  reconcile +Check ");
    expect_match(ctl("ledger", "--help")->out, "^Usage: kmemctl ledger ");
    expect_match(ctl("-h")->out, "^  reconcile +Check ");
    expect_match(ctl("ledger", "-h")->out, "^Usage: kmemctl ledger ");
    expect_match(ctl("-n", "x", "usage", "-h")->out, "^Usage: kmemctl usage ");
    expect_match(ctl("run", "-h")->out, "^Usage: kmemctl run ");
    expect_equal(ctl("run", "-h")->exit_status, 0);
}

static void test_an_answer_to_a_closed_standard_output_is_1(void)
{
    const char *const arguments[] = {"usage", NULL};
    daemon_start(NULL, NULL);
    struct ctl_process process = ctl_start_closed(arguments, 2);
    const struct ctl_end *const end = ctl_wait(&process);
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "cannot write the answer");
    process = ctl_start_closed(arguments, 1); /* input is not needed */
    expect_equal(ctl_wait(&process)->exit_status, 0);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_ctl_usage_shows_what_is_live, 10),
    SYSTEM_TEST(test_ctl_usage_all_explains_every_figure, 10),
    SYSTEM_TEST(test_ctl_ledger_rolls_up_by_reason, 10),
    SYSTEM_TEST(test_ctl_ledger_rolls_up_by_client_and_uid, 10),
    SYSTEM_TEST(test_ctl_blocks_filters_by_pid_and_reason, 10),
    SYSTEM_TEST(test_ctl_clients_shows_who_holds_what, 10),
    SYSTEM_TEST(test_ctl_obituaries_tell_what_was_not_released, 10),
    SYSTEM_TEST(test_ctl_lets_no_escape_sequence_through, 10),
    SYSTEM_TEST(test_ctl_json_is_valid_whatever_the_reason, 10),
    SYSTEM_TEST(test_ctl_usage_json_has_every_figure, 10),
    SYSTEM_TEST(test_ctl_reconcile_proves_the_balance, 10),
    SYSTEM_TEST(test_ctl_reconcile_of_a_busy_segment_is_75_or_balanced, 20),
    SYSTEM_TEST(test_ctl_usage_of_a_segment_that_is_too_full_is_5, 10),
    SYSTEM_TEST(test_ctl_that_is_not_permitted_is_4, 10),
    SYSTEM_TEST(test_ctl_without_a_daemon_is_3, 10),
    SYSTEM_TEST(test_ctl_command_line_that_can_not_be_meant_is_2, 10),
    SYSTEM_TEST(test_ctl_blames_the_option_that_is_wrong, 20),
    SYSTEM_TEST(test_ctl_alone_lists_its_commands, 10),
    SYSTEM_TEST(test_ctl_of_a_daemon_that_talks_junk_is_1, 10),
    SYSTEM_TEST(test_ctl_finds_a_segment_by_its_name, 10),
    SYSTEM_TEST(test_ctl_that_can_not_write_its_answer_is_1, 10),
    SYSTEM_TEST(test_ctl_version_and_help, 10),
    SYSTEM_TEST(test_an_answer_to_a_closed_standard_output_is_1, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
