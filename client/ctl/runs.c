/* SPDX-License-Identifier: MIT */
/*
 * runs.c - an external merge sort, all but the sorting
 *
 * Runs are merged in one pass, however many there are: a run's buffer is its share of what all may
 * take, and not less than a page. So a million rows are some 20 runs of 8 MiB, and a hundred
 * million are read in pieces of 4 KiB, which is slow, and no more memory.
 */
#include "client/ctl/runs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 2 MiB for all: 64 KiB a run for thirty runs, more of which makes no read faster. */
#define BUFFERS_BYTES ((size_t)2 << 20)
#define BUFFER_MAX_BYTES ((size_t)64 << 10)
#define BUFFER_MIN_BYTES ((size_t)4 << 10)
/* 64 KiB: stdio has 4, which is 40,000 system calls for a million rows. */
#define FILE_BUFFER_BYTES ((size_t)64 << 10)

void runs_fini(struct runs *runs)
{
    for (size_t i = 0; i < runs->n_runs; i++) {
        free(runs->runs[i].buffer);
    }
    free(runs->runs);
    free(runs->heap);
    if (runs->file) {
        (void)fclose(runs->file); /* what it holds is not wanted any more */
    }
    free(runs->file_buffer);
    runs->file = NULL;
    runs->file_buffer = NULL;
    runs->runs = NULL;
    runs->heap = NULL;
    runs->n_runs = runs->n_heap = runs->n_written = 0;
}

/* --------------------------------------------------------------------------------- writing ---- */

static const char *directory_of_runs(void)
{
    const char *directory = getenv("TMPDIR");
    return directory && *directory ? directory : "/tmp";
}

static int complain(struct runs *runs, int error)
{
    (void)snprintf(runs->sentence, sizeof(runs->sentence),
                   "--sort: cannot keep the rows in %s: %s; set TMPDIR to a directory with room, "
                   "or have fewer rows sorted: --top, --reason, --pid and the like choose",
                   format_escaped(directory_of_runs()).text, strerror(error));
    return -error;
}

/* A file without a name; where the file system has none, one whose name is removed at once. */
static int open_unnamed(const char *directory)
{
    char path[4096];
    const int fd = open(directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd;
    }
    if ((size_t)snprintf(path, sizeof(path), "%s/kmemctl.XXXXXX", directory) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int named_fd = mkostemp(path, O_CLOEXEC);
    if (named_fd >= 0) {
        (void)unlink(path);
    }
    return named_fd;
}

static int runs_open(struct runs *runs)
{
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that must not grow is an error like another */
    const int fd = open_unnamed(directory_of_runs());
    runs->file = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (!runs->file) {
        const int error = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return complain(runs, error);
    }
    runs->file_buffer = malloc(FILE_BUFFER_BYTES);
    if (runs->file_buffer) { /* else stdio has its own */
        (void)setvbuf(runs->file, runs->file_buffer, _IOFBF, FILE_BUFFER_BYTES);
    }
    return 0;
}

int runs_begin(struct runs *runs)
{
    int r = runs->file ? 0 : runs_open(runs);
    if (r < 0) {
        return r;
    }
    struct run *grown = realloc(runs->runs, (runs->n_runs + 1) * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    runs->runs = grown;
    runs->runs[runs->n_runs++] = (struct run){.from_bytes = runs->n_written};
    return 0;
}

int runs_write(struct runs *runs, const struct record_head *record)
{
    if (fwrite_unlocked(record, (size_t)record->n_bytes, 1, runs->file) != 1) {
        return complain(runs, errno);
    }
    runs->n_written += (size_t)record->n_bytes;
    return 0;
}

int runs_finish(struct runs *runs)
{
    runs->runs[runs->n_runs - 1].to_bytes = runs->n_written;
    return fflush(runs->file) == 0 ? 0 : complain(runs, errno);
}

/* --------------------------------------------------------------------------------- reading ---- */

static int read_on(const struct runs *runs, struct run *run)
{
    const uint64_t left_bytes = run->to_bytes - run->from_bytes;
    const size_t room_bytes = run->buffer_bytes - run->end;
    const size_t n_bytes = left_bytes < room_bytes ? (size_t)left_bytes : room_bytes;
    ssize_t n_read;
    do {
        n_read = pread(fileno(runs->file), run->buffer + run->end, n_bytes, (off_t)run->from_bytes);
    } while (n_read < 0 && errno == EINTR);
    if (n_read <= 0) {
        return n_read < 0 ? -errno : -EIO;
    }
    run->end += (size_t)n_read;
    run->from_bytes += (uint64_t)n_read;
    return 0;
}

/* Has n_bytes of the run in its buffer, from where it is on; it ends or grows for that. */
static int run_fill(const struct runs *runs, struct run *run, size_t n_bytes)
{
    if (run->end - run->at >= n_bytes) {
        return 0;
    }
    memmove(run->buffer, run->buffer + run->at, run->end - run->at);
    run->end -= run->at;
    run->at = 0;
    if (n_bytes > run->buffer_bytes) {
        char *grown = realloc(run->buffer, n_bytes);
        if (!grown) {
            return -ENOMEM;
        }
        run->buffer = grown;
        run->buffer_bytes = n_bytes;
    }
    int r = 0;
    while (r == 0 && run->end < n_bytes) {
        r = read_on(runs, run);
    }
    return r;
}

/* Makes the next record of a run the one that is due. */
static int run_next(struct runs *runs, struct run *run, const struct runs_merge *merge)
{
    struct record_head head = {0};
    run->record = NULL;
    if (run->at == run->end && run->from_bytes == run->to_bytes) {
        return 0;
    }
    int r = run_fill(runs, run, sizeof(head));
    if (r == 0) {
        memcpy(&head, run->buffer + run->at, sizeof(head));
        r = head.n_bytes < sizeof(head) || head.n_bytes > RECORD_MAX_BYTES
                ? -EIO
                : run_fill(runs, run, (size_t)head.n_bytes);
    }
    if (r < 0) {
        return r == -ENOMEM ? r : complain(runs, -r);
    }
    run->record = (struct record_head *)(void *)(run->buffer + run->at);
    run->at += (size_t)head.n_bytes;
    run->key = merge->adopt(run->record, merge->user);
    return 0;
}

/* --------------------------------------------------------------------------------- merging ---- */

/* Rows came in the order of the runs, so equals are in it, too. */
static bool is_before(const struct runs *runs, size_t left, size_t right,
                      const struct runs_merge *merge)
{
    const struct run *a = &runs->runs[left];
    const struct run *b = &runs->runs[right];
    if (a->key != b->key) {
        return a->key < b->key;
    }
    const int order = merge->order(a->record, b->record, merge->user);
    return order != 0 ? order < 0 : left < right;
}

static void heap_sink(struct runs *runs, size_t at, const struct runs_merge *merge)
{
    for (;;) {
        size_t first = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < runs->n_heap; child++) {
            if (is_before(runs, runs->heap[child], runs->heap[first], merge)) {
                first = child;
            }
        }
        if (first == at) {
            return;
        }
        const size_t sunk = runs->heap[at];
        runs->heap[at] = runs->heap[first];
        runs->heap[first] = sunk;
        at = first;
    }
}

static int merge_begin(struct runs *runs, const struct runs_merge *merge)
{
    const size_t share_bytes = BUFFERS_BYTES / runs->n_runs / BUFFER_MIN_BYTES * BUFFER_MIN_BYTES;
    const size_t buffer_bytes = share_bytes < BUFFER_MIN_BYTES   ? BUFFER_MIN_BYTES
                                : share_bytes > BUFFER_MAX_BYTES ? BUFFER_MAX_BYTES
                                                                 : share_bytes;
    int r = 0;
    runs->heap = calloc(runs->n_runs, sizeof(*runs->heap));
    if (!runs->heap) {
        return -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < runs->n_runs; i++) {
        struct run *run = &runs->runs[i];
        run->buffer = malloc(buffer_bytes);
        run->buffer_bytes = buffer_bytes;
        r = run->buffer ? run_next(runs, run, merge) : -ENOMEM;
        if (r == 0 && run->record) {
            runs->heap[runs->n_heap++] = i;
        }
    }
    for (size_t i = runs->n_heap / 2; r == 0 && i > 0; i--) {
        heap_sink(runs, i - 1, merge);
    }
    return r;
}

int runs_merge(struct runs *runs, const struct runs_merge *merge)
{
    int r = merge_begin(runs, merge);
    while (r == 0 && runs->n_heap > 0) {
        struct run *run = &runs->runs[runs->heap[0]];
        r = merge->each(run->record, merge->each_user);
        r = r ? r : run_next(runs, run, merge);
        if (r == 0 && !run->record) {
            runs->heap[0] = runs->heap[--runs->n_heap];
        }
        if (r == 0 && runs->n_heap > 1) {
            heap_sink(runs, 0, merge);
        }
    }
    return r;
}
