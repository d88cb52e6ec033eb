/* SPDX-License-Identifier: MIT */
/* Releases, in the child of a fork, a block of its parent. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    int status = -1;
    char *parents = misuse_allocate(101, "of the parent");
    const pid_t child = fork();
    if (child == 0) {
        misuse_begin(argc, argv);
        char *const witness = misuse_witness();
        kmem_release((void **)&parents);
        return parents != NULL ? misuse_end(witness) : 1;
    }
    const pid_t ended = waitpid(child, &status, 0);
    if (ended != child || kmem_sizeof_allocation(parents) != 101) {
        return 1;
    }
    kmem_release((void **)&parents);
    if (WIFSIGNALED(status)) {
        (void)raise(WTERMSIG(status)); /* ends as its child did */
    }
    return WEXITSTATUS(status);
}
