/* SPDX-License-Identifier: MIT */
/*
 * region_boost.cpp - rbtree_best_fit, which managed_shared_memory has by default, in a buffer
 *
 * Without a mutex: one process plays for all.
 */
#include "tests/bench/region.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include <boost/interprocess/indexes/null_index.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>

using best_fit = boost::interprocess::rbtree_best_fit<boost::interprocess::null_mutex_family>;

namespace
{

struct boost_region {
    struct region region; /* first */
    char *memory;
    best_fit *algorithm;
    bool clears;
};

boost_region *boost_of(struct region *region)
{
    return reinterpret_cast<boost_region *>(region);
}

uint64_t boost_take(struct region *region, uint32_t, uint64_t num_bytes)
{
    boost_region *boost = boost_of(region);
    void *block = boost->algorithm->allocate(num_bytes);
    if (block != nullptr && boost->clears) {
        std::memset(block, 0, num_bytes);
    }
    return reinterpret_cast<uint64_t>(block);
}

void boost_give(struct region *region, uint32_t, uint64_t handle, uint64_t)
{
    boost_of(region)->algorithm->deallocate(reinterpret_cast<void *>(handle));
}

uint64_t boost_free_bytes(struct region *region)
{
    return boost_of(region)->algorithm->get_free_memory();
}

void boost_free(struct region *region)
{
    std::free(boost_of(region)->memory);
    delete boost_of(region);
}

} // namespace

struct region *region_boost_new(uint64_t num_bytes, bool clears)
{
    char *memory = static_cast<char *>(std::aligned_alloc(4096, num_bytes));
    auto *algorithm = new (memory) best_fit(num_bytes, sizeof(best_fit));
    return &(new boost_region{{boost_take, boost_give, nullptr, boost_free_bytes, boost_free},
                              memory,
                              algorithm,
                              clears})
                ->region;
}
