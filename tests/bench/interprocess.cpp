/* SPDX-License-Identifier: MIT */
#include "tests/bench/interprocess.h"

#include <cstring>
#include <new>

#include <boost/interprocess/managed_shared_memory.hpp>

namespace ipc = boost::interprocess;

static ipc::managed_shared_memory *memory;

int interprocess_join(const char *name, size_t num_bytes)
{
    try {
        static ipc::managed_shared_memory joined(ipc::open_or_create, name, num_bytes);
        memory = &joined;
        return 0;
    } catch (const ipc::interprocess_exception &) {
        return -1;
    }
}

void *interprocess_take(size_t num_bytes)
{
    void *block = memory->allocate(num_bytes, std::nothrow);
    return block != nullptr ? std::memset(block, 0, num_bytes) : nullptr;
}

void interprocess_give(void *block)
{
    memory->deallocate(block);
}

size_t interprocess_measure(const void *block)
{
    return memory->get_segment_manager()->size(block);
}
