/* SPDX-License-Identifier: MIT */
/*
 * export_profile.c - the tree of reasons as a profile of pprof
 *
 * A node of the tree is a function, called by the node above it, and a reason with blocks is a
 * sample: the nodes from its own up are its stack, its blocks and bytes the values. A function has
 * the whole reason as its name: pprof takes those of one name for one. Node i is location and
 * function i + 1, since 0 is none. All messages lie in arrays that are allocated at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "client/ctl/export.h"
#include "client/ctl/profile.pb-c.h"

/* Places in the string table; the reasons follow. */
enum string {
    STRING_EMPTY,
    STRING_BLOCKS, /* what pprof's own heap profiles call them, so that its options mean them */
    STRING_COUNT,
    STRING_SPACE,
    STRING_BYTES,
    STRING_COMMENT,
    N_STRINGS,
};

#define N_TYPES 2

struct profile {
    Perftools__Profiles__Profile message;
    Perftools__Profiles__ValueType types[N_TYPES];
    Perftools__Profiles__ValueType *type_pointers[N_TYPES];
    Perftools__Profiles__Sample *samples;
    Perftools__Profiles__Sample **sample_pointers;
    Perftools__Profiles__Location *locations;
    Perftools__Profiles__Location **location_pointers;
    Perftools__Profiles__Line *lines;
    Perftools__Profiles__Line **line_pointers;
    Perftools__Profiles__Function *functions;
    Perftools__Profiles__Function **function_pointers;
    int64_t (*values)[N_TYPES]; /* of each sample */
    uint64_t *stacks;           /* of all samples, one after the other */
    char **strings;
    int64_t comments[1];
    char comment[256];
};

static void profile_fini(struct profile *profile)
{
    free(profile->samples);
    free(profile->sample_pointers);
    free(profile->locations);
    free(profile->location_pointers);
    free(profile->lines);
    free(profile->line_pointers);
    free(profile->functions);
    free(profile->function_pointers);
    free(profile->values);
    free(profile->stacks);
    free(profile->strings);
}

static size_t n_levels_of_all(const struct tree *tree)
{
    size_t n_levels = 1;
    for (size_t i = 0; i < tree->n_nodes; i++) {
        n_levels += tree->nodes[i].level;
    }
    return n_levels;
}

static int profile_allocate(struct profile *profile, const struct tree *tree)
{
    const size_t n = tree->n_nodes + 1; /* of 0 there would be no array */
    profile->samples = calloc(n, sizeof(*profile->samples));
    profile->sample_pointers = calloc(n, sizeof(*profile->sample_pointers));
    profile->locations = calloc(n, sizeof(*profile->locations));
    profile->location_pointers = calloc(n, sizeof(*profile->location_pointers));
    profile->lines = calloc(n, sizeof(*profile->lines));
    profile->line_pointers = calloc(n, sizeof(*profile->line_pointers));
    profile->functions = calloc(n, sizeof(*profile->functions));
    profile->function_pointers = calloc(n, sizeof(*profile->function_pointers));
    profile->values = calloc(n, sizeof(*profile->values));
    profile->stacks = calloc(n_levels_of_all(tree), sizeof(*profile->stacks));
    profile->strings = calloc(n + N_STRINGS, sizeof(*profile->strings));
    const bool is_there = profile->samples && profile->sample_pointers && profile->locations &&
                          profile->location_pointers && profile->lines && profile->line_pointers &&
                          profile->functions && profile->function_pointers && profile->values &&
                          profile->stacks && profile->strings;
    return is_there ? 0 : -ENOMEM;
}

/* ----------------------------------------------------------------------------------- parts ---- */

static void add_type(struct profile *profile, enum string type, enum string unit)
{
    Perftools__Profiles__Profile *message = &profile->message;
    Perftools__Profiles__ValueType *added = &profile->types[message->n_sample_type];
    perftools__profiles__value_type__init(added);
    added->type = type;
    added->unit = unit;
    profile->type_pointers[message->n_sample_type++] = added;
}

static void add_level(struct profile *profile, const struct tree *tree, size_t index)
{
    perftools__profiles__function__init(&profile->functions[index]);
    perftools__profiles__line__init(&profile->lines[index]);
    perftools__profiles__location__init(&profile->locations[index]);
    profile->functions[index].id = index + 1;
    profile->functions[index].name = (int64_t)(N_STRINGS + index);
    profile->lines[index].function_id = index + 1;
    profile->locations[index].id = index + 1;
    profile->locations[index].n_line = 1;
    profile->locations[index].line = &profile->line_pointers[index];
    profile->function_pointers[index] = &profile->functions[index];
    profile->line_pointers[index] = &profile->lines[index];
    profile->location_pointers[index] = &profile->locations[index];
    profile->strings[N_STRINGS + index] = tree->nodes[index].path;
}

/* Return: what of the stacks' room is left. */
static uint64_t *add_sample(struct profile *profile, const struct tree *tree, size_t index,
                            uint64_t *stack)
{
    const size_t at = profile->message.n_sample++;
    Perftools__Profiles__Sample *sample = &profile->samples[at];
    perftools__profiles__sample__init(sample);
    profile->values[at][0] = (int64_t)tree->nodes[index].own_blocks;
    profile->values[at][1] = (int64_t)tree->nodes[index].own_bytes;
    sample->n_value = N_TYPES;
    sample->value = profile->values[at];
    sample->location_id = stack;
    for (size_t i = index; i != TREE_NONE; i = tree->nodes[i].parent) {
        stack[sample->n_location_id++] = i + 1;
    }
    profile->sample_pointers[at] = sample;
    return stack + sample->n_location_id;
}

static void add_strings(struct profile *profile, const struct exported *exported)
{
    static char empty[] = "";
    static char blocks[] = "inuse_objects";
    static char count[] = "count";
    static char space[] = "inuse_space";
    static char bytes[] = "bytes";
    (void)snprintf(profile->comment, sizeof(profile->comment), "live blocks of the segment \"%s\"",
                   exported->segment_name);
    profile->strings[STRING_EMPTY] = empty;
    profile->strings[STRING_BLOCKS] = blocks;
    profile->strings[STRING_COUNT] = count;
    profile->strings[STRING_SPACE] = space;
    profile->strings[STRING_BYTES] = bytes;
    profile->strings[STRING_COMMENT] = profile->comment;
}

static void profile_fill(struct profile *profile, const struct exported *exported)
{
    const struct tree *tree = exported->tree;
    Perftools__Profiles__Profile *message = &profile->message;
    uint64_t *stack = profile->stacks;
    add_strings(profile, exported);
    add_type(profile, STRING_BLOCKS, STRING_COUNT);
    add_type(profile, STRING_SPACE, STRING_BYTES);
    for (size_t i = 0; i < tree->n_nodes; i++) {
        add_level(profile, tree, i);
        stack = tree->nodes[i].own_blocks > 0 ? add_sample(profile, tree, i, stack) : stack;
    }
    message->sample_type = profile->type_pointers;
    message->sample = profile->sample_pointers;
    message->n_location = tree->n_nodes;
    message->location = profile->location_pointers;
    message->n_function = tree->n_nodes;
    message->function = profile->function_pointers;
    message->n_string_table = N_STRINGS + tree->n_nodes;
    message->string_table = profile->strings;
    message->time_nanos = (int64_t)(exported->taken_ms * 1000000);
    message->default_sample_type = STRING_SPACE;
    profile->comments[0] = STRING_COMMENT;
    message->n_comment = 1;
    message->comment = profile->comments;
}

/* --------------------------------------------------------------------------------- writing ---- */

/* What is written to the file behind the stream's back, from where the stream is. */
static int write_gzip(const uint8_t *bytes, size_t n_bytes, FILE *file)
{
    if (n_bytes > UINT32_MAX / 2 || fflush(file) != 0) {
        return n_bytes > UINT32_MAX / 2 ? -EFBIG : -errno;
    }
    const int fd = dup(fileno(file));
    gzFile zip = fd < 0 ? NULL : gzdopen(fd, "wb");
    if (!zip) {
        const int error = fd < 0 ? errno : ENOMEM;
        if (fd >= 0) {
            (void)close(fd);
        }
        return -error;
    }
    errno = EIO;
    const int n_written = gzwrite(zip, bytes, (unsigned)n_bytes);
    const int write_error = errno;
    const int closed = gzclose(zip);
    if (n_written != (int)n_bytes) {
        return -write_error;
    }
    return closed == Z_OK ? 0 : -errno;
}

int export_profile(const struct exported *exported, FILE *file)
{
    struct profile profile = {.message = PERFTOOLS__PROFILES__PROFILE__INIT};
    uint8_t *bytes = NULL;
    int r = profile_allocate(&profile, exported->tree);
    if (r == 0) {
        profile_fill(&profile, exported);
        bytes = malloc(perftools__profiles__profile__get_packed_size(&profile.message));
        r = bytes ? 0 : -ENOMEM;
    }
    if (r == 0) {
        r = write_gzip(bytes, perftools__profiles__profile__pack(&profile.message, bytes), file);
    }
    free(bytes);
    profile_fini(&profile);
    return r;
}
