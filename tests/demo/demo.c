/* SPDX-License-Identifier: MIT */
/*
 * demo BIN_DIRECTORY WORKER_DIRECTORY RECOUNT - kmemd at work, on texts that every Debian has
 *
 * Four processes with different jobs share one segment of 8 MiB. The conductor, which is this
 * program, is no member: it asks the daemon what the segment is used for and shows the answers. The
 * story, in which each step waits for its time or for what it says:
 *
 *      0.2 s  the reader takes the licence texts in
 *      1.0 s  the word counter, 1.5 s the phrase finder, 2.0 s the indexer begin
 *      indexer at 60 %: it gets SIGKILL; the daemon takes everything back; its obituary is shown
 *      1 s later its successor begins, and completes the work
 *      all hold their results: they are dismissed one after the other, and release everything
 *      the segment is empty; what was computed is computed again by other programs
 *
 * Exit status: 0 if everything that was checked holds, 1 if not, 130 when interrupted.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/cast.h"
#include "tests/demo/screen.h"
#include "tests/demo/snapshot.h"
#include "tests/demo/stage.h"
#include "tests/demo/verdict.h"

/* Small enough that the texts fill a good part of it, so that the bar moves. */
#define SEGMENT_SIZE "8MiB"
/* Half for the copyright files, half for everything else; 240 are indexed in two seconds. */
#define COPYRIGHTS_MAX 240
#define COPYRIGHTS_MAX_BYTES ((size_t)4 << 20)
/* The whole takes ten seconds, and some 60 under AddressSanitizer beside twenty busy processes. */
#define STORY_MAX_MS 600000

static char *queries[] = {
    "GNU General Public License",
    "Permission is hereby granted, free of charge",
    "The Regents of the University of California",
    "Redistribution and use in source and binary forms",
    "public domain",
};
#define N_QUERIES (sizeof(queries) / sizeof(queries[0]))

enum act {
    ACT_ENTER,    /* the cast enters, one after the other */
    ACT_MURDER,   /* the indexer is at work */
    ACT_MOURNING, /* its obituary is shown */
    ACT_WORK,     /* everybody works to the end */
    ACT_HOLD,     /* everything is done and in memory */
    ACT_LEAVE,    /* one after the other releases what it holds */
    ACT_OVER,
};

struct story {
    const char *recount; /* the path of tests/demo/recount */
    struct stage stage;
    struct screen screen;
    struct cast cast;
    struct kmem_query *query;
    struct inherited_fds licences;
    struct inherited_fds copyrights;
    enum act act;
    uint64_t act_began_us;
    struct member *reader;
    struct member *words;
    struct member *phrases;
    struct member *index; /* the one that works: the victim, then its successor */
    pid_t victim;
    struct farewell farewell;
    bool mourned;           /* the obituary came */
    size_t n_victim_blocks; /* the ledger still had of the victim then */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void catch_interrupts(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = interrupt};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* ------------------------------------------------------------------------------- the story ---- */

static uint64_t elapsed_ms(const struct story *story)
{
    return (now_us() - story->screen.began_us) / 1000;
}

static uint64_t act_ms(const struct story *story)
{
    return (now_us() - story->act_began_us) / 1000;
}

static void begin_act(struct story *story, enum act act)
{
    story->act = act;
    story->act_began_us = now_us();
}

static void hear(const struct member *member, const char *words, void *user)
{
    struct story *story = user;

    screen_event(&story->screen, false, "%s: %s", member->role, words);
}

/* Starts a worker on files, with other words before them. */
static struct member *enter(struct story *story, const char *role, char *const *words,
                            size_t n_words, const struct inherited_fds *files)
{
    char program[4096];
    char **argv = calloc(n_words + files->n_paths + 2, sizeof(char *));

    if (!argv) {
        perror("demo");
        exit(1);
    }
    snprintf(program, sizeof(program), "%s/demo-%s", story->stage.worker_directory, role);
    argv[0] = program;
    for (size_t i = 0; i < n_words; i++) {
        argv[1 + i] = words[i];
    }
    memcpy(argv + 1 + n_words, files->paths, files->n_paths * sizeof(char *));
    struct member *member = cast_start(&story->cast, role, argv);
    free(argv);
    return member;
}

static struct member *enter_index(struct story *story)
{
    char *words[N_QUERIES + 1];

    memcpy(words, queries, sizeof(queries));
    words[N_QUERIES] = "--";
    return enter(story, "index", words, N_QUERIES + 1, &story->copyrights);
}

static void act_enter(struct story *story)
{
    uint64_t at_ms = elapsed_ms(story);

    if (!story->reader && at_ms >= 200) {
        story->reader = enter(story, "reader", NULL, 0, &story->licences);
    } else if (!story->words && at_ms >= 1000) {
        story->words = enter(story, "words", NULL, 0, &story->licences);
    } else if (!story->phrases && at_ms >= 1500) {
        story->phrases = enter(story, "phrases", NULL, 0, &story->licences);
    } else if (at_ms >= 2000) {
        story->index = enter_index(story);
        begin_act(story, ACT_MURDER);
    }
}

static void act_murder(struct story *story)
{
    struct member *index = story->index;
    char bytes[16];

    if (index->n_progress * 10 < index->n_progress_of * 6 || index->n_progress == 0) {
        return;
    }
    uint64_t killed_us = now_us();
    cast_kill(index);
    story->victim = index->pid;
    story->mourned = farewell_wait(story->query, story->victim, killed_us, &story->farewell) == 0;
    story->n_victim_blocks = blocks_of(story->query, story->victim);
    screen_event(&story->screen, true, "kill -KILL %d: the indexer dies in the middle of its work",
                 (int)story->victim);
    kmem_query_format_bytes(story->farewell.num_bytes, bytes, sizeof(bytes));
    screen_event(&story->screen, false,
                 "obituary: %" PRIu64 " blocks, %s taken back within %.1f ms; most of it: %s",
                 story->farewell.n_blocks, bytes, (double)story->farewell.took_us / 1000,
                 story->farewell.reason);
    begin_act(story, ACT_MOURNING);
}

static bool all_hold(const struct story *story)
{
    return story->reader->state == MEMBER_HOLDS && story->words->state == MEMBER_HOLDS &&
           story->phrases->state == MEMBER_HOLDS && story->index->state == MEMBER_HOLDS;
}

static bool any_failed(const struct story *story)
{
    for (size_t i = 0; i < story->cast.n_members; i++) {
        if (story->cast.members[i].state == MEMBER_FAILED) {
            return true;
        }
    }
    return false;
}

static void act_leave(struct story *story)
{
    struct member *const order[] = {story->index, story->phrases, story->words, story->reader};

    for (size_t i = 0; i < 4; i++) {
        if (act_ms(story) >= i * 300) {
            cast_dismiss(order[i]);
        }
    }
    for (size_t i = 0; i < story->cast.n_members; i++) {
        if (member_runs(&story->cast.members[i])) {
            return;
        }
    }
    begin_act(story, ACT_OVER);
}

static void play(struct story *story)
{
    switch (story->act) {
    case ACT_ENTER:
        act_enter(story);
        break;
    case ACT_MURDER:
        act_murder(story);
        break;
    case ACT_MOURNING:
        if (act_ms(story) >= 1000) {
            story->index = enter_index(story);
            screen_event(&story->screen, false, "index: a successor begins");
            begin_act(story, ACT_WORK);
        }
        break;
    case ACT_WORK:
        if (all_hold(story)) {
            begin_act(story, ACT_HOLD);
        }
        break;
    case ACT_HOLD:
        if (act_ms(story) >= 600) {
            begin_act(story, ACT_LEAVE);
        }
        break;
    case ACT_LEAVE:
        act_leave(story);
        break;
    case ACT_OVER:
        break;
    }
}

static void paint(struct story *story)
{
    struct snapshot now;

    snapshot_take(story->query, &now);
    screen_paint(&story->screen, &now, &story->cast);
}

/* Return: whether the story came to its end. */
static bool tell_story(struct story *story)
{
    begin_act(story, ACT_ENTER);
    while (story->act != ACT_OVER) {
        if (interrupted || any_failed(story) || elapsed_ms(story) > STORY_MAX_MS) {
            return false;
        }
        if (screen_due(&story->screen)) {
            paint(story);
        }
        cast_listen(&story->cast, 20);
        play(story);
    }
    paint(story);
    return true;
}

/* ----------------------------------------------------------------------------- the verdict ---- */

static int show_command(const struct story *story, const char *word)
{
    printf("\n%s$ kmemctl %s%s\n", screen_tint(&story->screen, TINT_STRONG), word,
           screen_tint(&story->screen, TINT_NONE));
    fflush(stdout);
    return stage_run(&story->stage, "kmemctl", word);
}

static void judge_daemon(struct story *story, struct verdict *verdict, int reconciled)
{
    struct snapshot now;

    snapshot_take(story->query, &now);
    verdict_say(verdict,
                story->mourned && story->n_victim_blocks == 0 && count_deaths(story->query) == 1,
                "kmemd: one process died; the %" PRIu64 " blocks that it held were taken back",
                story->farewell.n_blocks);
    verdict_say(verdict,
                now.used_bytes == 0 && now.n_blocks == 0 && now.n_clients == 0 &&
                    now.free_bytes + now.overhead_bytes == now.segment_bytes &&
                    now.n_allocations == now.n_releases,
                "kmemd: the segment is empty; %" PRIu64
                " blocks were given out in all, and %" PRIu64 " were released or taken back",
                now.n_allocations, now.n_releases);
    verdict_say(verdict, reconciled == 0, "kmemd: kmemctl reconcile finds that all figures add up");
}

/* Return: the number of checks that failed. */
static unsigned int judge(struct story *story)
{
    struct verdict verdict = {.screen = &story->screen, .recount = story->recount};

    (void)show_command(story, "obituaries"); /* for the audience */
    (void)show_command(story, "usage");
    int reconciled = show_command(story, "reconcile");
    putchar('\n');
    verdict_reader(&verdict, story->reader, &story->licences);
    verdict_words(&verdict, story->words, &story->licences);
    verdict_phrases(&verdict, story->phrases, &story->licences);
    verdict_index(&verdict, story->index, queries, N_QUERIES, &story->copyrights);
    judge_daemon(story, &verdict, reconciled);
    return verdict.n_failed;
}

static void say_why_not(const struct story *story)
{
    for (size_t i = 0; i < story->cast.n_members; i++) {
        const struct member *member = &story->cast.members[i];
        if (member->state == MEMBER_FAILED) {
            printf("%s (pid %d) has failed\n", member->role, (int)member->pid);
        }
    }
    if (interrupted) {
        puts("interrupted");
    }
}

static int run(struct story *story)
{
    screen_open(&story->screen);
    screen_event(&story->screen, false, "%s", story->stage.ready);
    bool told = tell_story(story);
    screen_close(&story->screen);
    if (!told) {
        say_why_not(story);
        return interrupted ? 130 : 1;
    }
    return judge(story) == 0 ? 0 : 1;
}

static int open_story(struct story *story, char **argv)
{
    files_licences(&story->licences);
    files_copyrights(&story->copyrights, COPYRIGHTS_MAX, COPYRIGHTS_MAX_BYTES);
    if (story->licences.n_paths < 2 || story->copyrights.n_paths == 0) {
        fputs("demo: there are no texts in /usr/share/common-licenses and /usr/share/doc\n",
              stderr);
        return -1;
    }
    if (stage_open(&story->stage, argv[1], argv[2], SEGMENT_SIZE) < 0) {
        return -1;
    }
    if (kmem_query_open(NULL, &story->query) < 0) {
        fprintf(stderr, "demo: %s\n", kmem_last_error());
        return -1;
    }
    return 0;
}

/* What is told once; what exit() ends too, when the daemon does not answer any more. */
static struct story the_story;

static void leave_nothing_behind(void)
{
    screen_close(&the_story.screen);
    cast_end(&the_story.cast);
    (void)stage_close(&the_story.stage); /* main() has asked for the status where there was one */
}

static int close_story(struct story *story, int status)
{
    cast_end(&story->cast);
    story->query = kmem_query_close(story->query);
    int daemon_status = stage_close(&story->stage);
    files_free(&story->licences);
    files_free(&story->copyrights);
    if (daemon_status != 0 && status == 0) {
        printf("kmemd ended with status %d\n", daemon_status);
        status = 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    struct story *story = &the_story;
    int status = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: %s BIN_DIRECTORY WORKER_DIRECTORY RECOUNT\n", argv[0]);
        return 64;
    }
    story->recount = argv[3];
    story->cast.say = hear;
    story->cast.user = story;
    catch_interrupts();
    atexit(leave_nothing_behind);
    if (open_story(story, argv) == 0) {
        status = run(story);
    } else if (interrupted) {
        puts("interrupted");
        status = 130;
    }
    double took_s = (double)elapsed_ms(story) / 1000;
    status = close_story(story, status);
    if (status != 130) {
        printf("\n%s%s%s  %.1f s\n", screen_tint(&story->screen, status ? TINT_BAD : TINT_GOOD),
               status ? "FAIL" : "PASS", screen_tint(&story->screen, TINT_NONE), took_s);
    }
    return status;
}
