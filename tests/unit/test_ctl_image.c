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

#define SANITIZED                                                                                  \
    "is built with a sanitizer, whose malloc() must be the only one; run it without --malloc, or " \
    "build it without -fsanitize"
#define OWN_MALLOC                                                                                 \
    "has a malloc() of its own (a sanitizer's, or an allocator that is linked into it), which "    \
    "the loader takes first; run it without --malloc, or build it without"
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

/* Says of a symbol that the program looks up that it has it. */
static void define(unsigned char *bytes, const char *name)
{
    ElfW(Ehdr) header;
    ElfW(Shdr) section;
    ElfW(Shdr) names;
    ElfW(Sym) symbol;

    memcpy(&header, bytes, sizeof(header));
    unsigned char *const sections = bytes + header.e_shoff;
    for (unsigned i = 0; i < header.e_shnum; i++) {
        memcpy(&section, sections + (size_t)i * header.e_shentsize, sizeof(section));
        if (section.sh_type != SHT_DYNSYM) {
            continue;
        }
        memcpy(&names, sections + (size_t)section.sh_link * header.e_shentsize, sizeof(names));
        for (uint64_t at = 0; at < section.sh_size; at += sizeof(symbol)) {
            memcpy(&symbol, bytes + section.sh_offset + at, sizeof(symbol));
            if (strcmp((char *)bytes + names.sh_offset + symbol.st_name, name) == 0) {
                assert_int_equal(symbol.st_shndx, SHN_UNDEF);
                symbol.st_shndx = 1;
                memcpy(bytes + section.sh_offset + at, &symbol, sizeof(symbol));
                return;
            }
        }
    }
    fail_msg("this program does not look %s up", name);
}

static void test_refusal_of_a_program_with_a_malloc(void **state)
{
    unsigned char *bytes = copy_own();

    define(bytes, "malloc");
    write_copy(bytes);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    assert_string_equal(image_refusal(path), SANITIZED);
#else
    assert_string_equal(image_refusal(path), OWN_MALLOC);
#endif
}

/* A program of its own bytes: a loader's name of n_loader_bytes, and many symbols and sections. */
struct made {
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    char loader[512];
    char names[16];
};

/* 65,000 and 200,000: each symbol with a look at each section would take a minute. */
#define MADE_SECTIONS 65000
#define MADE_SYMBOLS 200000

static void make_program(struct made *made, size_t n_loader_bytes)
{
    *made = (struct made){
        .header = {.e_phnum = 1,
                   .e_phentsize = sizeof(made->segment),
                   .e_phoff = offsetof(struct made, segment),
                   .e_shentsize = sizeof(ElfW(Shdr))},
        .segment = {.p_type = PT_INTERP,
                    .p_offset = offsetof(struct made, loader),
                    .p_filesz = n_loader_bytes},
    };
    memcpy(made->header.e_ident, own, EI_NIDENT);
    memset(made->loader, 'l', n_loader_bytes - 1);
}

/* The names of symbols, of which the first one begins at names + 1, all zero but for that. */
static void write_symbols(struct made *made, const char *names, size_t n_name_bytes)
{
    const size_t sections_at = sizeof(*made) + MADE_SYMBOLS * sizeof(ElfW(Sym));
    const ElfW(Sym) symbol = {.st_shndx = 1, .st_name = 1};
    const ElfW(Shdr) last[] = {{.sh_type = SHT_DYNSYM,
                                .sh_offset = sizeof(*made),
                                .sh_size = MADE_SYMBOLS * sizeof(symbol),
                                .sh_link = MADE_SECTIONS - 1},
                               {.sh_type = SHT_STRTAB,
                                .sh_offset = offsetof(struct made, names),
                                .sh_size = n_name_bytes}};
    made->header.e_shoff = sections_at;
    made->header.e_shnum = MADE_SECTIONS;
    memcpy(made->names, names, n_name_bytes);
    write_file(made, sizeof(*made), 0755);
    const int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &symbol, sizeof(symbol),
                            (off_t)(sections_at - sizeof(symbol))), /* the last one */
                     sizeof(symbol));
    assert_int_equal(pwrite(fd, last, sizeof(last),
                            (off_t)(sections_at + (MADE_SECTIONS - 2) * sizeof(last[0]))),
                     sizeof(last));
    assert_int_equal(close(fd), 0);
}

static void test_refusal_of_a_program_with_many_symbols_looks_at_each_once(void **state)
{
    struct made made;
    make_program(&made, 28);
    write_symbols(&made, "\0malloc", 8);
    assert_string_equal(image_refusal(path), OWN_MALLOC);
    write_symbols(&made, "\0mallocs", 9);
    assert_null(image_refusal(path));
}

static void test_refusal_of_a_name_that_is_cut_off_is_none(void **state)
{
    struct made made;
    make_program(&made, 28);
    for (size_t n_bytes = 1; n_bytes < 8; n_bytes++) {
        write_symbols(&made, "\0malloc", n_bytes);
        assert_null(image_refusal(path));
    }
}

static void test_refusal_of_a_long_loaders_name_is_none(void **state)
{
    struct made made;
    for (size_t n_bytes = 2; n_bytes < sizeof(made.loader); n_bytes++) {
        make_program(&made, n_bytes);
        write_file(&made, sizeof(made), 0755);
        assert_null(image_refusal(path));
    }
    memcpy(made.loader + 200, "musl", 4);
    write_file(&made, sizeof(made), 0755);
    assert_string_equal(image_refusal(path), MUSL);
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
        cmocka_unit_test(test_refusal_of_a_program_with_a_malloc),
        cmocka_unit_test(test_refusal_of_a_program_with_many_symbols_looks_at_each_once),
        cmocka_unit_test(test_refusal_of_a_name_that_is_cut_off_is_none),
        cmocka_unit_test(test_refusal_of_a_long_loaders_name_is_none),
        cmocka_unit_test(test_refusal_of_a_script_is_its_interpreters),
        cmocka_unit_test(test_refusal_of_a_file_that_is_cut_off_reads_nothing_behind_it),
        cmocka_unit_test(test_refusal_of_a_file_of_nonsense_reads_nothing_beside_it),
        cmocka_unit_test(test_find_is_what_execvp_would_find),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
