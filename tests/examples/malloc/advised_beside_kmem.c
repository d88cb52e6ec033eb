/* SPDX-License-Identifier: MIT */
/*
 * madvise(MADV_DONTNEED) where the segment shows: what is shared, what lies between blocks, what is
 * another process's, what is behind the segment, and when nobody can be asked. Run by `kmemctl run
 * --malloc --size 16MiB`. Exit status: 0 if every fact holds.
 *
 * Each is a child's: all that it has in the segment is what is allocated here.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/share.h>

#define CHECK(fact)                                                                                \
    ((fact) ? (void)0                                                                              \
            : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), _exit(1)))

#define PAGE ((size_t)4096)
#define ALL (64 * PAGE)

static bool is_all(const unsigned char *block, unsigned char byte)
{
    for (size_t i = 0; i < ALL; i++) {
        if (block[i] != byte) {
            return false;
        }
    }
    return true;
}

static unsigned char *new_block(void)
{
    void *block = NULL;
    CHECK(posix_memalign(&block, PAGE, ALL) == 0 && kmem_offset_of(block) != 0);
    memset(block, 7, ALL);
    return block;
}

static bool fails_with(int error, void *from, size_t num_bytes)
{
    errno = 0;
    return madvise(from, num_bytes, MADV_DONTNEED) == -1 && errno == error;
}

/* The others that have it would lose it. */
static void advise_what_is_shared(void)
{
    struct kmem_handle handle;
    unsigned char *shared = kmem_try_allocate_with(ALL, KMEM_SHAREABLE, "shared");
    CHECK(shared != NULL && (uintptr_t)shared % PAGE == 0);
    CHECK(kmem_share(shared, 0, &handle) == 0);
    memset(shared, 7, ALL);
    CHECK(fails_with(EAGAIN, shared, ALL));
    CHECK(is_all(shared, 7));
}

static void advise_when_nobody_can_be_asked(void)
{
    const struct rlimit none = {0, 0};
    unsigned char *block = new_block();
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(fails_with(EAGAIN, block, ALL));
    CHECK(is_all(block, 7));
}

/* What was a block is behind it, where the question to the daemon lay; and what none was yet. */
static void advise_beyond_blocks(void)
{
    unsigned char *block = new_block();
    unsigned char *behind = new_block();
    if (behind > block) {
        free(behind);
        CHECK(madvise(block, (size_t)(behind - block) + ALL, MADV_DONTNEED) == 0);
        CHECK(is_all(block, 0));
        memset(block, 7, ALL);
    }
    CHECK(madvise(block, (size_t)16 << 20, MADV_DONTNEED) == 0); /* to the segment's end, or on */
    CHECK(is_all(block, 0));
}

/* A process's own, until it is told that its parent has advised. */
__attribute__((noreturn)) static void hold(int offset_end, int done_end)
{
    char done;
    const unsigned char *block = new_block();
    const uint64_t offset = kmem_offset_of(block);
    CHECK(write(offset_end, &offset, sizeof(offset)) == sizeof(offset));
    CHECK(read(done_end, &done, 1) == 1);
    CHECK(is_all(block, 7));
    _exit(0);
}

static void advise_across_anothers(void)
{
    int offset_pipe[2];
    int done_pipe[2];
    uint64_t offset;
    int status = -1;
    unsigned char *block = new_block();
    CHECK(pipe(offset_pipe) == 0 && pipe(done_pipe) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        hold(offset_pipe[1], done_pipe[0]);
    }
    CHECK(read(offset_pipe[0], &offset, sizeof(offset)) == sizeof(offset));
    const uint64_t own = kmem_offset_of(block);
    if (offset > own) {
        CHECK(madvise(block, offset - own + ALL, MADV_DONTNEED) == 0);
        CHECK(is_all(block, 0));
    }
    CHECK(write(done_pipe[1], "", 1) == 1);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void)
{
    void (*const all[])(void) = {advise_what_is_shared, advise_when_nobody_can_be_asked,
                                 advise_beyond_blocks, advise_across_anothers};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        int status = -1;
        const pid_t pid = fork();
        if (pid == 0) {
            all[i]();
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return 0;
}
