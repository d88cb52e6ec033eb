/* SPDX-License-Identifier: MIT */
/*
 * fuzz_elf.c - any file as the program that kmemctl is asked to run
 *
 * The bytes follow the first seven of an ELF file of this machine's class. Whatever they say,
 * nothing beside the file is read, and the answer is one of few.
 */
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/ctl/image.h"
#include "tests/fuzz/fuzz.h"

/* 16 KiB: longer files have nothing that shorter ones have not. */
#define FILE_MAX_BYTES 16384

static const unsigned char begin[] = {
    ELFMAG0,     ELFMAG1,   ELFMAG2, ELFMAG3, sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32,
    ELFDATA2LSB, EV_CURRENT};

static bool is_known(const char *refusal)
{
    static const char *const known[] = {
        "is linked statically",      "is built for another C library", "has privileges",
        "is built with a sanitizer", "has a malloc() of its own",
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncmp(refusal, known[i], strlen(known[i])) == 0) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    char path[64];
    const size_t n_file = n_bytes < FILE_MAX_BYTES ? n_bytes : FILE_MAX_BYTES;
    const int fd = memfd_create("program", MFD_CLOEXEC);
    EXPECT(fd >= 0);
    EXPECT(write(fd, begin, sizeof(begin)) == (ssize_t)sizeof(begin));
    EXPECT(write(fd, bytes, n_file) == (ssize_t)n_file);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits */
    const char *refusal = image_refusal(path);
    EXPECT(refusal == NULL || is_known(refusal));
    EXPECT(close(fd) == 0);
    return 0;
}
