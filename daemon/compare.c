/* SPDX-License-Identifier: MIT */
#include "daemon/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/text.h"

/* Names, paths and a dozen options; the kernel gives them with a NUL behind each. */
#define COMMAND_LINE_BYTES 8192
#define N_WORDS_MAX 64

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static unsigned differs(const char *option, const char *wanted, const char *running)
{
    if (strcmp(wanted, running) == 0) {
        return 0;
    }
    log_warning("%s is %s now, and the daemon was started with %s: restart it to apply that",
                option, wanted, running);
    return 1;
}

static unsigned bytes_differ(const char *option, uint64_t wanted, uint64_t running)
{
    char wanted_text[TEXT_BYTES_MAX] = "none";
    char running_text[TEXT_BYTES_MAX] = "none";
    if (wanted > 0) {
        (void)text_format_bytes(wanted, wanted_text, sizeof(wanted_text)); /* its buffer */
    }
    if (running > 0) {
        (void)text_format_bytes(running, running_text, sizeof(running_text)); /* likewise */
    }
    return wanted == running ? 0 : differs(option, wanted_text, running_text);
}

static unsigned numbers_differ(const char *option, uint64_t wanted, uint64_t running)
{
    char wanted_text[24];
    char running_text[24];
    (void)snprintf(wanted_text, sizeof(wanted_text), "%llu", (unsigned long long)wanted);
    (void)snprintf(running_text, sizeof(running_text), "%llu", (unsigned long long)running);
    return differs(option, wanted_text, running_text);
}

/* NULL: none. */
static unsigned groups_differ(const char *option, const gid_t *wanted, const gid_t *running)
{
    if (wanted && running) {
        return numbers_differ(option, *wanted, *running);
    }
    return differs(option, wanted ? "one" : "none", running ? "one" : "none");
}

static const char *readers_text(const struct options *options)
{
    return options->no_readers ? "none" : options->walled_readers ? "walled" : "any";
}

unsigned compare_options(const struct options *wanted, const struct options *running)
{
    unsigned n = differs("--name", wanted->name, running->name);
    n += differs("--socket", wanted->socket_path, running->socket_path);
    n += bytes_differ("--size", wanted->segment_bytes, running->segment_bytes);
    n += bytes_differ("--quota", wanted->quota_bytes, running->quota_bytes);
    n += differs("--commit", wanted->lazy ? "lazy" : "eager", running->lazy ? "lazy" : "eager");
    n += groups_differ("--group", wanted->has_group ? &wanted->group : NULL,
                       running->has_group ? &running->group : NULL);
    n += groups_differ("--reader-group", wanted->has_reader_group ? &wanted->reader_group : NULL,
                       running->has_reader_group ? &running->reader_group : NULL);
    n += differs("--readers", readers_text(wanted), readers_text(running));
    n += numbers_differ("--names", wanted->names_limit, running->names_limit);
    n += numbers_differ("--clients-per-uid", wanted->clients_per_uid, running->clients_per_uid);
    n += numbers_differ("--connections-per-uid", wanted->connections_per_uid,
                        running->connections_per_uid);
    n += numbers_differ("--watchdog (in ms)", wanted->watchdog_ms, running->watchdog_ms);
    n += differs("--log-level", level_names[wanted->log_level], level_names[running->log_level]);
    return n;
}

/* Reads a process's command line. Return: how many words it has; 0: it can not be read. */
static int command_line_read(pid_t pid, char *buffer, char **words)
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
    const int n_words = command_line_read(wanted->compare_pid, buffer, words);
    if (n_words == 0) {
        log_error("the command line of process %d can not be read: %s", (int)wanted->compare_pid,
                  strerror(errno));
        return EXIT_SYSTEM;
    }
    options_parse(&running, n_words, words);
    if (compare_options(wanted, &running) == 0) {
        log_info("process %d was started with these options", (int)wanted->compare_pid);
    }
    return 0;
}
