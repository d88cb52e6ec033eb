/* SPDX-License-Identifier: MIT */
#include "daemon/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/changed.h"
#include "daemon/command_line.h"
#include "daemon/log.h"

/* Names, paths and a dozen options; the kernel gives them with a NUL behind each. */
#define COMMAND_LINE_BYTES 8192
#define N_WORDS_MAX 64

static void compare_say(const struct changed *changed, void *user)
{
    (void)user;
    log_warning("--%s is %s now, and the daemon was started with %s: restart it to apply that",
                changed->key, changed->now, changed->old);
}

unsigned compare_options(const struct options *wanted, const struct options *running)
{
    const bool is_other = strcmp(wanted->name, running->name) != 0;
    if (is_other) {
        compare_say(&(struct changed){"name", running->name, wanted->name, NULL}, NULL);
    }
    return is_other + changed_settings(running, wanted, compare_say, NULL);
}

/* Reads a process's command line. Return: how many words it has; 0: it can not be read. */
static int process_words_read(pid_t pid, char *buffer, char **words)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid); /* fits */
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n_bytes = fd < 0 ? -1 : read(fd, buffer, COMMAND_LINE_BYTES - 1);
    if (fd >= 0) {
        (void)close(fd); /* only read */
    }
    int n_words = 0;
    for (ssize_t at = 0; at < n_bytes && n_words < N_WORDS_MAX; n_words++) {
        buffer[n_bytes] = '\0';
        words[n_words] = buffer + at;
        at += (ssize_t)strlen(buffer + at) + 1;
    }
    words[n_words] = NULL;
    return n_words;
}

int compare_main(const struct options *wanted)
{
    static char buffer[COMMAND_LINE_BYTES];
    char *words[N_WORDS_MAX + 1];
    struct options running;
    struct config config = {.n_files = 0};
    struct complaints complaints = {.say = command_line_complain};
    const int n_words = process_words_read(wanted->compare_pid, buffer, words);
    if (n_words == 0) {
        log_error("the command line of process %d can not be read: %s", (int)wanted->compare_pid,
                  strerror(errno));
        return EXIT_SYSTEM;
    }
    command_line_read_files(&config, n_words, words, &complaints);
    command_line_parse(&running, n_words, words, &config, &complaints);
    config_fini(&config);
    if (compare_options(wanted, &running) == 0) {
        log_info("process %d was started with these options", (int)wanted->compare_pid);
    }
    return 0;
}
