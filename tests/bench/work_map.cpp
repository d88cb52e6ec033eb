/* SPDX-License-Identifier: MIT */
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/work_malloc.h"

namespace
{

struct entry {
    std::string text;
    std::vector<uint32_t> numbers;
};

} // namespace

uint64_t work_map(uint64_t n)
{
    std::map<std::string, std::unique_ptr<entry>> entries;
    uint64_t state = 11;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t random = work_random(&state) >> 32;
        std::string key = "an entry of the map, number " + std::to_string(random % 4096);
        const auto found = entries.find(key);
        if (found != entries.end()) {
            sum += found->second->numbers.size();
            entries.erase(found);
            continue;
        }
        auto made = std::make_unique<entry>();
        made->text = key + ", and what is said of it";
        for (uint32_t k = 0; k < random / 4096 % 12; k++) {
            made->numbers.push_back(k);
        }
        entries.emplace(std::move(key), std::move(made));
    }
    return sum + entries.size();
}
