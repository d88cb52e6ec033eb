/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/map/segment.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define SEGMENT_BYTES (UINT64_C(4) << 20)

static struct segment_file given;
static struct failure failure;

/* The next calls of calloc() and mmap() that fail; 0: none. */
static unsigned int calloc_fails_at;
static unsigned int mmap_fails_at;

void *__real_calloc(size_t n_members, size_t member_bytes);
void *__wrap_calloc(size_t n_members, size_t member_bytes);
void *__real_mmap(void *address, size_t n_bytes, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t n_bytes, int access, int flags, int fd, off_t offset);

void *__wrap_calloc(size_t n_members, size_t member_bytes)
{
    if (calloc_fails_at > 0 && --calloc_fails_at == 0) {
        return NULL;
    }
    return __real_calloc(n_members, member_bytes);
}

void *__wrap_mmap(void *address, size_t n_bytes, int access, int flags, int fd, off_t offset)
{
    if (mmap_fails_at > 0 && --mmap_fails_at == 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(address, n_bytes, access, flags, fd, offset);
}

static int make_file(void **state)
{
    given = (struct segment_file){
        .fd = fake_memfd(SEGMENT_BYTES, F_SEAL_SHRINK | F_SEAL_GROW),
        .name = "test",
        .num_bytes = SEGMENT_BYTES,
        .granule_bytes = PAGE_BYTES,
        .instance = 7,
        .is_guarded = false, /* test_guard.c has what it does */
    };
    calloc_fails_at = 0;
    mmap_fails_at = 0;
    return 0;
}

static int drop_file(void **state)
{
    return close(given.fd);
}

static size_t count_mappings(void)
{
    char line[512];
    size_t n_lines = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        n_lines += strstr(line, "fake-segment") != NULL;
    }
    (void)fclose(maps);
    return n_lines;
}

/* Whether the mapping that begins at an address can not be touched. */
static bool is_closed(const unsigned char *base)
{
    char line[512];
    char begin[32];
    bool closed = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    (void)snprintf(begin, sizeof(begin), "%lx-", (unsigned long)(uintptr_t)base);
    while (fgets(line, sizeof(line), maps) != NULL) {
        closed = closed || (strncmp(line, begin, strlen(begin)) == 0 && strstr(line, " ---s "));
    }
    (void)fclose(maps);
    return closed;
}

static void test_segment_new_is_the_file_2_MiB_aligned(void **state)
{
    struct segment *segment = NULL;
    char byte = 0;
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), 0);

    assert_int_equal((uintptr_t)segment->base % (2 << 20), 0);
    assert_int_equal(segment->num_bytes, SEGMENT_BYTES);
    assert_int_equal(segment->instance, 7);
    assert_string_equal(segment->name, "test");
    assert_false(is_closed(segment->base));
    segment->base[SEGMENT_BYTES - 1] = 'x';
    assert_int_equal(pread(given.fd, &byte, 1, SEGMENT_BYTES - 1), 1);
    assert_int_equal(byte, 'x');

    assert_null(kmem__segment_free(segment));
    assert_int_equal(count_mappings(), 0);
}

static void test_segment_new_gives_back_what_aligning_took(void **state)
{
    struct segment *segment = NULL;
    unsigned char is_resident = 0;
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), 0);

    assert_int_equal(mincore(segment->base + SEGMENT_BYTES, 1, &is_resident), -1);

    assert_int_equal(errno, ENOMEM); /* nothing is mapped there */
    (void)kmem__segment_free(segment);
}

static void test_segment_new_is_left_out_of_core_dumps(void **state)
{
    struct segment *segment = NULL;
    char line[512];
    char begin[32];
    int is_ours = 0;
    int is_left_out = 0;
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), 0);
    (void)snprintf(begin, sizeof(begin), "%lx-", (unsigned long)(uintptr_t)segment->base);

    FILE *smaps = fopen("/proc/self/smaps", "re");
    assert_non_null(smaps);
    while (fgets(line, sizeof(line), smaps) != NULL) {
        if (strncmp(line, "VmFlags:", 8) == 0) {
            is_left_out |= is_ours && strstr(line, " dd") != NULL;
            is_ours = 0;
        } else if (strncmp(line, begin, strlen(begin)) == 0) {
            is_ours = 1;
        }
    }
    (void)fclose(smaps);

    assert_true(is_left_out);
    (void)kmem__segment_free(segment);
}

static void test_segment_new_other_size_is_EPROTO(void **state)
{
    struct segment *segment = NULL;
    given.num_bytes = SEGMENT_BYTES + PAGE_BYTES;
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), -EPROTO);
    assert_null(segment);
}

static void test_segment_new_no_file_is_EPROTO(void **state)
{
    struct segment *segment = NULL;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)close(given.fd);
    given.fd = ends[0];
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), -EPROTO);
    (void)close(ends[1]);
}

static void test_segment_new_unsealed_is_EPROTO(void **state)
{
    struct segment *segment = NULL;
    (void)close(given.fd);
    given.fd = fake_memfd(SEGMENT_BYTES, 0);
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), -EPROTO);
    assert_non_null(strstr(failure.sentence, "shrink"));
}

static void test_segment_new_write_sealed_is_EPROTO(void **state)
{
    struct segment *segment = NULL;
    (void)close(given.fd);
    given.fd = fake_memfd(SEGMENT_BYTES, F_SEAL_SHRINK | F_SEAL_WRITE);
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), -EPROTO);
}

static void test_segment_new_without_memory_is_ENOMEM(void **state)
{
    struct segment *segment = NULL;
    calloc_fails_at = 1;
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), -ENOMEM);
    for (unsigned int nth = 1; nth <= 2; nth++) {
        mmap_fails_at = nth;
        assert_int_equal(kmem__segment_new(&given, &segment, &failure), -ENOMEM);
        assert_int_equal(mmap_fails_at, 0);
        assert_string_equal(failure.sentence,
                            "can not map the segment (4.0 MiB): Cannot allocate memory");
    }
    assert_null(segment);
    assert_int_equal(count_mappings(), 0);
}

static void test_segment_new_is_closed_by_the_guard(void **state)
{
    struct segment *segment = NULL;
    given.is_guarded = true;
    assert_int_equal(kmem__segment_new(&given, &segment, &failure), 0);
    assert_true(is_closed(segment->base));
    (void)kmem__segment_free(segment);
}

static void test_segment_new_guarded_without_memory_is_ENOMEM(void **state)
{
    struct segment *segment = NULL;
    unsigned int nth = 1;
    given.is_guarded = true;
    for (calloc_fails_at = nth; kmem__segment_new(&given, &segment, &failure) != 0;
         calloc_fails_at = ++nth) {
        assert_int_equal(failure.error, ENOMEM);
        assert_int_equal(calloc_fails_at, 0);
        assert_int_equal(count_mappings(), 0);
    }
    calloc_fails_at = 0;
    assert_true(nth > 3); /* the description, the guard, and what it remembers */
    (void)kmem__segment_free(segment);
}

static void test_segment_free_of_NULL_is_allowed(void **state)
{
    assert_null(kmem__segment_free(NULL));
}

static void test_segment_offset_and_pointer_are_inverse(void **state)
{
    struct segment segment = {.base = (unsigned char *)0x40000000, .num_bytes = SEGMENT_BYTES};
    static const uint64_t offsets[] = {1, 16384, 16385, SEGMENT_BYTES - 1};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        void *pointer = kmem__segment_pointer(&segment, (struct seg_off){offsets[i]});
        assert_int_equal(kmem__segment_offset(&segment, pointer).bytes, offsets[i]);
    }
}

static void test_segment_offset_outside_is_0(void **state)
{
    const struct segment segment = {.base = (unsigned char *)0x40000000,
                                    .num_bytes = SEGMENT_BYTES};
    static const uintptr_t outside[] = {
        0, 1, 0x3FFFFFFF, 0x40000000, 0x40000000 + SEGMENT_BYTES, UINTPTR_MAX};
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        assert_int_equal(kmem__segment_offset(&segment, (void *)outside[i]).bytes, 0);
    }
    assert_int_equal(kmem__segment_offset(NULL, (void *)0x40000000).bytes, 0);
}

static bool has_room(uint64_t offset, uint64_t num_bytes)
{
    const struct segment segment = {.base = (unsigned char *)0x40000000,
                                    .num_bytes = SEGMENT_BYTES};
    return kmem__segment_has_room_at(&segment, (struct seg_off){offset}, num_bytes);
}

static void test_segment_has_room_at(void **state)
{
    assert_true(has_room(16384, 1));
    assert_true(has_room(16384 + 16, 63));
    assert_true(has_room(16384 + 64, 64));
    assert_true(has_room(16384, SEGMENT_BYTES - 16384));
    assert_true(has_room(SEGMENT_BYTES - 16, 16));
    assert_false(has_room(0, 1));             /* the header */
    assert_false(has_room(16384 - 64, 64));   /* still the header */
    assert_false(has_room(16384 + 8, 1));     /* not aligned */
    assert_false(has_room(16384 + 16, 64));   /* shares a line */
    assert_false(has_room(SEGMENT_BYTES, 1)); /* behind */
    assert_false(has_room(SEGMENT_BYTES - 16, 17));
    assert_false(has_room(16384, SEGMENT_BYTES));
    assert_false(has_room(UINT64_MAX - 15, 16));
    assert_false(has_room(16384, UINT64_MAX));
}

#define SEGMENT_TEST(function) cmocka_unit_test_setup_teardown(function, make_file, drop_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEGMENT_TEST(test_segment_new_is_the_file_2_MiB_aligned),
        SEGMENT_TEST(test_segment_new_gives_back_what_aligning_took),
        SEGMENT_TEST(test_segment_new_is_left_out_of_core_dumps),
        SEGMENT_TEST(test_segment_new_other_size_is_EPROTO),
        SEGMENT_TEST(test_segment_new_no_file_is_EPROTO),
        SEGMENT_TEST(test_segment_new_unsealed_is_EPROTO),
        SEGMENT_TEST(test_segment_new_write_sealed_is_EPROTO),
        SEGMENT_TEST(test_segment_new_without_memory_is_ENOMEM),
        SEGMENT_TEST(test_segment_new_is_closed_by_the_guard),
        SEGMENT_TEST(test_segment_new_guarded_without_memory_is_ENOMEM),
        cmocka_unit_test(test_segment_free_of_NULL_is_allowed),
        cmocka_unit_test(test_segment_offset_and_pointer_are_inverse),
        cmocka_unit_test(test_segment_offset_outside_is_0),
        cmocka_unit_test(test_segment_has_room_at),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
