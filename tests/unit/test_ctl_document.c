/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_document.c - a text in memory is whole, or there is none
 */
#include "client/ctl/document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

/* 50 KB: the text grows a few times in the middle. */
#define N_LINES 10000

static void write_lines(struct document *document)
{
    for (unsigned i = 0; i < N_LINES; i++) {
        (void)fprintf(document->file, "%04u\n", i);
    }
}

static void expect_lines(const struct document *document)
{
    char line[8];
    assert_int_equal(document->n_bytes, N_LINES * 5);
    assert_int_equal(strlen(document->text), N_LINES * 5);
    for (unsigned i = 0; i < N_LINES; i++) {
        (void)snprintf(line, sizeof(line), "%04u\n", i);
        assert_memory_equal(document->text + (size_t)i * 5, line, 5);
    }
}

static void test_document_close_gives_what_was_written(void **state)
{
    struct document document;
    assert_int_equal(document_open(&document), 0);
    write_lines(&document);
    assert_int_equal(document_close(&document), 0);
    expect_lines(&document);
    free(document.text);
}

static void test_document_close_of_an_empty_one_is_an_empty_text(void **state)
{
    struct document document;
    assert_int_equal(document_open(&document), 0);
    assert_int_equal(document_close(&document), 0);
    assert_int_equal(document.n_bytes, 0);
    assert_string_equal(document.text, "");
    free(document.text);
}

/* open_memstream() gives a text that lacks a piece. */
static void test_document_close_gives_no_text_that_lacks_a_piece(void **state)
{
    struct document document;
    unsigned nth;
    for (nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        assert_int_equal(document_open(&document), 0);
        write_lines(&document);
        const int r = document_close(&document);
        if (fail_end()) {
            assert_int_equal(r, -ENOMEM);
            assert_null(document.text);
        } else {
            assert_int_equal(r, 0);
            expect_lines(&document);
            free(document.text);
        }
    }
    assert_true(nth > 3);
}

static void test_document_close_of_an_empty_one_without_memory(void **state)
{
    struct document document;
    assert_int_equal(document_open(&document), 0);
    fail_nth("memory", 1, ENOMEM);
    assert_int_equal(document_close(&document), -ENOMEM);
    assert_true(fail_end());
    assert_null(document.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_close_gives_what_was_written),
        cmocka_unit_test(test_document_close_of_an_empty_one_is_an_empty_text),
        cmocka_unit_test(test_document_close_gives_no_text_that_lacks_a_piece),
        cmocka_unit_test(test_document_close_of_an_empty_one_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
