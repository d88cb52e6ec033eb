/* SPDX-License-Identifier: MIT */
/*
 * socket_path_fixture.h - a path of the test's own, and the hold of it
 */
#ifndef TESTS_UNIT_SOCKET_PATH_FIXTURE_H
#define TESTS_UNIT_SOCKET_PATH_FIXTURE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "daemon/keeper/socket_path.h"
#include "tests/unit/unit.h"

extern char top[64];       /* private to this test */
extern char directory[80]; /* of the socket */
extern char path[96];
extern char lock_path[112];
extern struct options options;
extern struct socket_path held;
extern int listener_fd;
extern unsigned n_fds;

/* Between our opening and our locking it, a lock's last holder removes it and another makes one. */
extern const char *lock_to_vanish;

int socket_path_setup(void **state);
int socket_path_teardown(void **state);
struct stat status_of(const char *file);
bool is_there(const char *file);
void file_make(const char *file, mode_t mode);
int take(const char **ret_log);
int take_and_listen(const char **ret_log);
void assert_words(const char *log, const char *words);
void assert_refused(int wanted, const char *words);
void take_it(void);
void open_it(void);
void close_it(void);
int try_connect(void);
void connect_once(void);
bool something_happened(void);

#define SOCKET_PATH_TEST(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, socket_path_setup, socket_path_teardown)

#endif
