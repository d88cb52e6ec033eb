/* SPDX-License-Identifier: MIT */
/*
 * studio.c - a recording studio in one process, with a leak that docs/find-the-leak.md finds
 *
 * A camera hands frames to an encoder, and an index keeps pictures of the last ones. All of them
 * release what they have allocated, but for one mistake. It works on 50 frames a second; with a
 * number, on so many frames as fast as it can, and ends.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

/* The last ones are kept: a new one takes the place of the oldest. */
struct queue {
    void *blocks[32];
    unsigned n_blocks;
    unsigned next;
};

static void queue_put(struct queue *queue, void *block)
{
    if (queue->blocks[queue->next]) {
        kmem_release(&queue->blocks[queue->next]);
    }
    queue->blocks[queue->next] = block;
    queue->next = (queue->next + 1) % queue->n_blocks;
}

static void queue_empty(struct queue *queue)
{
    for (unsigned i = 0; i < queue->n_blocks; i++) {
        queue_put(queue, NULL);
    }
}

static void capture(struct queue *frames)
{
    char *frame = kmem_allocate(640 * 360 * 3, "camera/frame");
    memset(frame, 1, 4096);
    queue_put(frames, frame);
}

static void encode(struct queue *packets)
{
    void *scratch = kmem_allocate(65536, "encoder/scratch");
    queue_put(packets, kmem_allocate(20000, "encoder/packet"));
    kmem_release(&scratch);
}

static void index_frame(struct queue *thumbnails, unsigned frame)
{
    void *thumbnail = kmem_allocate(9600, "index/thumbnail");
    if (frame % 4 == 0) {
        return; /* it shows three of four */
    }
    queue_put(thumbnails, thumbnail);
}

int main(int argc, char **argv)
{
    const unsigned n_frames = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    struct queue frames = {.n_blocks = 8};
    struct queue packets = {.n_blocks = 32};
    struct queue thumbnails = {.n_blocks = 16};
    void *catalogue = kmem_allocate(1 << 20, "index/catalogue");
    for (unsigned frame = 1; n_frames == 0 || frame <= n_frames; frame++) {
        capture(&frames);
        encode(&packets);
        index_frame(&thumbnails, frame);
        if (n_frames == 0) {
            (void)usleep(20000);
        }
    }
    queue_empty(&frames);
    queue_empty(&packets);
    queue_empty(&thumbnails);
    kmem_release(&catalogue);
    return 0;
}
