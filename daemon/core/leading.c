/* SPDX-License-Identifier: MIT */
#include "daemon/core/leading.h"

#include "proto/attributes.h"

void leading_note(struct leading *leading, uint64_t key, uint64_t num_bytes)
{
    uint32_t least = 0;
    for (uint32_t i = 0; i < leading->n_keys; i++) {
        if (leading->counters[i].key == key) {
            leading->counters[i].num_bytes += num_bytes;
            return;
        }
        least = leading->counters[i].num_bytes < leading->counters[least].num_bytes ? i : least;
    }
    if (leading->n_keys < LEADING_KEYS) {
        least = leading->n_keys++;
        leading->counters[least].num_bytes = 0;
    }
    leading->counters[least].key = key;
    leading->counters[least].num_bytes += num_bytes;
}

uint64_t leading_first(const struct leading *leading, uint64_t *ret_num_bytes)
{
    uint32_t first = 0;
    KMEM_ASSERT(leading->n_keys > 0);
    for (uint32_t i = 1; i < leading->n_keys; i++) {
        if (leading->counters[i].num_bytes > leading->counters[first].num_bytes) {
            first = i;
        }
    }
    *ret_num_bytes = leading->counters[first].num_bytes;
    return leading->counters[first].key;
}
