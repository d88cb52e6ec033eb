/* SPDX-License-Identifier: MIT */
#include "client/map/protections.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define READ_AND_WRITE (PROT_READ | PROT_WRITE)

/* 8 KiB: two paths of the greatest length. What follows a longer line is not read. */
#define MAPS_BYTES 8192

static uint64_t smaller(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

static uint64_t larger(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

static void protections_add(struct protections *protections, struct protection added)
{
    struct protection *last = protections->n > 0 ? &protections->all[protections->n - 1] : NULL;
    if (last != NULL && last->end == added.begin && last->allowed == added.allowed) {
        last->end = added.end;
    } else if (protections->n < PROTECTIONS_MAX) {
        protections->all[protections->n++] = added;
    }
}

/* What the guard has closed is closed by it, and not by the program. */
static void add_open(struct protections *protections, const struct segment *segment,
                     struct protection found)
{
    const uint32_t end = (uint32_t)((found.end + PAGE_BYTES - 1) >> PAGE_SHIFT);
    uint32_t page = (uint32_t)(found.begin >> PAGE_SHIFT);
    while ((page = kmem__guard_next_open(segment->guard, page)) < end) {
        const uint64_t offset = kmem__page_offset(page++).bytes;
        protections_add(protections, (struct protection){larger(found.begin, offset),
                                                         smaller(found.end, offset + PAGE_BYTES),
                                                         found.allowed});
    }
}

/* A line of /proc/self/maps: "7f0000000000-7f0000001000 r--s ...". */
static void take_line(struct protections *protections, const struct segment *segment,
                      const char *line)
{
    const uint64_t base = (uintptr_t)segment->base;
    unsigned long begin;
    unsigned long end;
    char flags[5];
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    if (sscanf(line, "%lx-%lx %4s", &begin, &end, flags) != 3 || end <= base ||
        begin >= base + segment->num_bytes) {
        return;
    }
    const struct protection found = {
        .begin = larger(begin, base) - base,
        .end = smaller(end, base + segment->num_bytes) - base,
        .allowed = (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0) |
                   (flags[2] == 'x' ? PROT_EXEC : 0),
    };
    if (found.allowed != READ_AND_WRITE) {
        add_open(protections, segment, found);
    }
}

/* Takes whole lines. Return: how many bytes of the next one are left, at the front. */
static size_t take_lines(struct protections *protections, const struct segment *segment,
                         char *bytes, size_t num_bytes)
{
    char *line = bytes;
    char *line_end;
    while ((line_end = memchr(line, '\n', num_bytes)) != NULL) {
        *line_end = '\0';
        take_line(protections, segment, line);
        num_bytes -= (size_t)(line_end + 1 - line);
        line = line_end + 1;
    }
    memmove(bytes, line, num_bytes);
    return num_bytes;
}

void kmem__protections_read(struct protections *protections, const struct segment *segment)
{
    char bytes[MAPS_BYTES];
    size_t num_bytes = 0;
    ssize_t r;
    const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (maps >= 0 && num_bytes < sizeof(bytes) &&
           (r = read(maps, bytes + num_bytes, sizeof(bytes) - num_bytes)) > 0) {
        num_bytes = take_lines(protections, segment, bytes, num_bytes + (size_t)r);
    }
    if (maps >= 0) {
        (void)close(maps);
    }
}

void kmem__protections_set(const struct protections *protections, unsigned char *base)
{
    for (uint32_t i = 0; i < protections->n; i++) {
        const struct protection *one = &protections->all[i];
        (void)mprotect(base + one->begin, one->end - one->begin, one->allowed);
    }
}

void *kmem__protections_evade(const struct segment *segment)
{
    /* Of a shared mapping 0 bytes are moved as a second mapping; no descriptor is needed. */
    void *second = mremap(segment->base, 0, segment->num_bytes, MREMAP_MAYMOVE);
    if (second == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(second, segment->num_bytes, PROT_READ) < 0) {
        (void)munmap(second, segment->num_bytes);
        return NULL;
    }
    return second;
}
