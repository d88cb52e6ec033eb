/* SPDX-License-Identifier: MIT */
/*
 * fuzz_shares.c - a state file whose records of shares, holds and names are damaged, and the counts
 *                 of them: image.h
 */
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct choices choices = choices_of(bytes, n_bytes);
    image_play(&choices, IMAGE_COUNTS + 1);
    return 0;
}
