/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_shared.c - what kmemctl says of blocks that real processes share, name and hand over,
 * while they live and when they have ended
 */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

#define FRAME_BYTES (1 << 20)
#define LINE_BYTES 512

#define expect_prints(end, pattern) expect_match((end)->out, pattern)

static bool camera_has_an_obituary(void)
{
    return harness_matches(ctl("obituaries")->out, " camera +died ");
}

/* Says the text of a handle, eight bytes at a time. */
static void say_text(const char *text)
{
    for (size_t at = 0; at < KMEM_HANDLE_TEXT_BYTES; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, text + at, sizeof(word));
        client_say(word);
    }
}

static void hear_text(const struct client *client, char *text)
{
    for (size_t at = 0; at < KMEM_HANDLE_TEXT_BYTES; at += sizeof(uint64_t)) {
        const uint64_t word = client_hear(client);
        memcpy(text + at, &word, sizeof(word));
    }
}

/* Owns one block, and lets names mean it; gives another one to a name that is kept. */
static void be_camera(const void *argument)
{
    char text[KMEM_HANDLE_TEXT_BYTES] = "";
    struct kmem_handle handle;
    (void)argument;
    (void)prctl(PR_SET_NAME, "camera");
    void *const frame = allocate(FRAME_BYTES, "camera/frame");
    void *const poster = allocate(FRAME_BYTES / 2, "camera/poster");
    expect_equal(kmem_publish(frame, "camera0/latest", 0, NULL), 0);
    expect_equal(kmem_publish(poster, "poster", KMEM_GIVE | KMEM_KEEP, NULL), 0);
    expect_equal(kmem_share(frame, 0, &handle), 0);
    expect_equal(kmem_handle_to_text(&handle, text, sizeof(text)), 0);
    say_handle(&handle);
    say_text(text);
    (void)client_await();
}

static void be_detector(const void *argument)
{
    void *frame = NULL;
    (void)argument;
    (void)prctl(PR_SET_NAME, "detector");
    expect_equal(kmem_find("camera0/latest", KMEM_WRITE, "detect/frame", &frame, NULL), 0);
    client_say(1);
    (void)client_await();
    expect_equal(kmem_try_release(&frame), 0);
    client_say(2);
    (void)client_await();
}

/* By whatever it is meant, these are the holders of the camera's frame. */
static void expect_frame(const char *by, const struct client *camera, const struct client *detector)
{
    const struct ctl_end *const end = ctl("holders", by);
    char line[LINE_BYTES];
    expect_equal(end->exit_status, 0);
    (void)snprintf(
        line, sizeof(line),
        "^ *0x[0-9a-f]+ +1\\.0 MiB +owner +write +[0-9.]+ m?s +%d +[0-9]+ +[^ ]+ +camera +"
        "camera/frame +camera/frame$",
        (int)camera->pid);
    expect_prints(end, line);
    (void)snprintf(line, sizeof(line), "^ +name +%d +[0-9]+ +[^ ]+ +camera +camera0/latest$",
                   (int)camera->pid);
    expect_prints(end, line);
    (void)snprintf(line, sizeof(line),
                   "^ +attached +write +[0-9.]+ m?s +%d +[0-9]+ +[^ ]+ +detector +detect/frame$",
                   (int)detector->pid);
    expect_prints(end, line);
    expect_true(strstr(end->out, "poster") == NULL);
}

static void expect_nothing_of(const char *what)
{
    const struct ctl_end *const end = ctl("holders", what);
    expect_equal(end->exit_status, 1);
    expect_text(end->out, "no shared block of that name or place\n");
}

static void test_names_and_holders_are_told_while_all_live_and_when_they_have_ended(void)
{
    daemon_start(NULL, NULL);
    struct client camera = client_start(be_camera, NULL);
    const struct kmem_handle handle = hear_handle(&camera);
    char text[KMEM_HANDLE_TEXT_BYTES];
    char offset[32];
    hear_text(&camera, text);
    struct client detector = client_start(be_detector, NULL);
    (void)client_hear(&detector);

    expect_prints(ctl("names"),
                  "^camera0/latest +1 +0x[0-9a-f]+ +1\\.0 MiB +2 +no .* camera/frame$");
    expect_prints(ctl("names"), "^poster +2 +0x[0-9a-f]+ +512\\.0 KiB +0 +yes .* camera/poster$");
    expect_frame("camera0/latest", &camera, &detector);
    expect_frame(text, &camera, &detector);
    (void)snprintf(offset, sizeof(offset), "%#lx", (unsigned long)handle.offset);
    expect_frame(offset, &camera, &detector);
    (void)snprintf(offset, sizeof(offset), "%lu", (unsigned long)handle.offset);
    expect_frame(offset, &camera, &detector);
    expect_prints(ctl("blocks", "--shared"), "^ +2 +1 .* camera +camera/frame$");
    expect_prints(ctl("blocks", "--shared"), "^ +0 +1 .* camera/poster$");
    expect_equal(ctl("reconcile")->exit_status, 0);

    client_kill(&camera);
    expect_soon(camera_has_an_obituary(), 10000);
    expect_prints(ctl("obituaries"), " died .* 0 B +0$");
    expect_prints(ctl("obituaries"),
                  "^ +1\\.5 MiB lives on, 1\\.0 MiB of it with process [0-9]+ \\(detector\\)$");
    expect_nothing_of("camera0/latest");
    expect_prints(ctl("holders", text), "^ *0x[0-9a-f]+ +1\\.0 MiB +attached .* camera/frame$");
    expect_prints(ctl("holders", "poster"), " name +- +[0-9]+ +[^ ]+ +poster +camera/poster$");
    expect_equal(ctl("reconcile")->exit_status, 0);

    client_tell(&detector, 0);
    (void)client_hear(&detector);
    expect_nothing_of(text);
    client_tell(&detector, 0);
    client_end(&detector);
    expect_equal(ctl("reconcile")->exit_status, 0);
    daemon_stop();
}

static void test_an_argument_that_can_not_be_meant_is_a_misuse(void)
{
    daemon_start(NULL, NULL);
    expect_nothing_of("nothing of that name");
    expect_nothing_of("0x4000");
    const struct ctl_end *end = ctl("holders", "kmem://host/segment/0x4000");
    expect_equal(end->exit_status, 2);
    expect_true(strstr(end->err, "a handle is kmem://HOST/SEGMENT/") != NULL);
    end = ctl("holders", "a", "b");
    expect_equal(end->exit_status, 2);
    expect_true(strstr(end->err, "takes one [NAME|HANDLE|OFFSET]") != NULL);
    end = ctl("holders", "");
    expect_equal(end->exit_status, 2);
    end = ctl("names", "a");
    expect_equal(end->exit_status, 2);
    expect_true(strstr(end->err, "takes options only") != NULL);
    expect_text(ctl("holders")->out, "no shared blocks\n");
    expect_text(ctl("names")->out, "no names\n");
    expect_text(ctl("blocks", "--shared")->out, "no shared blocks\n");
    daemon_stop();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_names_and_holders_are_told_while_all_live_and_when_they_have_ended, 30),
        SYSTEM_TEST(test_an_argument_that_can_not_be_meant_is_a_misuse, 20),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
