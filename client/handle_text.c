/* SPDX-License-Identifier: MIT */
#include "client/handle_text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "kmem://"
#define TAG_DIGITS 16

size_t kmem__handle_print(const struct handle_text *handle, char *text, size_t text_bytes)
{
    const struct share_handle *of = &handle->handle;
    const int n =
        snprintf(text, text_bytes, SCHEME "%s/%s/%" PRIu64 "+%" PRIu64 "@%" PRIu64 "/%0*" PRIx64,
                 handle->host, handle->segment, of->offset, of->num_bytes, of->generation,
                 TAG_DIGITS, of->tag);
    return n > 0 ? (size_t)n : 0;
}

/* What is read of a text: what is left, and why it does not go on. */
struct parse {
    const char *at;
    const char *wanted; /* NULL: all is well so far */
};

static void parse_fail(struct parse *parse, const char *wanted)
{
    parse->wanted = parse->wanted != NULL ? parse->wanted : wanted;
}

static void parse_literal(struct parse *parse, const char *literal, const char *wanted)
{
    while (parse->wanted == NULL && *literal != '\0') {
        if (*parse->at != *literal) {
            parse_fail(parse, wanted);
            return;
        }
        parse->at++;
        literal++;
    }
}

/* Letters, digits, '.', '_' and '-', which are what names of hosts and segments are made of. */
static void parse_name(struct parse *parse, char *name, size_t max_bytes, const char *wanted)
{
    size_t n = 0;
    while (parse->wanted == NULL && n < max_bytes &&
           (isalnum((unsigned char)*parse->at) || strchr("._-", *parse->at) != NULL) &&
           *parse->at != '\0') {
        name[n++] = *parse->at++;
    }
    name[n] = '\0';
    if (n == 0) {
        parse_fail(parse, wanted);
    }
}

static void parse_number(struct parse *parse, uint64_t *ret_number, const char *wanted)
{
    uint64_t number = 0;
    if (parse->wanted != NULL || *parse->at < '1' || *parse->at > '9') {
        parse_fail(parse, wanted);
        return;
    }
    while (*parse->at >= '0' && *parse->at <= '9') {
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*parse->at - '0'), &number)) {
            parse_fail(parse, "a number below 2^64");
            return;
        }
        parse->at++;
    }
    *ret_number = number;
}

static void parse_tag(struct parse *parse, uint64_t *ret_tag)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t tag = 0;
    for (int i = 0; i < TAG_DIGITS && parse->wanted == NULL; i++) {
        const char *digit = *parse->at != '\0' ? strchr(digits, *parse->at) : NULL;
        if (digit == NULL) {
            parse_fail(parse, "a tag of 16 digits 0 to f");
            return;
        }
        tag = tag << 4 | (uint64_t)(digit - digits);
        parse->at++;
    }
    *ret_tag = tag;
}

int kmem__handle_parse(const char *text, struct handle_text *ret_handle, struct failure *failure)
{
    struct handle_text handle = {.host = ""};
    struct parse parse = {.at = text};
    parse_literal(&parse, SCHEME, "\"" SCHEME "\"");
    parse_name(&parse, handle.host, HOST_MAX_BYTES, "a host's name");
    parse_literal(&parse, "/", "'/'");
    parse_name(&parse, handle.segment, NAME_MAX_BYTES, "a segment's name");
    parse_literal(&parse, "/", "'/'");
    parse_number(&parse, &handle.handle.offset, "an offset, in decimal");
    parse_literal(&parse, "+", "'+'");
    parse_number(&parse, &handle.handle.num_bytes, "a size, in decimal");
    parse_literal(&parse, "@", "'@'");
    parse_number(&parse, &handle.handle.generation, "a generation, in decimal");
    parse_literal(&parse, "/", "'/'");
    parse_tag(&parse, &handle.handle.tag);
    if (parse.wanted == NULL && *parse.at != '\0') {
        parse_fail(&parse, "the end");
    }
    if (parse.wanted != NULL) {
        const int r = kmem__failure_set(failure, EINVAL, "\"");
        kmem__failure_add_foreign(failure, text);
        kmem__failure_add(failure,
                          "\" is no handle: where its byte %zu is, should be %s; a handle reads "
                          "kmem://host/segment/offset+size@generation/tag",
                          (size_t)(parse.at - text), parse.wanted);
        return r;
    }
    *ret_handle = handle;
    return 0;
}
