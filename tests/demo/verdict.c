/* SPDX-License-Identifier: MIT */
#include "tests/demo/verdict.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void verdict_say(struct verdict *verdict, bool holds, const char *format, ...)
{
    va_list arguments;

    verdict->n_failed += !holds;
    printf("%s%s%s  ", screen_tint(verdict->screen, holds ? TINT_GOOD : TINT_BAD),
           holds ? "  ok" : "FAIL", screen_tint(verdict->screen, TINT_NONE));
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

/*
 * Runs tests/demo/recount with some words and the files as its arguments, and keeps what it prints,
 * without the last line's end; "" if it fails.
 */
static void recount(const struct verdict *verdict, char *const *words, size_t n_words,
                    const struct inherited_fds *files, char *answer, size_t answer_bytes)
{
    char **argv = calloc(1 + n_words + files->n_paths + 1, sizeof(char *));
    size_t n_bytes = 0;
    int status = 0;
    int output[2];
    ssize_t r;

    if (!argv || pipe2(output, O_CLOEXEC) < 0) {
        perror("demo");
        exit(1);
    }
    argv[0] = (char *)verdict->recount;
    memcpy(argv + 1, words, n_words * sizeof(char *));
    for (size_t i = 0; i < files->n_paths; i++) {
        argv[1 + n_words + i] = files->paths[i];
    }
    pid_t pid = process_start(argv, -1, output[1], -1);
    close(output[1]);
    while ((r = read(output[0], answer + n_bytes, answer_bytes - 1 - n_bytes)) > 0) {
        n_bytes += (size_t)r;
    }
    close(output[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        n_bytes = 0;
    }
    while (n_bytes > 0 && answer[n_bytes - 1] == '\n') {
        n_bytes--;
    }
    answer[n_bytes] = '\0';
    free(argv);
}

/* The same with a single word, which says what is asked for. */
static void recount_files(const struct verdict *verdict, const char *what,
                          const struct inherited_fds *files, char *answer, size_t answer_bytes)
{
    char *words[] = {(char *)what};

    recount(verdict, words, 1, files, answer, answer_bytes);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Cuts words apart at single spaces. Return: how many there are, n_max at most. */
static size_t split(const char *words, char parts[][24], size_t n_max)
{
    size_t n_parts = 0;

    while (words && *words && n_parts < n_max) {
        size_t n_bytes = strcspn(words, " ");
        snprintf(parts[n_parts++], sizeof(parts[0]), "%.*s", (int)n_bytes, words);
        words += n_bytes + (words[n_bytes] == ' ');
    }
    return n_parts;
}

void verdict_reader(struct verdict *verdict, const struct member *reader,
                    const struct inherited_fds *files)
{
    size_t n_same = 0;

    for (size_t i = 0; i < files->n_paths; i++) {
        struct inherited_fds one = {.paths = &files->paths[i], .n_paths = 1};
        char key[32];
        char answer[64];
        snprintf(key, sizeof(key), "sum-%zu", i);
        recount_files(verdict, "checksum", &one, answer, sizeof(answer));
        n_same += same(member_result(reader, key), answer);
    }
    verdict_say(verdict, n_same == files->n_paths && n_same > 0,
                "reader: %zu checksums of %zu are what cksum computes", n_same, files->n_paths);
    verdict_say(verdict, same(member_result(reader, "changed"), "0"),
                "reader: no byte had changed in the end");
}

void verdict_words(struct verdict *verdict, const struct member *words,
                   const struct inherited_fds *files)
{
    char n_words[64];
    char n_distinct[64];
    char most[128];

    recount_files(verdict, "words", files, n_words, sizeof(n_words));
    recount_files(verdict, "distinct", files, n_distinct, sizeof(n_distinct));
    recount_files(verdict, "most", files, most, sizeof(most));
    verdict_say(verdict,
                same(member_result(words, "words"), n_words) &&
                    same(member_result(words, "distinct"), n_distinct) &&
                    same(member_result(words, "most"), most),
                "words: %s, %s distinct, most often %s: as tr, sort, uniq count", n_words,
                n_distinct, most);
}

void verdict_phrases(struct verdict *verdict, const struct member *phrases,
                     const struct inherited_fds *files)
{
    static const struct inherited_fds none = {0};
    char numbers[5][24] = {{0}}; /* length, text and place, the other text and place */
    char answer[8192] = "";
    size_t n_numbers = split(member_result(phrases, "phrase"), numbers, 5);
    size_t a = strtoul(numbers[1], NULL, 10);
    size_t b = strtoul(numbers[3], NULL, 10);

    if (n_numbers == 5 && a < files->n_paths && b < files->n_paths) {
        char *words[] = {"phrase",   numbers[0],      files->paths[a],
                         numbers[2], files->paths[b], numbers[4]};
        recount(verdict, words, 6, &none, answer, sizeof(answer));
    }
    verdict_say(verdict, answer[0] && same(member_result(phrases, "longer"), "0"),
                "phrases: sed cuts the same %s words from both (\"%.20s...\")", numbers[0], answer);
}

void verdict_index(struct verdict *verdict, const struct member *index, char *const *queries,
                   size_t n_queries, const struct inherited_fds *files)
{
    size_t n_same = 0;
    size_t n_hits = 0;

    for (size_t i = 0; i < n_queries; i++) {
        char key[32];
        char answer[64];
        snprintf(key, sizeof(key), "hits-%zu", i);
        char *words[] = {"hits", queries[i]};
        recount(verdict, words, 2, files, answer, sizeof(answer));
        n_same += same(member_result(index, key), answer);
        n_hits += strtoul(answer, NULL, 10);
    }
    verdict_say(verdict, n_same == n_queries && n_hits > 0,
                "index: %zu searches of %zu found what grep finds in %zu files, %zu hits", n_same,
                n_queries, files->n_paths, n_hits);
    verdict_say(verdict, same(member_result(index, "refused"), "1"),
                "index: what did not fit was refused, and everybody went on");
}
