/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/lease.h"
#include "proto/ledger.h"
#include "proto/notice.h"

/* Enough for every test; more is a mistake of the test's. */
#define PEERS_MAX 64
#define BLOCKS_MAX 65536
#define FAKE_PAGES ((uint32_t)(FAKE_SEGMENT_BYTES >> PAGE_SHIFT))

struct fake_block {
    uint64_t offset;
    uint64_t num_bytes;
    unsigned int owner; /* the peer's number */
    bool is_live;
};

static struct {
    char directory[64];
    char path[96];
    _Atomic(fake_hook) hook;
    int listener_fd;
    int segment_fd;
    int clock_fd;
    unsigned char *memory;
    uint64_t instance;
    pthread_t listener;
    pthread_t threads[PEERS_MAX];
    struct fake_peer peers[PEERS_MAX];
    struct ledger ledgers[PEERS_MAX]; /* by the peer's number; header is NULL if it has none */
    bool is_lending;
    unsigned int n_peers;
    unsigned int n_open;
    struct fake_block *blocks;
    size_t n_blocks;
    uint64_t next_offset;
    pthread_mutex_t lock;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void check(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fake daemon: %s: %s\n", what, strerror(errno));
        abort();
    }
}

unsigned int fake_count_fds(void)
{
    unsigned int n_fds = 0;
    DIR *directory = opendir("/proc/self/fd");
    check(directory != NULL, "/proc/self/fd");
    while (readdir(directory) != NULL) {
        n_fds++;
    }
    (void)closedir(directory);
    return n_fds;
}

int fake_memfd(uint64_t num_bytes, unsigned int seals)
{
    int fd = memfd_create("fake-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check(fd >= 0 && ftruncate(fd, (off_t)num_bytes) == 0, "memfd");
    check(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0, "seals");
    return fd;
}

/* --------------------------------------------------------------------------------- sending ---- */

void fake_send_bytes(struct fake_peer *peer, const void *bytes, size_t n_bytes)
{
    /* A client that has gone is no concern of the daemon's. */
    (void)send(peer->fd, bytes, n_bytes, MSG_NOSIGNAL);
}

static void send_with_descriptors(int socket_fd, void *bytes, size_t n_bytes, const int *fds,
                                  size_t n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = bytes, .iov_len = n_bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (n_fds > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    (void)sendmsg(socket_fd, &message, MSG_NOSIGNAL);
}

void fake_send(struct fake_peer *peer, const Kmem__Request *request, Kmem__Response *response,
               const int *fds, size_t n_fds)
{
    unsigned char *frame = malloc(FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    check(frame != NULL, "malloc");
    response->id = request->id;
    size_t n_bytes = frame_encode(&response->base, frame, FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES);
    check(n_bytes > 0, "a response beyond the limit");
    send_with_descriptors(peer->fd, frame, n_bytes, fds, n_fds);
    free(frame);
}

void fake_send_error(struct fake_peer *peer, const Kmem__Request *request, Kmem__ErrorCode code,
                     const char *message)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Error error = KMEM__ERROR__INIT;
    error.code = code;
    error.message = (char *)(uintptr_t)message;
    response.body_case = KMEM__RESPONSE__BODY_ERROR;
    response.error = &error;
    fake_send(peer, request, &response, NULL, 0);
}

Kmem__Welcome fake_welcome(void)
{
    Kmem__Welcome welcome = KMEM__WELCOME__INIT;
    welcome.version = PROTOCOL_VERSION;
    welcome.segment_name = (char *)(uintptr_t) "fake";
    welcome.segment_bytes = FAKE_SEGMENT_BYTES;
    welcome.page_bytes = PAGE_BYTES;
    welcome.granule_bytes = PAGE_BYTES;
    welcome.instance = fake.instance;
    welcome.n_descriptors = WELCOME_DESCRIPTORS;
    return welcome;
}

void fake_send_welcome(struct fake_peer *peer, const Kmem__Request *request, Kmem__Welcome *welcome,
                       const int *fds, size_t n_fds)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    response.body_case = KMEM__RESPONSE__BODY_WELCOME;
    response.welcome = welcome;
    fake_send(peer, request, &response, fds, n_fds);
}

/* -------------------------------------------------------------------------- honest answers ---- */

static uint64_t ledger_bytes(void)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, FAKE_PAGES);
    return layout.total_bytes;
}

static void drop_ledger(unsigned int number)
{
    if (fake.ledgers[number].header != NULL) {
        (void)munmap(fake.ledgers[number].header, ledger_bytes());
        fake.ledgers[number].header = NULL;
    }
}

/* A new ledger for a peer. Return: its descriptor, the caller's. */
static int make_ledger(const struct fake_peer *peer)
{
    const int fd = fake_memfd(ledger_bytes(), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    void *at = mmap(NULL, ledger_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(at != MAP_FAILED, "mmap");
    drop_ledger(peer->number);
    ledger_format(&fake.ledgers[peer->number], at, FAKE_PAGES);
    return fd;
}

void fake_descriptors(const struct fake_peer *peer, int fds[WELCOME_DESCRIPTORS])
{
    fds[0] = fake.segment_fd;
    fds[1] = make_ledger(peer);
    fds[2] = fake.clock_fd;
}

static void answer_hello(struct fake_peer *peer, const Kmem__Request *request)
{
    int fds[WELCOME_DESCRIPTORS];
    Kmem__Welcome welcome = fake_welcome();
    if (request->hello->role != KMEM__ROLE__ROLE_MEMBER) {
        welcome.n_descriptors = 0;
        fake_send_welcome(peer, request, &welcome, NULL, 0);
        return;
    }
    fake_descriptors(peer, fds);
    fake_send_welcome(peer, request, &welcome, fds, WELCOME_DESCRIPTORS);
    (void)close(fds[1]);
}

static void answer_lease(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Leased leased = KMEM__LEASED__INIT;
    const uint32_t page = (uint32_t)((fake.next_offset + PAGE_BYTES - 1) >> PAGE_SHIFT);
    const uint32_t n_pages = request->lease->want_pages;
    if (!fake.is_lending || n_pages > FAKE_PAGES - page) {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "no pages to lend");
        return;
    }
    lease_grant(fake.ledgers[peer->number].states, page, n_pages, false);
    fake.next_offset = (uint64_t)(page + n_pages) << PAGE_SHIFT;
    leased.page = page;
    leased.n_pages = n_pages;
    response.body_case = KMEM__RESPONSE__BODY_LEASED;
    response.leased = &leased;
    fake_send(peer, request, &response, NULL, 0);
}

static void answer_allocate(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Allocated allocated = KMEM__ALLOCATED__INIT;
    uint64_t num_bytes = request->allocate->num_bytes;
    if (num_bytes > FAKE_SEGMENT_BYTES - fake.next_offset || fake.n_blocks == BLOCKS_MAX) {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_NO_MEMORY,
                        "no room; \"hog\\x1b\" holds it all");
        return;
    }
    allocated.offset = fake.next_offset;
    fake.next_offset = (fake.next_offset + num_bytes + 63) & ~UINT64_C(63);
    fake.blocks[fake.n_blocks] =
        (struct fake_block){allocated.offset, num_bytes, peer->number, true};
    fake.n_blocks++;
    response.body_case = KMEM__RESPONSE__BODY_ALLOCATED;
    response.allocated = &allocated;
    fake_send(peer, request, &response, NULL, 0);
}

/* Return: the peer's live block at an offset; NULL, and refused, if there is none. */
static struct fake_block *find_block(struct fake_peer *peer, const Kmem__Request *request,
                                     uint64_t offset)
{
    Kmem__ErrorCode code = KMEM__ERROR_CODE__ERROR_WILD;
    for (size_t i = 0; i < fake.n_blocks; i++) {
        struct fake_block *block = &fake.blocks[i];
        if (block->offset == offset && block->is_live && block->owner == peer->number) {
            return block;
        }
        if (block->offset == offset) {
            code =
                block->is_live ? KMEM__ERROR_CODE__ERROR_FOREIGN : KMEM__ERROR_CODE__ERROR_RELEASED;
        } else if (offset > block->offset && offset < block->offset + block->num_bytes) {
            code = KMEM__ERROR_CODE__ERROR_INTERIOR;
        }
    }
    fake_send_error(peer, request, code, "the daemon's sentence");
    return NULL;
}

static void answer_release(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Released released = KMEM__RELEASED__INIT;
    struct fake_block *block = find_block(peer, request, request->release->offset);
    if (block != NULL) {
        block->is_live = false;
        released.num_bytes = block->num_bytes;
        response.body_case = KMEM__RESPONSE__BODY_RELEASED;
        response.released = &released;
        fake_send(peer, request, &response, NULL, 0);
    }
}

static void answer_size_of(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Sized sized = KMEM__SIZED__INIT;
    const struct fake_block *block = find_block(peer, request, request->size_of->offset);
    if (block != NULL) {
        sized.num_bytes = block->num_bytes;
        response.body_case = KMEM__RESPONSE__BODY_SIZED;
        response.sized = &sized;
        fake_send(peer, request, &response, NULL, 0);
    }
}

static void answer_goodbye(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Farewell farewell = KMEM__FAREWELL__INIT;
    for (size_t i = 0; i < fake.n_blocks; i++) {
        if (fake.blocks[i].owner == peer->number) {
            fake.blocks[i].is_live = false;
        }
    }
    response.body_case = KMEM__RESPONSE__BODY_FAREWELL;
    response.farewell = &farewell;
    fake_send(peer, request, &response, NULL, 0);
}

static void answer(struct fake_peer *peer, const Kmem__Request *request)
{
    if (request->body_case == KMEM__REQUEST__BODY_HELLO) {
        answer_hello(peer, request);
    } else if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        answer_allocate(peer, request);
    } else if (request->body_case == KMEM__REQUEST__BODY_RELEASE) {
        answer_release(peer, request);
    } else if (request->body_case == KMEM__REQUEST__BODY_SIZE_OF) {
        answer_size_of(peer, request);
    } else if (request->body_case == KMEM__REQUEST__BODY_GOODBYE) {
        answer_goodbye(peer, request);
    } else if (request->body_case == KMEM__REQUEST__BODY_LEASE) {
        answer_lease(peer, request);
    } else {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_PROTOCOL, "what is that?");
    }
}

/* ------------------------------------------------------------------------------- listening ---- */

static bool read_exactly(int fd, void *buffer, size_t n_bytes)
{
    return n_bytes == 0 || recv(fd, buffer, n_bytes, MSG_WAITALL) == (ssize_t)n_bytes;
}

static void *serve_peer(void *argument)
{
    static const size_t arena_bytes = REQUEST_ARENA_BYTES;
    struct fake_peer *peer = argument;
    unsigned char header[FRAME_HEADER_BYTES];
    unsigned char payload[REQUEST_MAX_BYTES];
    void *memory = malloc(arena_bytes);
    struct arena arena;
    check(memory != NULL, "malloc");
    while (read_exactly(peer->fd, header, sizeof(header))) {
        size_t n_bytes = frame_length(header);
        check(n_bytes <= sizeof(payload), "a request beyond the limit");
        if (!read_exactly(peer->fd, payload, n_bytes)) {
            break;
        }
        arena_init(&arena, memory, arena_bytes);
        const Kmem__Request *request = (const Kmem__Request *)frame_decode(
            &arena, &kmem__request__descriptor, payload, n_bytes);
        check(request != NULL, "a request that can not be decoded");
        peer->n_requests++;
        /* A hook may wait for what another connection does. */
        fake_hook hook = atomic_load(&fake.hook);
        if (hook == NULL || !hook(peer, request)) {
            (void)pthread_mutex_lock(&fake.lock);
            answer(peer, request);
            (void)pthread_mutex_unlock(&fake.lock);
        }
    }
    free(memory);
    (void)shutdown(peer->fd, SHUT_RDWR);
    (void)pthread_mutex_lock(&fake.lock);
    fake.n_open--;
    (void)pthread_mutex_unlock(&fake.lock);
    return NULL;
}

static void *listen_for_peers(void *argument)
{
    (void)argument;
    for (;;) {
        int fd = accept4(fake.listener_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return NULL;
        }
        (void)pthread_mutex_lock(&fake.lock);
        check(fake.n_peers < PEERS_MAX, "too many connections");
        struct fake_peer *peer = &fake.peers[fake.n_peers];
        *peer = (struct fake_peer){.fd = fd, .number = fake.n_peers};
        check(pthread_create(&fake.threads[fake.n_peers], NULL, serve_peer, peer) == 0, "thread");
        fake.n_peers++;
        fake.n_open++;
        (void)pthread_mutex_unlock(&fake.lock);
    }
}

static void make_segment(void)
{
    fake.segment_fd = fake_memfd(FAKE_SEGMENT_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    fake.memory =
        mmap(NULL, FAKE_SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fake.segment_fd, 0);
    check(fake.memory != MAP_FAILED, "mmap");
    fake.instance++;
    fake.next_offset = PAGE_BYTES;
    fake.n_blocks = 0;
}

static void make_clock(void)
{
    const uint32_t tick = 1;
    fake.clock_fd = fake_memfd(NOTICE_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    check(pwrite(fake.clock_fd, &tick, sizeof(tick), CLOCK_TICK_AT) == sizeof(tick), "clock");
}

static void drop_segment(void)
{
    (void)munmap(fake.memory, FAKE_SEGMENT_BYTES);
    (void)close(fake.segment_fd);
}

void fake_daemon_hook(fake_hook hook)
{
    atomic_store(&fake.hook, hook);
}

void fake_daemon_lend(bool is_lending)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.is_lending = is_lending;
    (void)pthread_mutex_unlock(&fake.lock);
}

void fake_daemon_start(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(fake.directory, sizeof(fake.directory), "/tmp/kmem-test-XXXXXX");
    check(mkdtemp(fake.directory) != NULL, "mkdtemp");
    (void)snprintf(fake.path, sizeof(fake.path), "%s/fake.sock", fake.directory);
    memcpy(address.sun_path, fake.path, strlen(fake.path) + 1);
    fake_daemon_hook(NULL);
    fake.is_lending = false;
    fake.n_peers = 0;
    fake.n_open = 0;
    fake.blocks = calloc(BLOCKS_MAX, sizeof(*fake.blocks));
    check(fake.blocks != NULL, "calloc");
    make_segment();
    make_clock();
    fake.listener_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(bind(fake.listener_fd, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
    check(listen(fake.listener_fd, 8) == 0, "listen");
    check(pthread_create(&fake.listener, NULL, listen_for_peers, NULL) == 0, "thread");
    (void)setenv("KMEM_SOCKET", fake.path, 1);
}

void fake_daemon_end(void)
{
    if (fake.listener_fd < 0) {
        return;
    }
    (void)shutdown(fake.listener_fd, SHUT_RDWR);
    (void)pthread_join(fake.listener, NULL);
    for (unsigned int i = 0; i < fake.n_peers; i++) {
        (void)shutdown(fake.peers[i].fd, SHUT_RDWR);
        (void)pthread_join(fake.threads[i], NULL);
        (void)close(fake.peers[i].fd);
    }
    (void)close(fake.listener_fd);
    fake.listener_fd = -1;
}

void fake_daemon_stop(void)
{
    fake_daemon_end();
    drop_segment();
    (void)close(fake.clock_fd);
    for (unsigned int i = 0; i < fake.n_peers; i++) {
        drop_ledger(i);
    }
    free(fake.blocks);
    (void)unlink(fake.path);
    (void)rmdir(fake.directory);
    (void)unsetenv("KMEM_SOCKET");
}

void fake_daemon_replace_segment(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    drop_segment();
    make_segment();
    (void)pthread_mutex_unlock(&fake.lock);
}

/* --------------------------------------------------------------------------- looking at it ---- */

const char *fake_daemon_path(void)
{
    return fake.path;
}

const char *fake_daemon_directory(void)
{
    return fake.directory;
}

unsigned char *fake_daemon_memory(void)
{
    return fake.memory;
}

int fake_daemon_segment_fd(void)
{
    return fake.segment_fd;
}

size_t fake_daemon_n_live(void)
{
    size_t n_live = 0;
    (void)pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < fake.n_blocks; i++) {
        n_live += fake.blocks[i].is_live;
    }
    (void)pthread_mutex_unlock(&fake.lock);
    return n_live;
}

unsigned int fake_daemon_n_peers(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    unsigned int n_peers = fake.n_peers;
    (void)pthread_mutex_unlock(&fake.lock);
    return n_peers;
}

unsigned int fake_daemon_n_open(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    unsigned int n_open = fake.n_open;
    (void)pthread_mutex_unlock(&fake.lock);
    return n_open;
}
