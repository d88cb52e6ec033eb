/* SPDX-License-Identifier: MIT */
/*
 * speaker.c - a program that uses all of libkmem that makes it talk to kmemd, for the recorder
 *
 * Says so when all of it is there; ends when its standard input does.
 */
#include <kmem/kmem.h>
#include <kmem/share.h>
#include <stdio.h>

int main(void)
{
    struct kmem_handle handle;
    void *block = kmem_allocate(100, "video/a");
    void *large = kmem_allocate((size_t)1 << 20, "large");
    void *shared = kmem_allocate(5000, "shared");
    void *again = NULL;
    if (kmem_share(shared, 0, &handle) == 0) {
        (void)!kmem_attach(&handle, 0, "viewer", &again);
    }
    (void)!kmem_publish(shared, "video", 0, NULL);
    kmem_release(kmem_allocate(64, ""));
    kmem_release(large);
    (void)puts("ready");
    (void)fflush(stdout);
    while (getchar() != EOF) {
    }
    kmem_release(block);
    return 0;
}
