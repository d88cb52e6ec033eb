/* SPDX-License-Identifier: MIT */
/*
 * What the loader does with LD_PRELOAD is decided by the file that is executed:
 *
 *      no PT_INTERP          there is no loader; the program's malloc() is inside it
 *      another class, musl   the loader is another one, and complains of the library or crashes
 *      set-user-ID and kin   the loader ignores the variable
 *      a sanitizer's names   the program has a malloc() that must be the only one
 *
 * Names are looked for in .dynstr, where gcc's libraries of sanitizers and the functions that clang
 * links in both appear. The file may be anything: each offset is compared with its size.
 */
#include "client/ctl/image.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NATIVE_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)

struct image {
    const unsigned char *bytes;
    size_t n_bytes;
    struct stat status;
};

/* -------------------------------------------------------------------------------- finding ---- */

static bool is_executable(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

bool image_find(const char *program, char *path, size_t capacity_bytes)
{
    const char *places = getenv("PATH");
    const char *place = strchr(program, '/') ? NULL : places ? places : "/bin:/usr/bin";
    if (!place) {
        int n_bytes = snprintf(path, capacity_bytes, "%s", program);
        return n_bytes > 0 && (size_t)n_bytes < capacity_bytes && is_executable(path);
    }
    while (place) {
        int n_place = (int)strcspn(place, ":");
        int n_bytes = snprintf(path, capacity_bytes, "%.*s%s%s", n_place, place,
                               n_place > 0 ? "/" : "", program);

        if (n_bytes > 0 && (size_t)n_bytes < capacity_bytes && is_executable(path)) {
            return true;
        }
        place = place[n_place] ? place + n_place + 1 : NULL;
    }
    return false;
}

bool image_find_beside(const char *name, int access_mode, char *path, size_t capacity_bytes)
{
    char self[PATH_MAX];
    ssize_t n_bytes = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n_bytes <= 0) {
        return false;
    }
    self[n_bytes] = '\0';
    *strrchr(self, '/') = '\0';
    int n_path = snprintf(path, capacity_bytes, "%s/%s", self, name);
    return n_path > 0 && (size_t)n_path < capacity_bytes && access(path, access_mode) == 0;
}

/* -------------------------------------------------------------------------------- reading ---- */

static bool image_open(struct image *image, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    void *bytes = MAP_FAILED;

    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &image->status) == 0 && S_ISREG(image->status.st_mode) &&
        image->status.st_size > 0) {
        image->n_bytes = (size_t)image->status.st_size;
        bytes = mmap(NULL, image->n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    (void)close(fd);
    image->bytes = bytes;
    return bytes != MAP_FAILED;
}

static void image_close(const struct image *image)
{
    (void)munmap((void *)(uintptr_t)image->bytes, image->n_bytes);
}

/* Return: n_bytes at an offset of the file; NULL if it does not reach so far. */
static const void *image_at(const struct image *image, uint64_t offset, uint64_t n_bytes)
{
    return offset <= image->n_bytes && n_bytes <= image->n_bytes - offset ? image->bytes + offset
                                                                          : NULL;
}

static bool image_begins(const struct image *image, const char *begin, size_t n_bytes)
{
    return image->n_bytes >= n_bytes && memcmp(image->bytes, begin, n_bytes) == 0;
}

/* Of the tables in the file, the entries are copied: nothing says that they are aligned there. */
static bool image_header(const struct image *image, ElfW(Ehdr) * ret_header)
{
    const void *at = image_at(image, 0, sizeof(*ret_header));
    if (at) {
        memcpy(ret_header, at, sizeof(*ret_header));
    }
    return at != NULL;
}

/* A store of packages names its loader in 80 bytes; of a longer name the rest is not looked at. */
#define LOADER_BYTES 256

/* Return: the loader that the program names, empty if none or nonsense. */
static void image_loader(const struct image *image, char loader[static LOADER_BYTES])
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;

    loader[0] = '\0';
    for (unsigned i = 0; image_header(image, &header) && i < header.e_phnum; i++) {
        const void *at =
            image_at(image, header.e_phoff + (uint64_t)i * header.e_phentsize, sizeof(segment));

        if (!at) {
            return;
        }
        memcpy(&segment, at, sizeof(segment));
        at = segment.p_type == PT_INTERP ? image_at(image, segment.p_offset, segment.p_filesz)
                                         : NULL;
        if (at) {
            const int n_most =
                segment.p_filesz < LOADER_BYTES ? (int)segment.p_filesz : LOADER_BYTES - 1;
            (void)snprintf(loader, LOADER_BYTES, "%.*s", n_most, (const char *)at);
            return;
        }
    }
}

/* What the loader would look up. */
struct names {
    const char *bytes; /* NUL behind each, as far as the file is sound */
    size_t n_bytes;
    uint64_t symbols_at; /* in the file */
    uint64_t n_symbol_bytes;
};

/* Return: whether there are any. */
static bool image_names(const struct image *image, struct names *ret_names)
{
    ElfW(Ehdr) header;
    ElfW(Shdr) section;

    for (unsigned i = 0; image_header(image, &header) && i < header.e_shnum; i++) {
        const uint64_t table = header.e_shoff;
        const void *at = image_at(image, table + (uint64_t)i * header.e_shentsize, sizeof(section));
        if (!at) {
            return false;
        }
        memcpy(&section, at, sizeof(section));
        if (section.sh_type != SHT_DYNSYM) {
            continue;
        }
        ret_names->symbols_at = section.sh_offset;
        ret_names->n_symbol_bytes = section.sh_size;
        at = image_at(image, table + (uint64_t)section.sh_link * header.e_shentsize,
                      sizeof(section));
        if (!at) {
            return false;
        }
        memcpy(&section, at, sizeof(section));
        ret_names->n_bytes = section.sh_size;
        ret_names->bytes = image_at(image, section.sh_offset, section.sh_size);
        return ret_names->bytes != NULL;
    }
    return false;
}

/* ------------------------------------------------------------------------------- refusing ---- */

/* Whether the loader finds a malloc() in the program, which it then prefers to any library's. */
static bool image_has_malloc(const struct image *image, const struct names *names)
{
    static const char wanted[] = "malloc";
    ElfW(Sym) symbol;
    for (uint64_t at = 0; at < names->n_symbol_bytes; at += sizeof(symbol)) {
        const void *copied = image_at(image, names->symbols_at + at, sizeof(symbol));
        if (!copied) {
            return false;
        }
        memcpy(&symbol, copied, sizeof(symbol));
        if (symbol.st_shndx != SHN_UNDEF && symbol.st_name < names->n_bytes &&
            names->n_bytes - symbol.st_name >= sizeof(wanted) &&
            memcmp(names->bytes + symbol.st_name, wanted, sizeof(wanted)) == 0) {
            return true;
        }
    }
    return false;
}

static const char *refuse_sanitizer(const struct image *image)
{
    static const char *const marks[] = {"libasan.so",   "liblsan.so",    "libtsan.so",
                                        "libhwasan.so", "__asan_init",   "__tsan_init",
                                        "__msan_init",  "__hwasan_init", "libclang_rt."};
    struct names names;
    const bool has_names = image_names(image, &names);

    for (size_t i = 0; has_names && i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (memmem(names.bytes, names.n_bytes, marks[i], strlen(marks[i]))) {
            return "is built with a sanitizer, whose malloc() must be the only one; run it without "
                   "--malloc, or build it without -fsanitize";
        }
    }
    return has_names && image_has_malloc(image, &names)
               ? "has a malloc() of its own (a sanitizer's, or an allocator that is linked into "
                 "it), which the loader takes first; run it without --malloc, or build it without"
               : NULL;
}

/* What the kernel tells the loader as AT_SECURE. */
static bool is_privileged(const struct image *image, const char *path)
{
    const struct stat *status = &image->status;
    return ((status->st_mode & S_ISUID) != 0 && status->st_uid != getuid()) ||
           ((status->st_mode & S_ISGID) != 0 && (status->st_mode & S_IXGRP) != 0 &&
            status->st_gid != getgid()) ||
           (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0);
}

static const char *refuse_elf(const struct image *image, const char *path)
{
    char loader[LOADER_BYTES];
    if (image->n_bytes <= EI_CLASS || image->bytes[EI_CLASS] != NATIVE_CLASS) {
        return "is built for another kind of processor than libkmem-malloc.so";
    }
    image_loader(image, loader);
    if (!loader[0]) {
        return "is linked statically, with a malloc() that can not be replaced";
    }
    if (strstr(loader, "musl")) {
        return "is built for another C library than glibc";
    }
    if (is_privileged(image, path)) {
        return "has privileges of its file (set-user-ID, set-group-ID or capabilities), so the "
               "loader ignores LD_PRELOAD";
    }
    return refuse_sanitizer(image);
}

/* The interpreter of a script: "#! /bin/sh -e" names /bin/sh. */
static bool script_interpreter(const struct image *image, char *path, size_t capacity_bytes)
{
    char line[PATH_MAX + 1];
    size_t n_bytes = image->n_bytes - 2 < PATH_MAX ? image->n_bytes - 2 : PATH_MAX;
    memcpy(line, image->bytes + 2, n_bytes);
    line[n_bytes] = '\0';
    const char *begin = line + strspn(line, " \t");
    int n_path = (int)strcspn(begin, " \t\r\n");
    return n_path > 0 && snprintf(path, capacity_bytes, "%.*s", n_path, begin) > 0;
}

const char *image_refusal(const char *path)
{
    char interpreter[PATH_MAX];
    struct image image;
    const char *refusal = NULL;
    bool is_script = false;
    if (!image_open(&image, path)) {
        return NULL;
    }
    is_script = image_begins(&image, "#!", 2) &&
                script_interpreter(&image, interpreter, sizeof(interpreter));
    if (image_begins(&image, ELFMAG, SELFMAG)) {
        refusal = refuse_elf(&image, path);
    }
    image_close(&image);
    if (is_script && image_open(&image, interpreter)) {
        if (image_begins(&image, ELFMAG, SELFMAG)) {
            refusal = refuse_elf(&image, interpreter);
        }
        image_close(&image);
    }
    return refusal;
}
