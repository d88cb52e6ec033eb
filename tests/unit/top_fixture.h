/* SPDX-License-Identifier: MIT */
/*
 * top_fixture.h - a model of top that a segment of a table answers
 */
#ifndef TESTS_UNIT_TOP_FIXTURE_H
#define TESTS_UNIT_TOP_FIXTURE_H

#include "client/ctl/top/model.h"
#include "client/ctl/top/view.h"
#include "tests/unit/fake_query.h"

#define TOP_KIB UINT64_C(1024)
#define TOP_MIB UINT64_C(1048576)

/** top_segment() - a segment whose ledger by reason has these rows */
struct kmem_query top_segment(const struct kmem_ledger_row *rows, size_t n_rows);

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
#define SEGMENT(rows) top_segment(rows, N_ELEMENTS(rows))

/** top_answer() - let the segment answer what the model shows, at that time */
void top_answer(struct model *model, struct kmem_query segment, uint64_t now_ms);

/** top_keys() - press keys, each a character, as on a screen of 20 lines */
void top_keys(struct model *model, const char *keys);

/** top_press() - press one of enum model_key. Return: what it asks for. */
enum model_answer top_press(struct model *model, uint32_t key);

/** top_screen() - the screen as text, to be freed; n_lines 0: as batch mode has it */
char *top_screen(struct model *model, size_t n_columns, size_t n_lines);

/** top_line() - what a line shows: the last column; valid until the next call */
const char *top_line(const struct model *model, size_t line);

#endif
