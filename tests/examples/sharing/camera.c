/* SPDX-License-Identifier: MIT */
/*
 * camera.c - one producer, and three consumers that follow it by name
 *
 * The producer kills one of them at random, again and again, and starts another. No frame is torn,
 * none is lost to the dead, and nobody waits for anybody.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/share.h>

#define NAME "camera0/latest"
#define FRAME_BYTES ((size_t)640 * 480 * 2)
#define N_FRAMES 200
#define N_CONSUMERS 3
#define LAST 0xff

static void must(int r)
{
    if (r < 0) {
        (void)fprintf(stderr, "camera: %s\n", kmem_last_error());
        exit(1);
    }
}

/* Each byte of a frame is the frame's number. */
static void publish(int number)
{
    unsigned char *frame = kmem_try_allocate_with(FRAME_BYTES, KMEM_UNINITIALIZED, "camera/frame");
    must(frame != NULL ? 0 : -1);
    memset(frame, number, FRAME_BYTES);
    must(kmem_publish(frame, NAME, KMEM_GIVE, NULL));
}

static int consume(void)
{
    const unsigned char *frame = NULL;
    uint64_t seen = 0;
    int number;
    do {
        must(kmem_next(NAME, KMEM_READ, "consumer/frame", &seen, &frame, -1));
        number = frame[0];
        for (size_t i = 0; i < FRAME_BYTES; i += 1000) {
            if (frame[i] != number) {
                (void)fprintf(stderr, "camera: frame %d is torn\n", number);
                return 1;
            }
        }
    } while (number != LAST);
    kmem_release(&frame);
    return 0;
}

static pid_t start_consumer(void)
{
    const pid_t pid = fork();
    if (pid == 0) {
        exit(consume());
    }
    must(pid);
    return pid;
}

int main(void)
{
    pid_t consumers[N_CONSUMERS];
    int n_failed = 0;
    for (int i = 0; i < N_CONSUMERS; i++) {
        consumers[i] = start_consumer();
    }
    srand((unsigned)getpid());
    for (int number = 1; number <= N_FRAMES; number++) {
        publish(number % LAST);
        (void)usleep(1000);
        if (number % 10 == 0) {
            const int unlucky = rand() % N_CONSUMERS;
            (void)kill(consumers[unlucky], SIGKILL);
            (void)waitpid(consumers[unlucky], NULL, 0);
            consumers[unlucky] = start_consumer();
        }
    }
    publish(LAST); /* what the name means: whoever has it ends, however late it comes */
    for (int i = 0; i < N_CONSUMERS; i++) {
        int status = -1;
        (void)waitpid(consumers[i], &status, 0);
        n_failed += status != 0;
    }
    must(kmem_unpublish(NAME));
    (void)printf("%d frames, %d consumers killed\n", N_FRAMES, N_FRAMES / 10);
    return n_failed != 0;
}
