/* SPDX-License-Identifier: MIT */
/*
 * test_huge_pages.c - how much of the segment becomes 2 MiB pages, and what is said of the rest
 *
 * What the kernel answers is prescribed: whether it can collapse pages differs from one to the
 * next. One test leaves the answer to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/server/huge_pages.h"
#include "daemon/log.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define HUGE_BYTES (UINT64_C(2) << 20)
#define N_HUGE 4

FAIL_WRAP(void *, mmap,
          (void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset),
          (address, n_bytes, protection, flags, fd, offset), MAP_FAILED)

static struct huge_pages huge_pages;
static int fd;

/* The kernel's part. Written before the work begins and read after it has ended. */
static struct {
    bool real;
    int error;         /* what each call fails with, 0: none does */
    unsigned from;     /* calls before this one, counted from 1, succeed */
    unsigned n_errors; /* so many fail, then it succeeds again */
    unsigned n_calls;
} kernel;

int __real_madvise(void *address, size_t n_bytes, int advice);
int __wrap_madvise(void *address, size_t n_bytes, int advice);
int __wrap_madvise(void *address, size_t n_bytes, int advice)
{
    if (kernel.real) {
        return __real_madvise(address, n_bytes, advice);
    }
    kernel.n_calls++;
    if ((uintptr_t)address % HUGE_BYTES != 0 || n_bytes != HUGE_BYTES) {
        errno = EFAULT;
        return -1;
    }
    if (kernel.error != 0 && kernel.n_calls >= kernel.from && kernel.n_errors > 0) {
        kernel.n_errors--;
        errno = kernel.error;
        return -1;
    }
    return 0;
}

static int huge_pages_setup(void **state)
{
    memset(&kernel, 0, sizeof(kernel));
    log_set_level(LOG_LEVEL_INFO);
    fd = memfd_create("segment", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, N_HUGE * HUGE_BYTES + 4096), 0);
    return 0;
}

static int huge_pages_teardown(void **state)
{
    assert_int_equal(close(fd), 0);
    return 0;
}

/* Return: what was logged. */
static const char *collapse(uint64_t n_bytes)
{
    huge_pages_init(&huge_pages, fd, 0, n_bytes);
    while (huge_pages_step(&huge_pages)) {
        assert_true(huge_pages.n_huge < N_HUGE);
    }
    assert_false(huge_pages_step(&huge_pages)); /* that was all */
    capture_begin();
    huge_pages_log(n_bytes, huge_pages.n_huge, huge_pages.error);
    return capture_end();
}

static void assert_says(const char *text, const char *words)
{
    if (!strstr(text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", text, words);
    }
}

static void test_huge_pages_makes_all_of_it_huge(void **state)
{
    assert_says(collapse(N_HUGE * HUGE_BYTES), "8.0 MiB of 8.0 MiB are made of 2 MiB pages\n");

    assert_int_equal(huge_pages.n_huge, N_HUGE);
    assert_int_equal(huge_pages.error, 0);
    assert_int_equal(kernel.n_calls, N_HUGE);
}

static void test_huge_pages_leaves_what_is_no_whole_huge_page(void **state)
{
    (void)collapse(2 * HUGE_BYTES + 4096);

    assert_int_equal(huge_pages.n_huge, 2);
    assert_int_equal(kernel.n_calls, 2);
}

static void test_huge_pages_tries_again_when_somebody_was_in_the_way(void **state)
{
    kernel.error = EAGAIN;
    kernel.from = 2;
    kernel.n_errors = 7;

    assert_says(collapse(N_HUGE * HUGE_BYTES), "8.0 MiB of 8.0 MiB");

    assert_int_equal(kernel.n_calls, N_HUGE + 7);
}

static void test_huge_pages_gives_up_when_somebody_is_always_in_the_way(void **state)
{
    kernel.error = EAGAIN;
    kernel.from = 2;
    kernel.n_errors = UINT32_MAX;

    assert_says(collapse(N_HUGE * HUGE_BYTES), "2.0 MiB of 8.0 MiB are made of 2 MiB pages, the "
                                               "rest of 4 KiB: Resource temporarily unavailable\n");

    assert_int_equal(huge_pages.n_huge, 1);
    assert_in_range(kernel.n_calls, 5, 50);
}

static void test_huge_pages_says_that_the_kernel_can_not(void **state)
{
    kernel.error = EINVAL;
    kernel.from = 1;
    kernel.n_errors = UINT32_MAX;

    assert_says(collapse(N_HUGE * HUGE_BYTES), "0 B of 8.0 MiB are made of 2 MiB pages, the rest "
                                               "of 4 KiB: this kernel can not collapse more\n");

    assert_int_equal(kernel.n_calls, 1);
}

/* A mapping of the whole would count as this process's memory. */
static void test_huge_pages_keeps_nothing_mapped(void **state)
{
    char line[256];
    unsigned n_mapped = 0;

    huge_pages_init(&huge_pages, fd, 0, N_HUGE * HUGE_BYTES);
    assert_true(huge_pages_step(&huge_pages));

    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        n_mapped += strstr(line, "memfd:segment") != NULL;
    }
    (void)fclose(maps);
    assert_int_equal(n_mapped, 0);
}

static void test_huge_pages_map_of_a_part_lies_as_it_does_in_its_huge_page(void **state)
{
    const struct {
        uint64_t at;
        uint64_t n_bytes;
    } parts[] = {{0, 4096},
                 {4096, HUGE_BYTES - 4096},
                 {HUGE_BYTES - 4096, 8192},
                 {HUGE_BYTES, 2 * HUGE_BYTES}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct huge_pages_window window;
        const unsigned char byte = (unsigned char)(i + 1);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)parts[i].at), 1);
        assert_int_equal(huge_pages_map(fd, parts[i].at, parts[i].n_bytes, &window), 0);
        assert_int_equal((uintptr_t)window.bytes % HUGE_BYTES, parts[i].at % HUGE_BYTES);
        assert_int_equal(window.bytes[0], byte);
        window.bytes[parts[i].n_bytes - 1] = byte; /* it is mapped as far as that */
        huge_pages_unmap(&window);
    }
}

static void test_huge_pages_without_address_space_says_so(void **state)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        fail_nth("mmap", nth, ENOMEM);
        assert_says(collapse(N_HUGE * HUGE_BYTES),
                    "0 B of 8.0 MiB are made of 2 MiB pages, the rest of 4 KiB: Cannot allocate "
                    "memory\n");
        assert_true(fail_end());
        assert_int_equal(kernel.n_calls, 0);
    }
}

/* Whatever this kernel can: the bytes stay, and the log says what became of them. */
static void test_huge_pages_leaves_the_bytes_as_they_were(void **state)
{
    unsigned char byte;
    kernel.real = true;
    assert_int_equal(posix_fallocate(fd, 0, N_HUGE * HUGE_BYTES), 0);
    for (off_t at = 0; at < (off_t)(N_HUGE * HUGE_BYTES); at += 4096) {
        byte = (unsigned char)(at / 4096 % 251);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }

    const char *text = collapse(N_HUGE * HUGE_BYTES);

    assert_says(text, "of 8.0 MiB are made of 2 MiB pages");
    assert_true((huge_pages.n_huge == N_HUGE) == (huge_pages.error == 0));
    print_message("%s", text);
    for (off_t at = 0; at < (off_t)(N_HUGE * HUGE_BYTES); at += 4096) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        assert_int_equal(byte, at / 4096 % 251);
    }
}

#define HUGE_PAGES_TEST(test)                                                                      \
    cmocka_unit_test_setup_teardown(test, huge_pages_setup, huge_pages_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUGE_PAGES_TEST(test_huge_pages_makes_all_of_it_huge),
        HUGE_PAGES_TEST(test_huge_pages_leaves_what_is_no_whole_huge_page),
        HUGE_PAGES_TEST(test_huge_pages_tries_again_when_somebody_was_in_the_way),
        HUGE_PAGES_TEST(test_huge_pages_gives_up_when_somebody_is_always_in_the_way),
        HUGE_PAGES_TEST(test_huge_pages_says_that_the_kernel_can_not),
        HUGE_PAGES_TEST(test_huge_pages_keeps_nothing_mapped),
        HUGE_PAGES_TEST(test_huge_pages_map_of_a_part_lies_as_it_does_in_its_huge_page),
        HUGE_PAGES_TEST(test_huge_pages_without_address_space_says_so),
        HUGE_PAGES_TEST(test_huge_pages_leaves_the_bytes_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
