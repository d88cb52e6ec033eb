/* SPDX-License-Identifier: MIT */
/*
 * echo_server.c - the least that a server with libuv and protobuf-c can do
 *
 * Decodes each Request and answers Allocate with Allocated and Release with Released, always the
 * same ones: no allocator, no ledger, no checks, one static buffer, malloc for what protobuf-c
 * decodes. What kmemd costs above this is what kmemd does. `echo_server SOCKET` prints a line when
 * it listens and ends by SIGTERM.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "proto/kmem.pb-c.h"
#include "proto/limits.h"

struct peer {
    uv_pipe_t pipe; /* first: libuv hands it back */
    size_t n_input;
    unsigned char input[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
};

static uv_loop_t loop;

static void free_peer(uv_handle_t *handle)
{
    free(handle);
}

static void answer(struct peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Allocated allocated = KMEM__ALLOCATED__INIT;
    Kmem__Released released = KMEM__RELEASED__INIT;
    unsigned char frame[256];
    response.id = request->id;
    if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        allocated.offset = PAGE_BYTES;
        response.body_case = KMEM__RESPONSE__BODY_ALLOCATED;
        response.allocated = &allocated;
    } else {
        response.body_case = KMEM__RESPONSE__BODY_RELEASED;
        response.released = &released;
    }
    const uint32_t n_bytes = (uint32_t)kmem__response__pack(&response, frame + FRAME_HEADER_BYTES);
    memcpy(frame, &n_bytes, sizeof(n_bytes)); /* little-endian, as every machine this runs on */
    const uv_buf_t buffer = uv_buf_init((char *)frame, FRAME_HEADER_BYTES + n_bytes);
    if (uv_try_write((uv_stream_t *)&peer->pipe, &buffer, 1) < 0) {
        (void)fprintf(stderr, "an answer can not be sent\n");
        exit(1);
    }
}

static void serve(struct peer *peer)
{
    size_t at = 0;
    uint32_t n_bytes;
    while (peer->n_input - at >= FRAME_HEADER_BYTES) {
        memcpy(&n_bytes, peer->input + at, sizeof(n_bytes));
        if (n_bytes > REQUEST_MAX_BYTES || peer->n_input - at - FRAME_HEADER_BYTES < n_bytes) {
            break;
        }
        Kmem__Request *const request =
            kmem__request__unpack(NULL, n_bytes, peer->input + at + FRAME_HEADER_BYTES);
        if (request == NULL) {
            exit(1);
        }
        answer(peer, request);
        kmem__request__free_unpacked(request, NULL);
        at += FRAME_HEADER_BYTES + n_bytes;
    }
    memmove(peer->input, peer->input + at, peer->n_input - at);
    peer->n_input -= at;
}

static void lend_input(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct peer *const peer = (struct peer *)handle;
    (void)suggested;
    *buffer = uv_buf_init((char *)peer->input + peer->n_input,
                          (unsigned int)(sizeof(peer->input) - peer->n_input));
}

static void take_input(uv_stream_t *stream, ssize_t n_bytes, const uv_buf_t *buffer)
{
    struct peer *const peer = (struct peer *)stream;
    (void)buffer;
    if (n_bytes < 0) {
        uv_close((uv_handle_t *)stream, free_peer);
        return;
    }
    peer->n_input += (size_t)n_bytes;
    serve(peer);
}

static void take_connection(uv_stream_t *listening, int status)
{
    struct peer *const peer = calloc(1, sizeof(*peer));
    if (status < 0 || peer == NULL || uv_pipe_init(&loop, &peer->pipe, 0) != 0 ||
        uv_accept(listening, (uv_stream_t *)&peer->pipe) != 0 ||
        uv_read_start((uv_stream_t *)&peer->pipe, lend_input, take_input) != 0) {
        exit(1);
    }
}

static void end(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    uv_stop(&loop);
}

int main(int argc, char **argv)
{
    uv_pipe_t listening;
    uv_signal_t terminate;
    if (argc != 2 || uv_loop_init(&loop) != 0 || uv_pipe_init(&loop, &listening, 0) != 0 ||
        uv_pipe_bind(&listening, argv[1]) != 0 ||
        uv_listen((uv_stream_t *)&listening, 8, take_connection) != 0 ||
        uv_signal_init(&loop, &terminate) != 0 || uv_signal_start(&terminate, end, SIGTERM) != 0) {
        (void)fprintf(stderr, "usage: echo_server SOCKET\n");
        return 1;
    }
    (void)printf("ready on %s\n", argv[1]);
    (void)fflush(stdout);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)remove(argv[1]);
    return 0;
}
