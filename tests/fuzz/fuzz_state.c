/* SPDX-License-Identifier: MIT */
/*
 * fuzz_state.c - a state file of which anything may be damaged, under recovery: image.h
 */
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct choices choices = choices_of(bytes, n_bytes);
    image_play(&choices, IMAGE_PARTS);
    return 0;
}
