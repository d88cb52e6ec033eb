/* SPDX-License-Identifier: MIT */
#include "client/ctl/place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/status.h"

#define HANDLE_SCHEME "kmem://"
#define MEMFD "/memfd:kmemd:"
#define DELETED " (deleted)"

/* "4096" or "0x1000", all of the text up to the end. */
static bool parse_number(const char *text, const char *end, uint64_t *ret_number)
{
    const bool is_hex = strncmp(text, "0x", 2) == 0;
    const char *digits = is_hex ? text + 2 : text;
    char *stop;
    if (strspn(digits, is_hex ? "0123456789abcdefABCDEF" : "0123456789") == 0) {
        return false;
    }
    errno = 0;
    *ret_number = strtoull(digits, &stop, is_hex ? 16 : 10);
    return errno == 0 && stop == end;
}

/* -------------------------------------------------------------------------------- mappings ---- */

/* A hexadecimal number, and what stands behind it. Return: whether it is one. */
static bool take_hex(const char **at, char behind, uint64_t *ret_number)
{
    char *end;
    errno = 0;
    *ret_number = strtoull(*at, &end, 16);
    const bool is_number = errno == 0 && end > *at && *end == behind;
    *at = is_number ? end + 1 : *at;
    return is_number;
}

static const char *skip_word(const char *at)
{
    at += strcspn(at, " \n");
    return at + strspn(at, " ");
}

/* "begin-end permissions offset device inode   name" */
bool place_parse_mapping(const char *line, struct place_mapping *ret_mapping)
{
    const char *at = line;
    *ret_mapping = (struct place_mapping){.name = ""};
    if (!take_hex(&at, '-', &ret_mapping->begin) || !take_hex(&at, ' ', &ret_mapping->end)) {
        return false;
    }
    at = skip_word(at);
    if (!take_hex(&at, ' ', &ret_mapping->offset)) {
        return false;
    }
    at = skip_word(skip_word(at));
    const size_t n_bytes = strcspn(at, "\n");
    const size_t n_copied = n_bytes < PLACE_NAME_BYTES ? n_bytes : PLACE_NAME_BYTES - 1;
    memcpy(ret_mapping->name, at, n_copied);
    ret_mapping->name[n_copied] = '\0';
    return true;
}

bool place_segment_of(const char *mapped, char *ret_name)
{
    const char *name = mapped + strlen(MEMFD);
    if (strncmp(mapped, MEMFD, strlen(MEMFD)) != 0) {
        return false;
    }
    const size_t n_bytes = strcspn(name, ":");
    const char *kind = name + n_bytes;
    if (strncmp(kind, ":segment", strlen(":segment")) != 0) {
        return false;
    }
    kind += strlen(":segment");
    memcpy(ret_name, name, n_bytes);
    ret_name[n_bytes] = '\0';
    return *kind == '\0' || strcmp(kind, DELETED) == 0;
}

static int complain_of_process(uint32_t pid, const char *path, int error)
{
    (void)fprintf(stderr,
                  error == ENOENT ? "kmemctl why: there is no process %u: %s: %s\n"
                                  : "kmemctl why: what process %u maps can not be read, which its "
                                    "user and root may do: %s: %s\n",
                  pid, path, strerror(error));
    return error == ENOENT ? STATUS_ERROR : STATUS_NOT_PERMITTED;
}

/* The mapping that an address lies in. Return: 0, or a status. */
static int mapping_find(uint32_t pid, uint64_t address, struct place_mapping *ret_mapping)
{
    char path[32];
    char *line = NULL;
    size_t capacity = 0;
    bool is_found = false;
    (void)snprintf(path, sizeof(path), "/proc/%u/maps", pid); /* fits */
    FILE *file = fopen(path, "re");
    if (!file) {
        return complain_of_process(pid, path, errno);
    }
    while (!is_found && getline(&line, &capacity, file) > 0) {
        is_found = place_parse_mapping(line, ret_mapping) && address >= ret_mapping->begin &&
                   address < ret_mapping->end;
    }
    const int error = ferror(file) ? errno : 0;
    free(line);
    (void)fclose(file); /* it was read */
    if (error) {
        return complain_of_process(pid, path, error);
    }
    if (!is_found) {
        (void)fprintf(stderr, "kmemctl why: process %u has no memory at 0x%" PRIx64 "\n", pid,
                      address);
    }
    return is_found ? 0 : STATUS_ERROR;
}

static int note_name(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                     void *user)
{
    (void)statistic;
    (void)snprintf(user, PLACE_NAME_BYTES, "%s", daemon->segment_name);
    return 1; /* that is all */
}

/* It is the segment of the daemon that is asked. */
static int mapping_check(const struct place *place, struct kmem_query *query)
{
    char name[PLACE_NAME_BYTES];
    char asked[PLACE_NAME_BYTES] = "";
    const struct escaped mapped = format_escaped(place->name);
    if (!place_segment_of(place->name, name)) {
        const bool is_ledger = strncmp(place->name, MEMFD, strlen(MEMFD)) == 0;
        (void)fprintf(stderr,
                      "kmemctl why: 0x%" PRIx64 " in process %u is no byte of a segment: it is %s "
                      "%s%s\n",
                      place->address, place->pid,
                      is_ledger      ? "bookkeeping of kmemd's, mapped from"
                      : *place->name ? "mapped from"
                                     : "memory of its own",
                      mapped.text, *place->name ? "" : "(stack, heap or anonymous)");
        return STATUS_ERROR;
    }
    const int r = kmem_query_usage(query, note_name, asked);
    if (r < 0) {
        return r;
    }
    if (strcmp(name, asked) != 0) {
        (void)fprintf(stderr,
                      "kmemctl why: 0x%" PRIx64 " in process %u is of segment \"%s\", and segment "
                      "\"%s\" is asked; say --segment %s\n",
                      place->address, place->pid, format_escaped(name).text,
                      format_escaped(asked).text, format_escaped(name).text);
        return STATUS_ERROR;
    }
    return 0;
}

static int find_address(struct place *place, struct kmem_query *query)
{
    struct place_mapping mapping;
    int r = mapping_find(place->pid, place->address, &mapping);
    if (r) {
        return r;
    }
    memcpy(place->name, mapping.name, sizeof(place->name));
    place->offset = mapping.offset + (place->address - mapping.begin);
    return mapping_check(place, query);
}

/* --------------------------------------------------------------------------------- handles ---- */

/* kmem://HOST/SEGMENT/OFFSET+SIZE@GENERATION/TAG */
static bool parse_handle(const char *text, uint64_t *ret_offset, uint64_t *ret_generation)
{
    const char *at = text + strlen(HANDLE_SCHEME);
    for (int i = 0; at && i < 2; i++) {
        at = strchr(at, '/');
        at = at ? at + 1 : NULL;
    }
    const char *plus = at ? strchr(at, '+') : NULL;
    const char *sign = plus ? strchr(plus, '@') : NULL;
    const char *slash = sign ? strchr(sign, '/') : NULL;
    uint64_t num_bytes;
    return slash && slash[1] && parse_number(at, plus, ret_offset) &&
           parse_number(plus + 1, sign, &num_bytes) &&
           parse_number(sign + 1, slash, ret_generation);
}

static int note_generation(const struct kmem_holder *holder, void *user)
{
    *(uint64_t *)user = holder->generation;
    return 0;
}

/* At the same offset there may be another block by now. */
static int find_handle(const char *text, struct kmem_query *query, struct place *place)
{
    uint64_t generation = 0;
    uint64_t present = 0;
    if (!parse_handle(text, &place->offset, &generation)) {
        (void)fprintf(stderr,
                      "kmemctl why: a handle is kmem://HOST/SEGMENT/OFFSET+SIZE@GENERATION/TAG, "
                      "not \"%s\"\n",
                      format_escaped(text).text);
        return STATUS_USAGE;
    }
    const int r = kmem_query_holders(query, place->offset, note_generation, &present);
    if (r == 0 && present != generation) {
        (void)fprintf(stderr,
                      "kmemctl why: the handle's block is gone; \"kmemctl why %" PRIu64
                      "\" says what is in its place\n",
                      place->offset);
        return STATUS_ERROR;
    }
    return r;
}

int place_find(const char *text, struct kmem_query *query, struct place *ret_place)
{
    struct place *place = ret_place;
    uint64_t pid = 0;
    const char *colon = strchr(text, ':');
    const char *end = text + strlen(text);
    *place = (struct place){.offset = 0};
    if (strncmp(text, HANDLE_SCHEME, strlen(HANDLE_SCHEME)) == 0) {
        return find_handle(text, query, place);
    }
    if (!colon && parse_number(text, end, &place->offset)) {
        return 0;
    }
    if (colon && parse_number(text, colon, &pid) && pid > 0 && pid <= INT32_MAX &&
        parse_number(colon + 1, end, &place->address)) {
        place->pid = (uint32_t)pid;
        return find_address(place, query);
    }
    (void)fprintf(stderr,
                  "kmemctl why: \"%s\" is no byte; it takes PID:ADDRESS, as 4711:0x7f0012340000, "
                  "OFFSET, as 0x4000 or 16384, or HANDLE, as kmem://...\n",
                  format_escaped(text).text);
    return STATUS_USAGE;
}
