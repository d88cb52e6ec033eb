/* SPDX-License-Identifier: MIT */
/*
 * camera_boost.cpp - Boost.Interprocess: a managed segment, and a message queue for each consumer
 *
 * A frame begins with how many hold it; the last gives it back. What a killed consumer holds is
 * lost for good, and a consumer that is killed in the segment's mutex ends it for all.
 */
#include <atomic>
#include <cstring>
#include <optional>
#include <string>
#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>

extern "C" {
#include "tests/bench/bench.h"
}
#include "tests/bench/camera.h"

namespace ipc = boost::interprocess;

namespace
{

constexpr std::size_t head_bytes = 64;
constexpr std::size_t segment_bytes = std::size_t(1) << 30;

std::string name;
std::optional<ipc::managed_shared_memory> segment;

std::string queue_name(unsigned place)
{
    return name + "-" + std::to_string(place);
}

std::atomic<int> &holders_of(void *block)
{
    return *static_cast<std::atomic<int> *>(block);
}

void let_go(void *block)
{
    if (holders_of(block).fetch_sub(1) == 1) {
        segment->deallocate(block);
    }
}

void begin()
{
    name = "kmem-bench-" + std::to_string(getpid());
    ipc::shared_memory_object::remove(name.c_str());
    segment.emplace(ipc::create_only, name.c_str(), segment_bytes);
}

void attend(unsigned place)
{
    ipc::message_queue::remove(queue_name(place).c_str());
    ipc::message_queue(ipc::create_only, queue_name(place).c_str(), 4,
                       sizeof(ipc::managed_shared_memory::handle_t));
}

void produce(unsigned number)
{
    void *block = segment->allocate(head_bytes + CAMERA_BYTES, std::nothrow);
    if (block == nullptr) {
        bench_fail("Boost.Interprocess: no room");
    }
    camera_touch(static_cast<char *>(block) + head_bytes, number);
    holders_of(block).store(1 + CAMERA_CONSUMERS);
    const auto handle = segment->get_handle_from_address(block);
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        ipc::message_queue queue(ipc::open_only, queue_name(place).c_str());
        if (!queue.try_send(&handle, sizeof handle, 0)) {
            let_go(block);
        }
    }
    let_go(block);
}

void consume(unsigned place)
{
    ipc::message_queue queue(ipc::open_only, queue_name(place).c_str());
    for (;;) {
        ipc::managed_shared_memory::handle_t handle;
        ipc::message_queue::size_type num_bytes;
        unsigned priority;
        queue.receive(&handle, sizeof handle, num_bytes, priority);
        void *block = segment->get_address_from_handle(handle);
        if (!camera_look(static_cast<char *>(block) + head_bytes)) {
            bench_fail("a frame is torn");
        }
        let_go(block);
    }
}

void end()
{
    segment.reset();
    ipc::shared_memory_object::remove(name.c_str());
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        ipc::message_queue::remove(queue_name(place).c_str());
    }
}

} // namespace

extern "C" const camera camera_boost = {"Boost", begin, attend, produce, consume, end};
