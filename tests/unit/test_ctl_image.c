/* SPDX-License-Identifier: MIT */
/*
 * What an executable file says of itself. The files are this test's own program, and what becomes
 * of it by cutting it off and changing its bytes.
 */
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl/image.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

static char directory[] = "/tmp/kmem-test-XXXXXX";
static char path[PATH_MAX];
static unsigned char *own; /* this program's bytes */
static size_t n_own;

/* Who asks, and what the file system says of capabilities. */
static uid_t uid;
static gid_t gid;
static bool has_capabilities;

uid_t __wrap_getuid(void);
uid_t __wrap_getuid(void)
{
    return uid;
}

gid_t __wrap_getgid(void);
gid_t __wrap_getgid(void)
{
    return gid;
}

ssize_t __wrap_getxattr(const char *file, const char *name, void *value, size_t n_bytes);
ssize_t __wrap_getxattr(const char *file, const char *name, void *value, size_t n_bytes)
{
    (void)file;
    (void)value;
    (void)n_bytes;
    assert_string_equal(name, "security.capability");
    return has_capabilities ? 20 : -1;
}

static int begin(void **state)
{
    FILE *file = fopen("/proc/self/exe", "r");
    struct stat status;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    n_own = (size_t)status.st_size;
    own = malloc(n_own);
    assert_non_null(own);
    assert_int_equal(fread(own, 1, n_own, file), n_own);
    assert_int_equal(fclose(file), 0);
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/program", directory);
    return 0;
}

static int end(void **state)
{
    free(own);
    (void)unlink(path);
    return rmdir(directory);
}

static void write_file(const void *bytes, size_t n_bytes, mode_t mode)
{
    FILE *file = fopen(path, "w");
    struct stat status;

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    assert_int_equal(stat(path, &status), 0);
    uid = status.st_uid;
    gid = status.st_gid;
    has_capabilities = false;
}

static unsigned char *copy_own(void)
{
    unsigned char *bytes = malloc(n_own);

    assert_non_null(bytes);
    memcpy(bytes, own, n_own);
    return bytes;
}

static void write_copy(unsigned char *bytes)
{
    write_file(bytes, n_own, 0755);
    free(bytes);
}

/* Changes the entry that names the loader, and the name. */
static void rename_loader(unsigned char *bytes, uint32_t type, const char *name)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;

    memcpy(&header, bytes, sizeof(header));
    for (unsigned i = 0; i < header.e_phnum; i++) {
        unsigned char *at = bytes + header.e_phoff + (size_t)i * header.e_phentsize;

        memcpy(&segment, at, sizeof(segment));
        if (segment.p_type == PT_INTERP) {
            memcpy(bytes + segment.p_offset, name, strlen(name));
            segment.p_type = type;
            memcpy(at, &segment, sizeof(segment));
            return;
        }
    }
    fail_msg("this program has no loader");
}

#define SANITIZED "is built with a sanitizer, whose malloc() must be the only one"
#define STATIC "is linked statically, with a malloc() that can not be replaced"
#define FOREIGN "is built for another kind of processor than libkmem-malloc.so"
#define MUSL "is built for another C library than glibc"
#define PRIVILEGED                                                                                 \
    "has privileges of its file (set-user-ID, set-group-ID or capabilities), so the loader "       \
    "ignores LD_PRELOAD"

/* What this program, as it is, is refused for. */
static void assert_own_refusal(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    assert_string_equal(image_refusal(path), SANITIZED);
#else
    assert_null(image_refusal(path));
#endif
}

/* ------------------------------------------------------------------------------- refusing ---- */

static void test_refusal_of_an_ordinary_program_is_none(void **state)
{
    write_file(own, n_own, 0755);
    assert_own_refusal();
    write_file("echo hello\n", 11, 0755);
    assert_null(image_refusal(path));
    write_file("", 0, 0755);
    assert_null(image_refusal(path));
    assert_null(image_refusal("/nonexistent"));
    assert_null(image_refusal(directory));
}

static void test_refusal_of_a_program_without_a_loader(void **state)
{
    unsigned char *bytes = copy_own();

    rename_loader(bytes, PT_NULL, "");
    write_copy(bytes);
    assert_string_equal(image_refusal(path), STATIC);
}

static void test_refusal_of_another_c_library_or_processor(void **state)
{
    unsigned char *bytes = copy_own();

    rename_loader(bytes, PT_INTERP, "/lib/ld-musl");
    write_copy(bytes);
    assert_string_equal(image_refusal(path), MUSL);
    bytes = copy_own();
    bytes[EI_CLASS] ^= ELFCLASS32 ^ ELFCLASS64;
    write_copy(bytes);
    assert_string_equal(image_refusal(path), FOREIGN);
}

static void test_refusal_of_a_program_with_privileges(void **state)
{
    write_file(own, n_own, 04755);
    assert_own_refusal(); /* to its owner it gives none */
    uid++;
    assert_string_equal(image_refusal(path), PRIVILEGED);
    write_file(own, n_own, 02755);
    assert_own_refusal();
    gid++;
    assert_string_equal(image_refusal(path), PRIVILEGED);
    write_file(own, n_own, 0755);
    has_capabilities = true;
    uid = 1000;
    assert_string_equal(image_refusal(path), PRIVILEGED);
    uid = 0;
    assert_own_refusal();
}

static void test_refusal_of_a_program_with_a_sanitizer(void **state)
{
    const char *const mine = "libcmocka.so";
    unsigned char *bytes = copy_own();
    unsigned char *at = memmem(bytes, n_own, mine, strlen(mine));

    assert_non_null(at);
    memcpy(at, "libasan.so.8", strlen(mine));
    write_copy(bytes);
    assert_string_equal(image_refusal(path), SANITIZED);
}

static void test_refusal_of_a_script_is_its_interpreters(void **state)
{
    char other[PATH_MAX + 8];
    char line[PATH_MAX + 32];
    unsigned char *bytes = copy_own();

    rename_loader(bytes, PT_NULL, "");
    write_copy(bytes);
    (void)snprintf(other, sizeof(other), "%s.static", path);
    assert_int_equal(rename(path, other), 0);
    const int n_bytes = snprintf(line, sizeof(line), "#! %s -e\n", other);
    write_file(line, (size_t)n_bytes, 0755);
    assert_string_equal(image_refusal(path), STATIC);
    assert_int_equal(unlink(other), 0);
    assert_null(image_refusal(path));
    write_file("#!", 2, 0755);
    assert_null(image_refusal(path));
}

/* ------------------------------------------------------------------------- what is no file ---- */

static void test_refusal_of_a_file_that_is_cut_off_reads_nothing_behind_it(void **state)
{
    for (size_t n_bytes = 1; n_bytes < n_own; n_bytes += n_bytes < 2000 ? 1 : n_own / 50) {
        write_file(own, n_bytes, 0755);
        (void)image_refusal(path);
    }
    write_file(own, 4, 0755);
    assert_string_equal(image_refusal(path), FOREIGN);
    write_file(own, sizeof(ElfW(Ehdr)), 0755);
    assert_string_equal(image_refusal(path), STATIC);
}

static void test_refusal_of_a_file_of_nonsense_reads_nothing_beside_it(void **state)
{
    struct seeded seeded = {20240917};
    unsigned char *bytes = copy_own();
    ElfW(Ehdr) header;

    print_message("seed %" PRIu64 "\n", seeded.state);
    memcpy(&header, bytes, sizeof(header));
    for (unsigned i = 0; i < 500; i++) {
        memcpy(bytes, own, n_own);
        for (unsigned n = 0; n < 4; n++) {
            bytes[EI_NIDENT + seeded_below(&seeded, 1000)] = (unsigned char)seeded_next(&seeded);
            bytes[header.e_shoff + seeded_below(&seeded, 1000)] =
                (unsigned char)seeded_next(&seeded);
        }
        write_file(bytes, n_own, 0755);
        (void)image_refusal(path);
    }
    write_copy(bytes);
    assert_int_equal(access(path, X_OK), 0);
}

/* -------------------------------------------------------------------------------- finding ---- */

static void test_find_is_what_execvp_would_find(void **state)
{
    char found[PATH_MAX];
    char places[2 * PATH_MAX];

    write_file(own, n_own, 0755);
    (void)snprintf(places, sizeof(places), "/nonexistent::%s", directory);
    assert_int_equal(setenv("PATH", places, 1), 0);
    assert_true(image_find("program", found, sizeof(found)));
    assert_string_equal(found, path);
    assert_true(image_find(path, found, sizeof(found)));
    assert_string_equal(found, path);
    assert_false(image_find("no such program", found, sizeof(found)));
    assert_false(image_find(directory, found, sizeof(found)));
    assert_false(image_find(path, found, 4));
    assert_int_equal(unsetenv("PATH"), 0);
    assert_true(image_find("sh", found, sizeof(found)));
    assert_false(image_find("program", found, sizeof(found)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusal_of_an_ordinary_program_is_none),
        cmocka_unit_test(test_refusal_of_a_program_without_a_loader),
        cmocka_unit_test(test_refusal_of_another_c_library_or_processor),
        cmocka_unit_test(test_refusal_of_a_program_with_privileges),
        cmocka_unit_test(test_refusal_of_a_program_with_a_sanitizer),
        cmocka_unit_test(test_refusal_of_a_script_is_its_interpreters),
        cmocka_unit_test(test_refusal_of_a_file_that_is_cut_off_reads_nothing_behind_it),
        cmocka_unit_test(test_refusal_of_a_file_of_nonsense_reads_nothing_beside_it),
        cmocka_unit_test(test_find_is_what_execvp_would_find),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
