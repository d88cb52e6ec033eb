/* SPDX-License-Identifier: MIT */
/*
 * failing_memory_loaded.c - begin as soon as the program is loaded
 *
 * What the loader itself takes comes before. Whose calls are counted is seen from the descriptors
 * that the process is passed: a server gets a control socket.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/system/failing_memory.h"

__attribute__((constructor)) static void memory_begin(void)
{
    const char *const path = getenv(FAULT_PLAN_VARIABLE);
    const char *const passed = getenv("LISTEN_FDNAMES");
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *const page =
        fd < 0 ? MAP_FAILED
               : mmap(NULL, sizeof(struct fault_plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        _exit(125);
    }
    (void)close(fd);
    const bool is_server = passed && (strstr(passed, "control") || strstr(passed, "check"));
    failing_memory_begin(page, is_server ? FAULT_SERVER : FAULT_KEEPER);
}
