/* SPDX-License-Identifier: MIT */
/*
 * ctl_worker.c - the program that the tests of `kmemctl run` run
 *
 * Does what its arguments say, in their order:
 *
 *      allocate BYTES REASON   and remember it
 *      release                 the block allocated last
 *      leave                   kmem_close()
 *      fork                    a child goes on with the words that follow; the parent skips one
 *                              "end" and goes on behind it
 *      end                     exit with status 0
 *      exit STATUS, kill SIGNAL
 *      wait                    for the children
 *      say TEXT                on stdout, at once
 *      sleep MILLISECONDS
 *      count SIGNAL MILLISECONDS   say how often the signal arrives, from its first time on for so
 *                              long
 *      touch PATH              make a file
 *      until PATH              there is such a file
 *      print NAME              say what an environment variable holds
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kmem/kmem.h>

#define BLOCKS_MAX 64

static void *blocks[BLOCKS_MAX];
static size_t n_blocks;
static volatile sig_atomic_t n_signals;

static int number_of(const char *digits)
{
    return (int)strtol(digits, NULL, 10);
}

static void count_signal(int number)
{
    (void)number;
    n_signals++;
}

static void sleep_ms(const char *duration)
{
    const long duration_ms = number_of(duration);
    struct timespec left = {duration_ms / 1000, duration_ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0) {
    }
}

static void say(const char *text)
{
    (void)printf("%s\n", text ? text : "");
    (void)fflush(stdout);
}

static void count(const char *number, const char *duration)
{
    (void)signal(number_of(number), count_signal);
    say("counting");
    while (n_signals == 0) {
        sleep_ms("1");
    }
    sleep_ms(duration);
    (void)printf("%d\n", (int)n_signals);
}

static void touch(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || close(fd) != 0) {
        exit(98);
    }
}

static void wait_until(const char *path)
{
    while (access(path, F_OK) != 0) {
        sleep_ms("1");
    }
}

/* Return: where to go on. */
static char **fork_child(char **word)
{
    if (fork() == 0) {
        return word;
    }
    while (*word && strcmp(*word, "end") != 0) {
        word++;
    }
    return *word ? word + 1 : word;
}

/* Words with two arguments, or one, or none. Return: the next word. */
static char **obey(char **word)
{
    const char *verb = word[0];

    if (strcmp(verb, "allocate") == 0) {
        blocks[n_blocks++ % BLOCKS_MAX] = kmem_allocate(number_of(word[1]), word[2]);
        return word + 3;
    }
    if (strcmp(verb, "count") == 0) {
        count(word[1], word[2]);
        return word + 3;
    }
    if (strcmp(verb, "release") == 0) {
        kmem_release(&blocks[--n_blocks % BLOCKS_MAX]);
        return word + 1;
    }
    if (strcmp(verb, "leave") == 0) {
        (void)kmem_close();
        return word + 1;
    }
    if (strcmp(verb, "fork") == 0) {
        return fork_child(word + 1);
    }
    if (strcmp(verb, "wait") == 0) {
        while (wait(NULL) > 0) {
        }
        return word + 1;
    }
    if (strcmp(verb, "say") == 0) {
        say(word[1]);
    } else if (strcmp(verb, "print") == 0) {
        say(getenv(word[1]));
    } else if (strcmp(verb, "sleep") == 0) {
        sleep_ms(word[1]);
    } else if (strcmp(verb, "touch") == 0) {
        touch(word[1]);
    } else if (strcmp(verb, "until") == 0) {
        wait_until(word[1]);
    } else if (strcmp(verb, "kill") == 0) {
        (void)raise(number_of(word[1]));
    } else {
        exit(strcmp(verb, "exit") == 0 ? number_of(word[1]) : 0);
    }
    return word + 2;
}

int main(int argc, char **argv)
{
    (void)argc;
    for (char **word = argv + 1; *word;) {
        word = obey(word);
    }
    return 0;
}
