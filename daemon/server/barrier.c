/* SPDX-License-Identifier: MIT */
#include "daemon/server/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/log.h"

static bool barrier(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

barrier_fn barrier_find(void)
{
    if (barrier()) {
        return barrier;
    }
    log_warning("membarrier() can not be had (%s): blocks that idle threads of clients keep "
                "ready stay theirs; allow it to have them used by others",
                strerror(errno));
    return NULL;
}
