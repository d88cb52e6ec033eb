/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "client/ctl/export.h"
#include "client/ctl/format.h"

/* Levels are what '/' makes them, as in the tree; one that is empty is a blank. */
static void write_levels(const struct tree *tree, size_t index, FILE *file)
{
    size_t above[KMEM_REASON_MAX_BYTES + 1];
    size_t n_above = 0;
    for (size_t i = index; i != TREE_NONE; i = tree->nodes[i].parent) {
        above[n_above++] = i;
    }
    while (n_above > 0) {
        const struct tree_node *node = &tree->nodes[above[--n_above]];
        struct escaped level = format_escaped(node->path + node->name_at);
        for (char *at = strchr(level.text, ';'); at; at = strchr(at, ';')) {
            *at = ':';
        }
        (void)fprintf(file, "%s%s", *level.text ? level.text : " ", n_above > 0 ? ";" : "");
    }
}

int export_folded(const struct exported *exported, FILE *file)
{
    const struct tree *tree = exported->tree;
    for (size_t i = tree->first; i != TREE_NONE; i = tree_next(tree, i, 0)) {
        if (tree->nodes[i].own_bytes > 0) {
            write_levels(tree, i, file);
            (void)fprintf(file, " %" PRIu64 "\n", tree->nodes[i].own_bytes);
        }
    }
    return 0;
}
