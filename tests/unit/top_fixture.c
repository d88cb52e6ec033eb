/* SPDX-License-Identifier: MIT */
#include "tests/unit/top_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/fake_segment.h"
#include "tests/unit/unit.h"

struct kmem_query top_segment(const struct kmem_ledger_row *rows, size_t n_rows)
{
    struct kmem_query segment = fake_segment();
    segment.ledgers[KMEM_BY_REASON] = rows;
    segment.n_ledgers[KMEM_BY_REASON] = n_rows;
    return segment;
}

void top_answer(struct model *model, struct kmem_query segment, uint64_t now_ms)
{
    struct sample sample;
    sample_take(&sample, &segment, model->page, &model->filter, now_ms);
    assert_int_equal(sample.error, 0);
    assert_int_equal(model_take(model, &sample), 0);
    sample_fini(&sample);
    assert_true(live_tree_check(&model->tree));
}

enum model_answer top_press(struct model *model, uint32_t key)
{
    const enum model_answer answer = model_key(model, key, 20);
    assert_int_equal(model_arrange(model), 0);
    return answer;
}

void top_keys(struct model *model, const char *keys)
{
    for (; *keys; keys++) {
        (void)top_press(model, (unsigned char)*keys);
    }
}

char *top_screen(struct model *model, size_t n_columns, size_t n_lines)
{
    char *text = NULL;
    size_t n_bytes = 0;
    struct canvas canvas = {.max_columns = n_columns, .unicode = model->unicode};
    struct screen screen = {.file = open_memstream(&text, &n_bytes), .unicode = model->unicode};
    model_scroll(model, view_seen(n_lines));
    view_draw(model, n_lines, &canvas);
    assert_false(canvas.has_failed);
    canvas_print(&canvas, &screen);
    (void)fclose(screen.file);
    canvas_fini(&canvas);
    return text;
}

const char *top_line(const struct model *model, size_t line)
{
    static struct escaped label;
    assert_true(line < model->n_lines);
    label = node_label(model->lines[line], model->is_flat, model->unicode);
    return label.text;
}
