/* SPDX-License-Identifier: MIT */
/*
 * manual.c - the program "capture" that the examples in the manual pages run
 *
 *      capture --frames N   N frames, of which the last two are there at a time; it forgets to
 *                           release the last scratch buffer and the last index
 *      capture --hold       three blocks for video, one for audio, until it is told to end
 *      capture --tidy       a block, released
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

#define FRAME_BYTES (1920 * 1080 * 3)

static int take_frames(int n_frames)
{
    char *frame = NULL;
    char *scratch = NULL;
    char *index = NULL;

    for (int i = 0; i < n_frames; i++) {
        char *next = kmem_allocate(FRAME_BYTES, "video/capture/frame");

        kmem_release(&frame);
        frame = next;
        kmem_release(&scratch);
        kmem_release(&index);
        scratch = kmem_allocate(101, "video/capture/scratch");
        index = kmem_allocate(44, "video/index");
    }
    kmem_release(&frame);
    return scratch != NULL && index != NULL ? 0 : 1;
}

static int hold(void)
{
    if (kmem_allocate(10 * 1000 * 1000, "video/capture") != NULL &&
        kmem_allocate(300 * 1000, "video/preview") != NULL &&
        kmem_allocate(200 * 1000, "video/index") != NULL && kmem_allocate(40, "audio") != NULL) {
        pause();
    }
    return 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--frames") == 0) {
        return take_frames(atoi(argv[2]));
    }
    if (argc > 1 && strcmp(argv[1], "--hold") == 0) {
        return hold();
    }
    char *block = kmem_allocate(44, "tidy");
    kmem_release(&block);
    return 0;
}
