/* SPDX-License-Identifier: MIT */
#include "tests/system/bystander.h"

#include "tests/system/blocks.h"
#include "tests/system/harness.h"

/* So often is each of its blocks replaced before it looks whether it is told to end. */
#define ROUNDS 16

/* Blocks of all sizes: each was 0 when it came, and says where it belongs as long as it is held. */
static void replace(unsigned char **blocks, unsigned int n_blocks, uint64_t n_pairs)
{
    unsigned char **const block = &blocks[n_pairs % n_blocks];
    expect_true(*block == NULL || **block == n_pairs % n_blocks + 1);
    expect_equal(kmem_try_release((void **)block), 0);
    *block = allocate(1 + n_pairs % 5000, "served throughout");
    expect_equal(**block, 0);
    **block = (unsigned char)(n_pairs % n_blocks + 1);
}

/* Until it is told to end: what it says first is that it has joined, and then how often it was. */
static void be_served(const void *argument)
{
    unsigned char *blocks[BYSTANDER_BLOCKS_MAX] = {NULL};
    const unsigned int n_blocks = *(const unsigned int *)argument;
    const uint64_t n_batch = (uint64_t)n_blocks * ROUNDS;
    uint64_t n_pairs = 0;
    double longest_ms = 0;
    for (bool is_told = false; !is_told || n_pairs == n_batch;) {
        for (unsigned int i = 0; i < n_batch; i++, n_pairs++) {
            const struct stopwatch watch = stopwatch_start();
            replace(blocks, n_blocks, n_pairs);
            const double took_ms = stopwatch_ms(&watch);
            longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
        }
        if (n_pairs == n_batch) {
            client_say(1);
        }
        is_told = is_told || client_was_told();
    }
    client_say(n_pairs / n_batch);
    harness_note("meanwhile another client made %llu pairs; the longest took %.1f ms",
                 (unsigned long long)n_pairs, longest_ms);
}

struct client bystander_start(unsigned int n_blocks)
{
    return client_begin(be_served, &n_blocks);
}

void bystander_end(struct client *bystander)
{
    client_tell(bystander, 1);
    expect_at_least(client_hear(bystander), 2);
    client_end(bystander);
}
