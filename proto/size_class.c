/* SPDX-License-Identifier: MIT */
#include "proto/size_class.h"

#include <assert.h>

#define CLASS(block, span, plane_of_it)                                                            \
    {                                                                                              \
        .block_bytes = (block), .span_pages = (span),                                              \
        .n_blocks = (uint16_t)((span)*PAGE_BYTES / (block)), .plane = (plane_of_it),               \
        .reciprocal = (uint32_t)(((UINT64_C(1) << 35) + (block)-1) / (block)),                     \
    }

const struct size_class size_classes[N_SIZE_CLASSES] = {
    CLASS(16, 1, 3),    CLASS(32, 1, 3),    CLASS(48, 1, 3),    CLASS(64, 1, 2),
    CLASS(128, 1, 2),   CLASS(192, 1, 2),   CLASS(256, 1, 1),   CLASS(320, 1, 1),
    CLASS(384, 1, 1),   CLASS(448, 1, 1),   CLASS(512, 1, 1),   CLASS(640, 1, 1),
    CLASS(768, 1, 1),   CLASS(896, 1, 1),   CLASS(1024, 1, 0),  CLASS(1280, 1, 0),
    CLASS(1536, 1, 0),  CLASS(1792, 1, 0),  CLASS(2048, 1, 0),  CLASS(2560, 1, 0),
    CLASS(3072, 1, 0),  CLASS(3584, 2, 0),  CLASS(4096, 1, 0),  CLASS(5120, 1, 0),
    CLASS(6144, 2, 0),  CLASS(7168, 4, 0),  CLASS(8192, 1, 0),  CLASS(10240, 2, 0),
    CLASS(12288, 3, 0), CLASS(14336, 7, 0), CLASS(16384, 1, 0), CLASS(20480, 4, 0),
    CLASS(24576, 3, 0), CLASS(28672, 7, 0), CLASS(32768, 2, 0), CLASS(40960, 5, 0),
    CLASS(49152, 3, 0), CLASS(57344, 7, 0), CLASS(65536, 4, 0),
};

static_assert((SMALL_MAX_BYTES & (PAGE_BYTES - 1)) == 0, "larger blocks are whole pages");
