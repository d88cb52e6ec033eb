/* SPDX-License-Identifier: MIT */
#include "tests/demo/cast.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

/* In the child: make a descriptor the standard one. -1: /dev/null; errors go where they went. */
static void become_standard(int descriptor, int standard)
{
    if (descriptor < 0 && standard != STDERR_FILENO) {
        descriptor = open("/dev/null", O_RDWR);
    }
    if (descriptor >= 0 && dup2(descriptor, standard) < 0) {
        _exit(127);
    }
}

pid_t process_start(char *const *argv, int input, int output, int errors)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0) {
        give_up("fork");
    }
    if (pid > 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127);
    }
    /* Ctrl-C is for the conductor alone, which ends the others in order. What shares its terminal
     * stays in its group, or it might not write there. */
    if (output != STDOUT_FILENO) {
        setpgid(0, 0);
    }
    become_standard(input, STDIN_FILENO);
    become_standard(output, STDOUT_FILENO);
    become_standard(errors, STDERR_FILENO);
    execv(argv[0], argv);
    perror(argv[0]);
    _exit(127);
}

int process_end(pid_t pid, int signal_number)
{
    struct timespec moment = {.tv_nsec = 5000000};
    int status = 0;

    kill(pid, signal_number);
    for (int i = 0; i < 12000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return status;
        }
        nanosleep(&moment, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return status;
}

struct member *cast_start(struct cast *cast, const char *role, char *const *argv)
{
    struct member *member = &cast->members[cast->n_members++];
    int input[2];
    int output[2];

    if (pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0) {
        give_up("pipe");
    }
    *member = (struct member){.role = role, .input = input[1], .output = output[0]};
    member->pid = process_start(argv, input[0], output[1], -1);
    close(input[0]);
    close(output[1]);
    snprintf(member->at, sizeof(member->at), "begins");
    return member;
}

static const char *behind(const char *line, const char *word)
{
    size_t n_bytes = strlen(word);

    return strncmp(line, word, n_bytes) == 0 && line[n_bytes] == ' ' ? line + n_bytes + 1 : NULL;
}

static void member_hear(struct cast *cast, struct member *member, const char *line)
{
    const char *words;

    if ((words = behind(line, "at"))) {
        snprintf(member->at, sizeof(member->at), "%s", words);
    } else if ((words = behind(line, "say"))) {
        cast->say(member, words, cast->user);
    } else if ((words = behind(line, "progress"))) {
        char *rest;
        member->n_progress = strtoul(words, &rest, 10);
        member->n_progress_of = strtoul(rest, NULL, 10);
    } else if ((words = behind(line, "result")) && member->n_results < RESULTS_MAX) {
        member->results[member->n_results++] = strdup(words);
    } else if (strcmp(line, "done") == 0) {
        member->state = MEMBER_HOLDS;
    } else if (strcmp(line, "bye") == 0) {
        member->said_bye = true;
    }
}

static void member_hear_lines(struct cast *cast, struct member *member)
{
    char *end;

    while ((end = memchr(member->line, '\n', member->n_line_bytes))) {
        size_t n_taken = (size_t)(end - member->line) + 1;
        *end = '\0';
        member_hear(cast, member, member->line);
        member->n_line_bytes -= n_taken;
        memmove(member->line, member->line + n_taken, member->n_line_bytes);
    }
}

static void member_reap(struct member *member)
{
    int status = 0;

    close(member->output);
    member->output = -1;
    cast_dismiss(member);
    if (waitpid(member->pid, &status, 0) != member->pid) {
        give_up("waitpid");
    }
    if (member->state == MEMBER_KILLED) {
        return;
    }
    bool in_order = WIFEXITED(status) && WEXITSTATUS(status) == 0 && member->said_bye;
    member->state = in_order ? MEMBER_ENDED : MEMBER_FAILED;
    snprintf(member->at, sizeof(member->at), in_order ? "has released everything" : "failed");
}

static void member_listen(struct cast *cast, struct member *member)
{
    /* A line without end is cut: what a worker says is shorter. */
    if (member->n_line_bytes == sizeof(member->line)) {
        member->n_line_bytes = 0;
    }
    ssize_t r = read(member->output, member->line + member->n_line_bytes,
                     sizeof(member->line) - member->n_line_bytes);
    if (r > 0) {
        member->n_line_bytes += (size_t)r;
        member_hear_lines(cast, member);
    } else if (r == 0 || errno != EINTR) {
        member_reap(member);
    }
}

void cast_listen(struct cast *cast, int timeout_ms)
{
    struct pollfd polled[CAST_MAX];

    /* poll() passes over the descriptors that are -1. */
    for (size_t i = 0; i < cast->n_members; i++) {
        polled[i] = (struct pollfd){.fd = cast->members[i].output, .events = POLLIN};
    }
    if (poll(polled, cast->n_members, timeout_ms) <= 0) {
        return;
    }
    for (size_t i = 0; i < cast->n_members; i++) {
        if (polled[i].revents) {
            member_listen(cast, &cast->members[i]);
        }
    }
}

void cast_kill(struct member *member)
{
    kill(member->pid, SIGKILL);
    member->state = MEMBER_KILLED;
    snprintf(member->at, sizeof(member->at), "killed by SIGKILL while it worked");
}

void cast_dismiss(struct member *member)
{
    if (member->input >= 0) {
        close(member->input);
        member->input = -1;
        member->state = member->state == MEMBER_HOLDS ? MEMBER_LEAVES : member->state;
    }
}

void cast_end(struct cast *cast)
{
    for (size_t i = 0; i < cast->n_members; i++) {
        struct member *member = &cast->members[i];
        if (member_runs(member)) {
            close(member->output);
            member->output = -1;
            process_end(member->pid, SIGKILL);
        }
        cast_dismiss(member);
        for (size_t k = 0; k < member->n_results; k++) {
            free(member->results[k]);
        }
    }
    cast->n_members = 0;
}

const char *member_result(const struct member *member, const char *key)
{
    for (size_t i = 0; i < member->n_results; i++) {
        const char *value = behind(member->results[i], key);
        if (value) {
            return value;
        }
    }
    return NULL;
}

bool member_runs(const struct member *member)
{
    return member->output >= 0;
}
