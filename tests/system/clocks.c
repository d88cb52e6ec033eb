/* SPDX-License-Identifier: MIT */
#include "tests/system/clocks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/harness.h"

struct clocks *clocks_prepare(void)
{
    const char *const path = harness_path("clocks");
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    expect_call(fd >= 0 && ftruncate(fd, sizeof(struct clocks)) == 0);
    expect_call(fchmod(fd, 0666) == 0); /* kmemd may have a user of its own */
    void *const memory =
        mmap(NULL, sizeof(struct clocks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expect_call(memory != MAP_FAILED);
    (void)close(fd);
    expect_call(setenv(CLOCKS_VARIABLE, path, 1) == 0);
    return memory;
}
