/* SPDX-License-Identifier: MIT */
#include "tests/demo/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <kmem/kmem.h>

void worker_tell(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

void worker_pause(int pause_ms)
{
    struct timespec pause = {.tv_sec = pause_ms / 1000,
                             .tv_nsec = (long)(pause_ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

void worker_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *worker_take(size_t num_bytes, const char *reason_format, ...)
{
    char reason[KMEM_REASON_MAX_BYTES + 1];
    va_list arguments;

    va_start(arguments, reason_format);
    vsnprintf(reason, sizeof(reason), reason_format, arguments);
    va_end(arguments);
    void *block = kmem_try_allocate(num_bytes, reason);
    if (!block) {
        worker_fail("%s", kmem_last_error());
    }
    return block;
}

void worker_give(void *block)
{
    if (kmem_try_release(&block) < 0) {
        worker_fail("%s", kmem_last_error());
    }
}

void worker_leave(void)
{
    if (kmem_close() < 0) {
        worker_fail("%s", kmem_last_error());
    }
    worker_tell("bye");
}

void worker_hold(void)
{
    char byte;

    worker_tell("done");
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

/* "/usr/share/doc/bash/copyright" is "bash", "/usr/share/common-licenses/GPL-3" is "GPL-3". */
static void name_of(const char *path, char *name, size_t name_bytes)
{
    static const char common_name[] = "/copyright";
    size_t n_bytes = strlen(path);
    size_t n_tail = sizeof(common_name) - 1;

    if (n_bytes > n_tail && strcmp(path + n_bytes - n_tail, common_name) == 0) {
        n_bytes -= n_tail;
    }
    size_t from = n_bytes;
    while (from > 0 && path[from - 1] != '/') {
        from--;
    }
    snprintf(name, name_bytes, "%.*s", (int)(n_bytes - from), path + from);
}

void text_load(struct text *text, const char *path, const char *what)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (file < 0 || fstat(file, &status) < 0) {
        worker_fail("%s: %s", path, strerror(errno));
    }
    name_of(path, text->name, sizeof(text->name));
    text->n_bytes = (size_t)status.st_size;
    text->bytes = worker_take(text->n_bytes + 1, "demo/%s%s", what, text->name);
    for (size_t n_read = 0; n_read < text->n_bytes;) {
        ssize_t r = read(file, text->bytes + n_read, text->n_bytes - n_read);
        if (r <= 0) {
            worker_fail("%s: %s", path, r < 0 ? strerror(errno) : "shorter than it was");
        }
        n_read += (size_t)r;
    }
    close(file);
}

void text_drop(struct text *text)
{
    worker_give(text->bytes);
    *text = (struct text){0};
}

static char lower_letter(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c >= 'a' && c <= 'z' ? c : '\0';
}

size_t text_next_word(const struct text *text, size_t *at, char *word, size_t word_bytes)
{
    size_t n_letters = 0;

    while (*at < text->n_bytes && !lower_letter(text->bytes[*at])) {
        ++*at;
    }
    for (; *at < text->n_bytes && lower_letter(text->bytes[*at]); ++*at) {
        if (n_letters + 1 < word_bytes) {
            word[n_letters++] = lower_letter(text->bytes[*at]);
        }
    }
    word[n_letters] = '\0';
    return n_letters;
}
