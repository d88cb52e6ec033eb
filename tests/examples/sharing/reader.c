/* SPDX-License-Identifier: MIT */
/*
 * reader.c NAME - print the text that a name means, without libkmem: a socket, protobuf and mmap
 *
 * docs/protocol.md is its guide; kmem.pb-c.h is made from kmem.proto, which is installed.
 */
#include <kmem.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int server;

static void must(int is_done, const char *what)
{
    if (!is_done) {
        (void)fprintf(stderr, "reader: %s\n", what);
        exit(1);
    }
}

/* Four bytes that say how much follows; with the answer to Hello come descriptors. */
static size_t receive_length(int fds[3])
{
    unsigned char bytes[4];
    char room[CMSG_SPACE(3 * sizeof(int))];
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    must(recvmsg(server, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) == 4, "no answer");
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL) {
        memcpy(fds, CMSG_DATA(header), 3 * sizeof(int));
    }
    return bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16;
}

static Kmem__Response *ask(const Kmem__Request *request, int fds[3])
{
    static unsigned char frame[65536];
    const size_t n_bytes = kmem__request__pack(request, frame + 4);
    frame[0] = (unsigned char)n_bytes;
    frame[1] = (unsigned char)(n_bytes >> 8);
    frame[2] = frame[3] = 0;
    must(send(server, frame, n_bytes + 4, 0) == (ssize_t)(n_bytes + 4), "not sent");
    const size_t length = receive_length(fds);
    must(length <= sizeof(frame), "too long an answer");
    must(recv(server, frame, length, MSG_WAITALL) == (ssize_t)length, "half an answer");
    Kmem__Response *response = kmem__response__unpack(NULL, length, frame);
    must(response != NULL, "no response");
    must(response->body_case != KMEM__RESPONSE__BODY_ERROR,
         response->body_case == KMEM__RESPONSE__BODY_ERROR ? response->error->message : "");
    return response;
}

int main(int argc, char **argv)
{
    int fds[3] = {-1, -1, -1};
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Hello hello = KMEM__HELLO__INIT;
    Kmem__Next next = KMEM__NEXT__INIT;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    must(argc == 2 && getenv("KMEM_SOCKET") != NULL, "usage: KMEM_SOCKET=PATH reader NAME");
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", getenv("KMEM_SOCKET"));
    server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(server, (struct sockaddr *)&address, sizeof(address)) == 0, "no daemon");

    request.body_case = KMEM__REQUEST__BODY_HELLO;
    request.hello = &hello;
    hello.version = 0x10000; /* 1.0 */
    hello.role = KMEM__ROLE__ROLE_MEMBER;
    Kmem__Response *welcome = ask(&request, fds);
    const char *segment =
        mmap(NULL, welcome->welcome->segment_bytes, PROT_READ, MAP_SHARED, fds[0], 0);
    must(segment != MAP_FAILED, "the segment can not be mapped");
    kmem__response__free_unpacked(welcome, NULL);

    request.body_case = KMEM__REQUEST__BODY_NEXT;
    request.next = &next;
    next.name = (ProtobufCBinaryData){strlen(argv[1]), (unsigned char *)argv[1]};
    next.reason = (ProtobufCBinaryData){11, (unsigned char *)"reader/text"};
    next.wait_ms = 60000; /* until something has that name */
    Kmem__Response *nexted = ask(&request, fds);
    const Kmem__AttachedBlock *block = nexted->nexted->block;
    (void)printf("%.*s\n", (int)block->num_bytes, segment + block->offset);
    kmem__response__free_unpacked(nexted, NULL);
    return 0; /* its hold ends with the process */
}
