/* SPDX-License-Identifier: MIT */
/*
 * queue.c - a work queue: jobs go through a pipe to two workers, results come back through another
 *
 * What travels is a handle of 40 bytes; the numbers stay where they are. A job is handed over with
 * kmem_transfer(): it belongs to the worker that takes it, and ends with it if that dies. A result
 * outlives the worker that made it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/share.h>

#define N_JOBS 50
#define N_NUMBERS 20000
#define N_WORKERS 2

static void must(int is_done)
{
    if (!is_done) {
        (void)fprintf(stderr, "queue: %s\n", kmem_last_error());
        exit(1);
    }
}

/* Less than PIPE_BUF: whole handles go in, and whole handles come out. */
static void put(int fd, const struct kmem_handle *handle)
{
    must(write(fd, handle, sizeof(*handle)) == (ssize_t)sizeof(*handle));
}

static int take(int fd, struct kmem_handle *ret_handle)
{
    return read(fd, ret_handle, sizeof(*ret_handle)) == (ssize_t)sizeof(*ret_handle);
}

/* Squares each number, in place. */
static void work(int jobs, int results)
{
    struct kmem_handle handle;
    while (take(jobs, &handle)) {
        long *numbers = NULL;
        must(kmem_attach(&handle, KMEM_WRITE, "worker/job", &numbers) == 0);
        for (int i = 0; i < N_NUMBERS; i++) {
            numbers[i] *= numbers[i];
        }
        must(kmem_transfer(&numbers, KMEM_KEEP, &handle) == 0);
        put(results, &handle);
    }
    exit(0);
}

static void put_job(int fd, long first)
{
    struct kmem_handle handle;
    long *numbers = kmem_try_allocate(N_NUMBERS * sizeof(long), "queue/job");
    must(numbers != NULL);
    for (int i = 0; i < N_NUMBERS; i++) {
        numbers[i] = first + i;
    }
    must(kmem_transfer(&numbers, 0, &handle) == 0);
    put(fd, &handle);
}

int main(void)
{
    int jobs[2];
    int results[2];
    must(pipe(jobs) == 0 && pipe(results) == 0);
    for (int i = 0; i < N_WORKERS; i++) {
        if (fork() == 0) {
            (void)close(jobs[1]);
            work(jobs[0], results[1]);
        }
    }
    for (long i = 0; i < N_JOBS; i++) {
        put_job(jobs[1], i);
    }
    (void)close(jobs[1]); /* the workers end when there is no more */
    for (int i = 0; i < N_JOBS; i++) {
        struct kmem_handle handle;
        long *numbers = NULL;
        must(take(results[0], &handle));
        must(kmem_attach(&handle, KMEM_READ, "queue/result", &numbers) == 0);
        const long root = (numbers[1] - numbers[0] - 1) / 2;
        must(numbers[0] == root * root && numbers[5] == (root + 5) * (root + 5));
        kmem_release(&numbers);
    }
    while (wait(NULL) > 0) {
    }
    (void)printf("%d jobs of %d numbers\n", N_JOBS, N_NUMBERS);
    return 0;
}
