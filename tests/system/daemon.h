/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - start kmemd, stop it, and look at it from outside
 *
 * A daemon is two processes, the keeper and its server. Figures are those of both.
 *
 * A test has one daemon at a time that serves it: the one that daemon_start() started. Clients find
 * it through $KMEM_SOCKET. Others, which are to be refused, run with daemon_try().
 */
#ifndef TESTS_SYSTEM_DAEMON_H
#define TESTS_SYSTEM_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/attributes.h"

/* How it is started, beside its options. All 0 is as a shell would. */
struct daemon_setting {
    unsigned int max_fds;      /* RLIMIT_NOFILE, soft and hard; 0: as the test's */
    const char *notify_socket; /* $NOTIFY_SOCKET */
    const char *runtime_dir;   /* $XDG_RUNTIME_DIR; NULL: unset */
    void (*hold)(void);        /* daemon_try(): what one that got ready outlives; may be NULL */
    const char *program;       /* its path; NULL: kmemd of this build */
    const int *fds;            /* n_fds descriptors to be passed, as a service manager does */
    unsigned int n_fds;
    const char *fd_names;  /* $LISTEN_FDNAMES */
    const char *socket;    /* its path; NULL: test.sock in the test's directory */
    const char *cradle;    /* words of cradle.h; a mute one is waited for at its socket */
    bool configured_size;  /* without --size: a configuration says it */
    void (*prepare)(void); /* called in the process that becomes the daemon, last; may be NULL */
};

/**
 * daemon_start() - start kmemd, wait for its ready line, and remember how it looks when idle
 * @option:  options and NULL. --name test, --size 16MiB and --socket DIRECTORY/test.sock come first
 */
void daemon_start(const char *option, ...) __attribute__((sentinel));

/** daemon_start_as() - the same, with a setting; options as an array that ends with NULL */
void daemon_start_as(const struct daemon_setting *setting, const char *const *options);

/** daemon_remember_idle() - take how it looks now for how it looks when idle */
void daemon_remember_idle(void);

/** daemon_expect_crashes() - of this test's servers some end by themselves, which is meant */
void daemon_expect_crashes(void);

/**
 * daemon_stop() - SIGTERM; wants exit status 0 in 5 s, the socket gone, nothing more on stdout
 *
 * Wants that no server has ended by itself, unless that is expected: the keeper would have started
 * another, and the test would see nothing of it.
 */
void daemon_stop(void);

/** daemon_try_stop() - SIGTERM. Return: the exit status; -1: it had to be killed after 5 s. */
int daemon_try_stop(void);

/**
 * daemon_kill() - SIGKILL to the keeper: nothing is cleaned up. daemon_start() may follow.
 *
 * Of servers it wants the same as daemon_stop().
 */
void daemon_kill(void);

/** daemon_kill_server() - SIGKILL to the server, and wait until there is another */
void daemon_kill_server(void);

/** daemon_signal_server() - a signal to the server; wants that there is one just now */
void daemon_signal_server(int signal_number);

/** daemon_crash_on_and_on() - SIGABRT to server after server, until none is started any more */
void daemon_crash_on_and_on(void);

/** daemon_server_pid() - of the process that answers; 0: there is none just now */
pid_t daemon_server_pid(void);

/** daemon_pid() - of the process that was started: the keeper */
pid_t daemon_pid(void);
const char *daemon_socket(void);
const char *daemon_ready_line(void);
unsigned int daemon_fds(void);
unsigned int daemon_fds_at_start(void);

/** daemon_memory_kib() - resident memory without the pages of shared files */
uint64_t daemon_memory_kib(void);
uint64_t daemon_memory_kib_at_start(void);
uint64_t daemon_free_bytes_at_start(void);

/** daemon_cpu_ms() - the processor time that it has used */
uint64_t daemon_cpu_ms(void);

/**
 * daemon_wakeups() - how often one of its threads has woken up after waiting for something
 *
 * That it was made to give up its processor does not count.
 */
uint64_t daemon_wakeups(void);

/** daemon_open_memfd() - its "segment", "state" or "clock", opened through /proc */
int daemon_open_memfd(const char *kind);

/** daemon_ledger_bytes() - the memory that its clients' ledgers take */
uint64_t daemon_ledger_bytes(void);

/** daemon_log() - its stderr so far. Ownership: the harness's, until the next call. */
const char *daemon_log(void);

/** expect_log_line() - want a line of the log to match, soon */
#define expect_log_line(pattern) daemon_expect_log(__FILE__, __LINE__, pattern)
void daemon_expect_log(const char *file, int line, const char *pattern);

/* How a daemon ended. */
struct daemon_end {
    int exit_status; /* -1: it did not end, and was killed; 128 + n: a signal */
    char out[4096];
    char log[8192];
};

/**
 * daemon_try() - run kmemd with just these options, until it ends by itself
 *
 * For a daemon that should refuse to start. If it gets ready, it is stopped with SIGTERM and the
 * exit status is that of an orderly end: 0.
 */
struct daemon_end daemon_try(const struct daemon_setting *setting, const char *const *options);

/**
 * daemon_try_start() - daemon_start_as() for a daemon that may refuse
 *
 * It is asked nothing yet: daemon_remember_idle() does, once it may.
 *
 * Return: whether it got ready; if not, *ret_end says how it ended.
 */
bool daemon_try_start(const struct daemon_setting *setting, const char *const *options,
                      struct daemon_end *ret_end);

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
