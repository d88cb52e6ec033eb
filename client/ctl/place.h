/* SPDX-License-Identifier: MIT */
/*
 * place.h - which byte of the segment is meant: PID:ADDRESS, OFFSET or HANDLE
 */
#ifndef CTL_PLACE_H
#define CTL_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include <kmem/query.h>

/* "/memfd:kmemd:NAME:segment (deleted)", as /proc/PID/maps has it, or a longer path. */
#define PLACE_NAME_BYTES 256

struct place {
    uint64_t offset;
    uint32_t pid; /* 0: it was no address */
    uint64_t address;
    char name[PLACE_NAME_BYTES]; /* what is mapped there */
};

/* One line of /proc/PID/maps. */
struct place_mapping {
    uint64_t begin;
    uint64_t end;
    uint64_t offset;
    char name[PLACE_NAME_BYTES]; /* "": no file's */
};

/** place_parse_mapping() - Return: whether it is such a line. */
bool place_parse_mapping(const char *line, struct place_mapping *ret_mapping);

/**
 * place_segment_of() - the segment's name, if that is what is mapped
 * @ret_name:  PLACE_NAME_BYTES
 * Return: false: it is something else.
 */
bool place_segment_of(const char *mapped, char *ret_name);

/**
 * place_find() - Says on stderr what is wrong with it.
 * Return: 0; STATUS_USAGE: it can not be meant; STATUS_ERROR, STATUS_NOT_PERMITTED: it is no byte
 * of this segment, or that can not be found out; or a negative errno of the query.
 */
int place_find(const char *text, struct kmem_query *query, struct place *ret_place);

#endif
