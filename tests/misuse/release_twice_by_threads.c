/* SPDX-License-Identifier: MIT */
/* Releases a block that another thread has released already. */
#include <pthread.h>

#include "tests/misuse/misuse.h"

static void *release(void *block)
{
    kmem_release(&block);
    return block;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    void *left = NULL;
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    void *block = misuse_allocate(44, "Scratch buffer");
    if (pthread_create(&thread, NULL, release, block) != 0 || pthread_join(thread, &left) != 0) {
        return 1;
    }
    kmem_release(&block);
    return left == NULL && block != NULL ? misuse_end(witness) : 1;
}
