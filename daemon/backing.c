/* SPDX-License-Identifier: MIT */
#include "daemon/backing.h"

#include <errno.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/memfd.h"
#include "proto/text.h"

/* 1,024: as many nodes as Linux can be built for. */
#define NODES_MAX 1024
#define BITS_PER_WORD (8 * sizeof(unsigned long))

struct nodes {
    unsigned long mask[NODES_MAX / BITS_PER_WORD];
    char text[128]; /* "0-1": what the kernel says */
};

/* The first line of a small file. Return: whether there is one. */
static bool line_read(const char *path, char *line, int line_bytes)
{
    FILE *file = fopen(path, "re");
    const bool is_there = file && fgets(line, line_bytes, file);
    if (file) {
        (void)fclose(file); /* only read */
    }
    if (is_there) {
        line[strcspn(line, "\n")] = '\0';
    }
    return is_there;
}

/* Those with memory: "0-1,3". A kernel without NUMA has one. */
static void nodes_read(struct nodes *nodes)
{
    *nodes = (struct nodes){.text = "0"};
    if (!line_read("/sys/devices/system/node/has_memory", nodes->text, sizeof(nodes->text))) {
        (void)snprintf(nodes->text, sizeof(nodes->text), "0"); /* fits */
    }
    const char *at = nodes->text;
    while (*at != '\0') {
        char *end;
        const unsigned long first = strtoul(at, &end, 10);
        const unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
        for (unsigned long node = first; node <= last && node < NODES_MAX; node++) {
            nodes->mask[node / BITS_PER_WORD] |= 1UL << node % BITS_PER_WORD;
        }
        at = *end == ',' ? end + 1 : "";
    }
}

static bool nodes_have(const struct nodes *nodes, uint32_t node)
{
    return node < NODES_MAX && (nodes->mask[node / BITS_PER_WORD] >> node % BITS_PER_WORD & 1) != 0;
}

uint64_t backing_page_bytes(const struct options *options)
{
    return options->hugepages == HUGEPAGES_2M   ? UINT64_C(2) << 20
           : options->hugepages == HUGEPAGES_1G ? UINT64_C(1) << 30
                                                : 0;
}

static uint64_t pages_number(uint64_t page_bytes, const char *what)
{
    char path[128];
    char line[32];
    (void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
                   (unsigned long long)(page_bytes >> 10), what); /* fits */
    return line_read(path, line, sizeof(line)) ? strtoull(line, NULL, 10) : 0;
}

/* Those that are free and promised to no other. */
static int pages_check(const struct options *options, uint64_t page_bytes, char *ret_sentence)
{
    const uint64_t n_wanted = options->segment_bytes / page_bytes;
    const uint64_t n_free = pages_number(page_bytes, "free_hugepages");
    const uint64_t n_promised = pages_number(page_bytes, "resv_hugepages");
    const uint64_t n_left = n_free > n_promised ? n_free - n_promised : 0;
    if (n_left >= n_wanted) {
        return 0;
    }
    const uint64_t n_reserved = pages_number(page_bytes, "nr_hugepages");
    (void)snprintf(
        ret_sentence, BACKING_SENTENCE_BYTES,
        "it needs %llu reserved pages of %s, and %llu are free: %llu too few; reserve them (as "
        "root: echo %llu > /sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages%s), or use "
        "--hugepages try",
        (unsigned long long)n_wanted, page_bytes >> 30 ? "1 GiB" : "2 MiB",
        (unsigned long long)n_left, (unsigned long long)(n_wanted - n_left),
        (unsigned long long)(n_reserved + n_wanted - n_left),
        (unsigned long long)(page_bytes >> 10),
        page_bytes >> 30 ? "" : ", or sysctl vm.nr_hugepages"); /* fits */
    return -ENOMEM;
}

int backing_check(const struct options *options, char *ret_sentence)
{
    const uint64_t page_bytes = backing_page_bytes(options);
    struct nodes nodes;
    nodes_read(&nodes);
    if (options->numa == NUMA_NODE && !nodes_have(&nodes, options->numa_node)) {
        (void)snprintf(ret_sentence, BACKING_SENTENCE_BYTES,
                       "--numa: there is no node %u with memory; there is %s", options->numa_node,
                       nodes.text); /* fits */
        return -ENXIO;
    }
    return page_bytes > 0 ? pages_check(options, page_bytes, ret_sentence) : 0;
}

/* The policy is the file's from then on, whoever touches its pages first. */
static int nodes_choose(int fd, const struct options *options)
{
    struct nodes nodes;
    nodes_read(&nodes);
    if (options->numa == NUMA_LOCAL) {
        return 0;
    }
    if (options->numa == NUMA_NODE) {
        memset(nodes.mask, 0, sizeof(nodes.mask));
        nodes.mask[options->numa_node / BITS_PER_WORD] = 1UL << options->numa_node % BITS_PER_WORD;
    }
    void *at = mmap(NULL, options->most_bytes, PROT_NONE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        return -errno;
    }
    const int mode = options->numa == NUMA_NODE ? MPOL_BIND : MPOL_INTERLEAVE;
    const int r = syscall(SYS_mbind, at, options->most_bytes, mode, nodes.mask, NODES_MAX, 0) < 0
                      ? -errno
                      : 0;
    (void)munmap(at, options->most_bytes); /* fails for no mapping only */
    return r;
}

int backing_open(const struct options *options, char *ret_sentence)
{
    const uint64_t page_bytes = backing_page_bytes(options);
    const unsigned flags = page_bytes == 0    ? 0
                           : page_bytes >> 30 ? MFD_HUGETLB | MFD_HUGE_1GB
                                              : MFD_HUGETLB | MFD_HUGE_2MB;
    const int fd = memfd_open_of(options->name, "segment", options->most_bytes, flags);
    if (fd < 0) {
        (void)snprintf(ret_sentence, BACKING_SENTENCE_BYTES, "cannot make the segment's file: %s",
                       strerror(-fd)); /* fits */
        return fd;
    }
    const int r = nodes_choose(fd, options);
    if (r) {
        (void)snprintf(ret_sentence, BACKING_SENTENCE_BYTES,
                       "--numa: the nodes can not be chosen (mbind: %s); a sandbox may have to "
                       "allow it (SystemCallFilter=mbind in a unit)",
                       strerror(-r)); /* fits */
        (void)close(fd);              /* the process ends */
    }
    return r ? r : fd;
}

void backing_adopt(int fd, struct options *options)
{
    struct statfs kind;
    if (fstatfs(fd, &kind) < 0) {
        return; /* of a descriptor that is open, by a kernel that knows it: it does not fail */
    }
    if (kind.f_type == HUGETLBFS_MAGIC) {
        options->hugepages = kind.f_bsize >> 30 ? HUGEPAGES_1G : HUGEPAGES_2M;
        options->lazy = false;
    } else if (backing_page_bytes(options) > 0) {
        options->hugepages = HUGEPAGES_TRY;
    }
}

int backing_lock(int fd, const struct options *options, char *ret_sentence)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    if (!options->lock || backing_page_bytes(options) > 0) {
        return 0; /* reserved pages never leave memory */
    }
    void *at = mmap(NULL, options->segment_bytes, PROT_READ, MAP_SHARED, fd, 0);
    const int r = at == MAP_FAILED || mlock2(at, options->segment_bytes, 0) < 0 ? -errno : 0;
    if (r) {
        char wanted[TEXT_BYTES_MAX];
        char allowed[TEXT_BYTES_MAX];
        (void)getrlimit(RLIMIT_MEMLOCK, &limit); /* fails for no limit only */
        (void)snprintf(
            ret_sentence, BACKING_SENTENCE_BYTES,
            "--lock: %s can not be locked in memory: %s; RLIMIT_MEMLOCK is %s: raise it (ulimit "
            "-l, or LimitMEMLOCK= in a unit), or use --lock=off",
            text_format_bytes(options->segment_bytes, wanted, sizeof(wanted)), strerror(-r),
            limit.rlim_cur == RLIM_INFINITY
                ? "no limit"
                : text_format_bytes(limit.rlim_cur, allowed, sizeof(allowed))); /* fits */
    }
    return r;
}
