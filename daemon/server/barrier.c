/* SPDX-License-Identifier: MIT */
#include "daemon/server/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/log.h"

/* Of all running threads of processes that have registered. Return: whether it was made. */
static bool barrier(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

bool (*barrier_find(void))(void)
{
    if (barrier()) {
        return barrier;
    }
    log_warning("membarrier() can not be had (%s): blocks that idle threads of clients keep ready "
                "stay theirs; allow it to have them used by others",
                strerror(errno));
    return NULL;
}
