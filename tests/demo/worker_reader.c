/* SPDX-License-Identifier: MIT */
/*
 * worker_reader FILE... - keeps every file in a block of its own, and proves that none changes
 *
 * It computes each file's checksum from the block, as POSIX cksum defines it, so that the conductor
 * can ask cksum(1) for the same number. It computes them again at the end, when other processes
 * have worked beside it and one was killed in the middle of its work.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/demo/worker.h"

/* The polynomial of POSIX cksum. */
#define CKSUM_POLYNOMIAL UINT32_C(0x04C11DB7)

static uint32_t cksum_byte(uint32_t sum, unsigned char byte)
{
    sum ^= (uint32_t)byte << 24;
    for (int bit = 0; bit < 8; bit++) {
        sum = (sum & UINT32_C(0x80000000)) ? (sum << 1) ^ CKSUM_POLYNOMIAL : sum << 1;
    }
    return sum;
}

/* The bytes, then the length with the least significant byte first, without leading zeros. */
static uint32_t cksum(const struct text *text)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < text->n_bytes; i++) {
        sum = cksum_byte(sum, (unsigned char)text->bytes[i]);
    }
    for (size_t rest = text->n_bytes; rest != 0; rest >>= 8) {
        sum = cksum_byte(sum, (unsigned char)rest);
    }
    return ~sum;
}

static size_t count_changed(const struct text *texts, const uint32_t *sums, size_t n_texts)
{
    size_t n_changed = 0;

    for (size_t i = 0; i < n_texts; i++) {
        n_changed += cksum(&texts[i]) != sums[i];
    }
    return n_changed;
}

int main(int argc, char **argv)
{
    size_t n_texts = (size_t)argc - 1;
    struct text *texts = worker_take(n_texts * sizeof(*texts), "demo/reader/list");
    uint32_t *sums = worker_take(n_texts * sizeof(*sums), "demo/reader/sums");
    size_t n_bytes = 0;

    for (size_t i = 0; i < n_texts; i++) {
        text_load(&texts[i], argv[i + 1], "reader/");
        sums[i] = cksum(&texts[i]);
        n_bytes += texts[i].n_bytes;
        worker_tell("at has read %s, %zu of %zu", texts[i].name, i + 1, n_texts);
        worker_tell("result sum-%zu %u %zu", i, sums[i], texts[i].n_bytes);
        worker_pause(80);
    }
    worker_tell("at holds %zu texts, %zu bytes, each with its checksum", n_texts, n_bytes);
    worker_hold();

    worker_tell("result changed %zu", count_changed(texts, sums, n_texts));
    for (size_t i = 0; i < n_texts; i++) {
        text_drop(&texts[i]);
        worker_pause(25);
    }
    worker_give(sums);
    worker_give(texts);
    worker_leave();
    return 0;
}
