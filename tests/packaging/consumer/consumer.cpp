/* SPDX-License-Identifier: MIT */
/* The same with the C++ wrapper. */
#include <iostream>

#include <kmem/heap_mem.hpp>

int main()
{
    heap_mem<int> numbers(11, "consumer");
    numbers[10] = 44;
    if (numbers.size() != 44 || numbers[10] != 44 || numbers[0] != 0) {
        return 1;
    }
    std::cout << "eleven numbers in a block\n";
    return 0;
}
