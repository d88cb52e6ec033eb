/* SPDX-License-Identifier: MIT */
/*
 * export_page.c - the tree of reasons as a page
 *
 * export.html is the page, but for what it shows: that stands where the page says "KMEM_DATA". Each
 * '<' in it is written as an escape of JSON, so that no reason can end the script that it is in.
 */
#include <stdlib.h>
#include <string.h>

#include "client/ctl/document.h"
#include "client/ctl/export.h"
#include "client/ctl/json.h"

static const char page[] = {
#include "client/ctl/export_page.inc"
};

#define MARK "KMEM_DATA"

static void add_node(struct json_row *data, const struct tree_node *node)
{
    struct json_row one;
    json_row_init(&one);
    json_row_number(&one, "level", node->level);
    json_row_text(&one, "name", node->path + node->name_at);
    json_row_text(&one, "reason", node->path);
    json_row_number(&one, "bytes", node->num_bytes);
    json_row_number(&one, "own", node->own_bytes);
    json_row_number(&one, "blocks", node->n_blocks);
    json_row_number(&one, "oldest", node->oldest_ms);
    json_row_append(data, "nodes", &one);
}

static void write_safely(const char *json, FILE *file)
{
    for (; *json; json++) {
        if (*json == '<') {
            (void)fputs("\\u003c", file);
        } else {
            (void)putc_unlocked(*json, file);
        }
    }
}

int export_page(const struct exported *exported, FILE *file)
{
    const struct tree *tree = exported->tree;
    const char *mark = strstr(page, MARK);
    struct document document;
    struct json_row data;
    int r = document_open(&document);
    if (r < 0) {
        return r;
    }
    json_row_init(&data);
    json_row_text(&data, "segment", exported->segment_name);
    json_row_number(&data, "taken_ms", exported->taken_ms);
    json_row_list(&data, "nodes");
    for (size_t i = tree->first; i != TREE_NONE; i = tree_next(tree, i, 0)) {
        add_node(&data, &tree->nodes[i]);
    }
    const int printed = json_row_print(&data, document.file);
    r = document_close(&document);
    r = printed < 0 ? printed : r;
    if (r == 0) {
        (void)fwrite(page, 1, (size_t)(mark - page), file);
        write_safely(document.text, file);
        (void)fputs(mark + strlen(MARK), file);
    }
    free(document.text);
    return r;
}
