/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_tool.c - what kmemctl says of limits, refusals and groups of a real daemon
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define ROWS "--no-headers", "--columns"

/* Holds blocks of four sizes, and is refused one. */
static void be_camera(const void *argument)
{
    (void)argument;
    (void)prctl(PR_SET_NAME, "camera");
    expect_call(kmem_try_allocate(1 << 20, "video/capture") != NULL);
    expect_call(kmem_try_allocate(100, "video/index#1") != NULL);
    expect_call(kmem_try_allocate(200, "video/index#2") != NULL);
    expect_call(kmem_try_allocate(70000, "audio") != NULL);
    expect_true(kmem_try_allocate(15 << 20, "video/large") == NULL);
    expect_equal(errno, ENOMEM);
    client_say(1);
    (void)client_await();
}

static struct client enter(void)
{
    daemon_start("--size", "16MiB", "--names", "8", NULL);
    struct client camera = client_start(be_camera, NULL);
    (void)client_hear(&camera);
    return camera;
}

static void leave(struct client *camera)
{
    client_kill(camera);
    expect_soon(usage_take().clients == 0, 10000);
    daemon_stop();
}

static void be_recorder(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(4096, "late") != NULL);
    client_say(1);
    (void)client_await();
}

/* What the daemon rolls up of all blocks, kmemctl rolls up of those that are chosen: all. Ages are
 * left out: blocks grow older between two questions. */
static void test_ctl_ledger_of_chosen_blocks_has_the_groups_of_the_daemon(void)
{
    static const struct {
        const char *by;
        const char *columns;
    } groups[] = {
        {"reason", "reason,num_bytes,n_blocks"},  {"client", "command,num_bytes,n_blocks"},
        {"uid", "uid,num_bytes,n_blocks"},        {"unit", "unit,num_bytes,n_blocks"},
        {"size", "size_most,num_bytes,n_blocks"},
    };
    struct client camera = enter();
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        const char *const by = groups[i].by;
        const char *const columns = groups[i].columns;
        char *wanted = strdup(ctl("ledger", "-o", "csv", "--by", by, "--columns", columns)->out);
        expect_call(wanted != NULL);
        expect_text(ctl("ledger", "-o", "csv", "--by", by, "--columns", columns, "-r", "*")->out,
                    wanted);
        free(wanted);
    }
    expect_text(ctl("ledger", "--by=size", ROWS, "size_most,num_bytes", "-b", "-r", "audio")->out,
                "131,072  70,000\n");
    leave(&camera);
}

static void test_ctl_limits_says_what_is_near_and_which_option_it_is(void)
{
    struct client camera = enter();
    expect_match(ctl("limits")->out, "\nnames +0 +8 +0\\.0 % +ok .*--names");
    expect_match(ctl("limits", "-o", "csv")->out, "\nclients,1,");
    expect_equal(ctl("limits", "--fail-above", "99%")->exit_status, 0);
    expect_equal(ctl("limits", "--fail-above", "1%")->exit_status, 5);
    leave(&camera);
}

static void test_ctl_refusals_says_who_asked_for_what_and_why_not(void)
{
    struct client camera = enter();
    expect_match(
        ctl("refusals", "-o", "csv", "--columns", "asked,why,num_bytes,command,reason,n_times")
            ->out,
        "\nblock,no_room,15728640,camera,video/large,1\n");
    expect_match(ctl("refusals", "--reason", "video/large", ROWS, "why,bytes,limit")->out,
                 "^no_room +15\\.0 MiB +16\\.0 MiB\n$");
    expect_match(ctl("refusals", "--counts")->out, "\n +1 +block +no_room +there was no room\n");
    expect_text(ctl("refusals", "-p", "1")->out, "nothing of that kind was refused\n");
    leave(&camera);
}

static void test_ctl_diff_says_what_has_grown_since_a_snapshot(void)
{
    struct client camera = enter();
    char *file = strdup(harness_path("before.json"));
    expect_call(file != NULL);
    expect_match(ctl("snapshot", file)->out, "^segment \"test\": 3 reasons, ");
    expect_text(ctl("diff", file, "--no-headers")->out, "");
    struct client recorder = client_start(be_camera, NULL);
    (void)client_hear(&recorder);
    client_kill(&camera);
    expect_soon(usage_take().clients == 1, 10000);
    struct client late = client_start(be_recorder, NULL);
    (void)client_hear(&late);
    expect_text(ctl("diff", file, "-b", ROWS, "grown,blocks,reason")->out, "+4,096  +1  late\n");
    expect_equal(ctl("diff", "/etc/passwd")->exit_status, 2);
    expect_match(ctl("diff", "/etc/passwd")->err, "/etc/passwd: it is no snapshot");
    expect_equal(ctl("snapshot", "/nonexistent/x")->exit_status, 1);
    client_kill(&late);
    leave(&recorder);
    expect_equal(ctl("diff", file)->exit_status, 3);
    expect_equal(ctl("diff", file, file)->exit_status, 0);
    free(file);
}

/* Of the same name, and of the same place, and yet another segment. */
static void test_ctl_diff_knows_that_a_segment_was_made_anew(void)
{
    char *file = strdup(harness_path("before.json"));
    expect_call(file != NULL);
    daemon_start("--size", "16MiB", NULL);
    expect_equal(ctl("snapshot", file)->exit_status, 0);
    expect_text(ctl("diff", file)->err, "");
    daemon_stop();
    daemon_start("--size", "16MiB", NULL);
    expect_match(ctl("diff", file)->err, "was made anew in between");
    daemon_stop();
    free(file);
}

static void test_ctl_status_says_whether_all_is_well_and_what_is_not(void)
{
    daemon_start("--size", "16MiB", NULL);
    expect_equal(ctl("status")->exit_status, 0);
    expect_match(ctl("status")->out, "^All is well: .* of segment \"test\" is in use\\.\n");
    daemon_stop();
    struct client camera = enter();
    expect_equal(ctl("status")->exit_status, 5);
    expect_match(ctl("status")->out, "1 request was refused in the last hour");
    expect_match(ctl("status")->out, "block of 15\\.0 MiB to camera \\([0-9]+\\) for video/large: "
                                     "no_room, 1 time, last ");
    expect_match(ctl("status", "--json")->out, "\"well\": false");
    leave(&camera);
    expect_equal(ctl("status")->exit_status, 3);
}

static void test_ctl_doctor_checks_the_daemon_and_the_machine(void)
{
    expect_equal(ctl("doctor")->exit_status, 1);
    expect_match(ctl("doctor")->out, "  fail  daemon +no daemon answers");
    daemon_start("--size", "16MiB", NULL);
    expect_match(ctl("doctor")->out, "  ok    daemon +segment \"test\" answers");
    expect_match(ctl("doctor")->out, "  ok    version ");
    expect_match(ctl("doctor", "-o", "json")->out, "\"about\": \"RLIMIT_NOFILE\"");
    expect_equal(ctl("doctor", "-o", "csv")->exit_status, 2);
    daemon_stop();
}

/* --------------------------------------------------------------------------------- viewers ---- */

/* What a program prints. Ownership: the caller's, free(). */
static char *output_of(const char *format, const char *file)
{
    char command[2048];
    char *text = calloc(1, 1 << 20);
    (void)snprintf(command, sizeof(command), format, file);
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c): its own words */
    expect_call(text != NULL && pipe != NULL);
    (void)fread(text, 1, (1 << 20) - 1, pipe);
    expect_equal(pclose(pipe), 0);
    return text;
}

static void test_ctl_export_is_read_by_a_flame_graph_viewer(void)
{
    struct client camera = enter();
    char *file = strdup(harness_path("folded"));
    expect_call(file != NULL);
    expect_equal(ctl("export", file)->exit_status, 0);
    expect_text(ctl("export", "--reason", "video")->out,
                "video;capture 1048576\nvideo;index 300\n");
    char *picture = output_of("perl /usr/share/perl5/Devel/NYTProf/flamegraph.pl %s", file);
    expect_match(picture, "<title>video;?capture \\(1,048,576 samples, 93\\.|"
                          "<title>capture \\(1,048,576 samples, 93\\.");
    expect_match(picture, "<title>video \\(1,048,876 samples, ");
    expect_match(picture, "<title>audio \\(70,000 samples, ");
    free(picture);
    leave(&camera);
    free(file);
}

static void test_ctl_export_is_read_by_pprof(void)
{
    struct client camera = enter();
    char *file = strdup(harness_path("profile"));
    expect_call(file != NULL);
    expect_equal(ctl("export", "--format=pprof", file)->exit_status, 0);
    char *top = output_of("go tool pprof -top -unit=b %s 2>&1", file);
    expect_match(top, "live blocks of the segment \"test\"\n");
    expect_match(top, "Type: inuse_space\n");
    expect_match(top, "\n +1048576B .* video/capture\n");
    expect_match(top, "\n +0 .* 1048876B .* video\n");
    free(top);
    top = output_of("go tool pprof -top -sample_index=inuse_objects %s 2>&1", file);
    expect_match(top, "\n +2 .* video/index\n");
    expect_equal(ctl("export", "-o", "json")->exit_status, 2);
    expect_equal(ctl("export", "--format", "svg")->exit_status, 2);
    free(top);
    leave(&camera);
    free(file);
}

/* Each element that is opened is closed, in the order in which they are opened. */
static void test_ctl_export_is_a_page_that_is_well_formed(void)
{
    struct client camera = enter();
    char *file = strdup(harness_path("page.html"));
    expect_call(file != NULL);
    expect_equal(ctl("export", "-f", "html", file)->exit_status, 0);
    char *said = output_of("/usr/bin/python3 -c '"
                           "import html.parser, json, re, sys\n"
                           "class Page(html.parser.HTMLParser):\n"
                           " stack = []\n"
                           " def handle_starttag(self, tag, attributes):\n"
                           "  assert not {\"src\", \"href\"} & dict(attributes).keys(), tag\n"
                           "  if tag != \"meta\": self.stack.append(tag)\n"
                           " def handle_endtag(self, tag):\n"
                           "  assert self.stack.pop() == tag, tag\n"
                           "text = open(sys.argv[1]).read()\n"
                           "page = Page()\n"
                           "page.feed(text)\n"
                           "page.close()\n"
                           "assert page.stack == [], page.stack\n"
                           "data = re.search(\"application/json.>(.*?)</script>\", text, re.S)\n"
                           "for node in json.loads(data[1])[\"nodes\"]:\n"
                           " print(node[\"reason\"], node[\"bytes\"])' %s",
                           file);
    expect_text(said, "video 1048876\nvideo/capture 1048576\nvideo/index 300\naudio 70000\n");
    free(said);
    leave(&camera);
    free(file);
}

/* Runs kmemctl with a disk that is full. Return: its exit status; *ret_err: what it said. */
static int ctl_on_full_disk(char *const *words, char ret_err[static 512])
{
    char path[512];
    int status = 0;
    (void)snprintf(path, sizeof(path), "%s", harness_path("full.err"));
    (void)fflush(NULL);
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        (void)dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
        (void)dup2(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
        (void)execv(harness_program("kmemctl"), words);
        _exit(99);
    }
    expect_call(waitpid(pid, &status, 0) == pid);
    expect_true(WIFEXITED(status));
    FILE *const file = fopen(path, "re");
    expect_true(file != NULL);
    ret_err[fread(ret_err, 1, 511, file)] = '\0';
    (void)fclose(file);
    return WEXITSTATUS(status);
}

static void test_an_answer_that_can_not_be_written_is_1_and_told(void)
{
    char *const commands[][6] = {
        {"kmemctl", "status", NULL},
        {"kmemctl", "map", "--svg", "-", NULL},
        {"kmemctl", "top", "-b", "-n1", NULL},
    };
    char err[512];
    daemon_start("--size", "16MiB", NULL);

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        expect_equal(ctl_on_full_disk(commands[i], err), 1);
        expect_match(err, "^kmemctl.*: cannot write .*: No space left on device");
    }
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_an_answer_that_can_not_be_written_is_1_and_told, 20),
    SYSTEM_TEST(test_ctl_ledger_of_chosen_blocks_has_the_groups_of_the_daemon, 20),
    SYSTEM_TEST(test_ctl_limits_says_what_is_near_and_which_option_it_is, 20),
    SYSTEM_TEST(test_ctl_status_says_whether_all_is_well_and_what_is_not, 30),
    SYSTEM_TEST(test_ctl_doctor_checks_the_daemon_and_the_machine, 20),
    SYSTEM_TEST(test_ctl_export_is_read_by_a_flame_graph_viewer, 60),
    SYSTEM_TEST(test_ctl_export_is_read_by_pprof, 60),
    SYSTEM_TEST(test_ctl_export_is_a_page_that_is_well_formed, 60),
    SYSTEM_TEST(test_ctl_diff_says_what_has_grown_since_a_snapshot, 20),
    SYSTEM_TEST(test_ctl_diff_knows_that_a_segment_was_made_anew, 20),
    SYSTEM_TEST(test_ctl_refusals_says_who_asked_for_what_and_why_not, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
