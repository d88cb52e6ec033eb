/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_tree.c - the hierarchy of reasons, beside what folding them to each level says
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/tree.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

static void add(struct groups *groups, const char *reason, uint64_t n_blocks, uint64_t num_bytes)
{
    const struct kmem_ledger_row row = {reason, n_blocks, num_bytes, num_bytes, 0, 0};
    assert_int_equal(groups_add(&row, groups), 0);
}

/* The walk, a node a line: level, reason, bytes, own bytes. */
static void assert_walk(const struct tree *tree, unsigned n_levels, const char *wanted)
{
    char text[4096] = "";
    char *end = text;
    for (size_t i = tree->first; i != TREE_NONE; i = tree_next(tree, i, n_levels)) {
        const struct tree_node *node = &tree->nodes[i];
        end += sprintf(end, "%u %s %d %d%s\n", node->level, node->path, (int)node->num_bytes,
                       (int)node->own_bytes, node->is_last ? " ." : "");
    }
    assert_string_equal(text, wanted);
}

static void test_tree_has_each_level_with_all_below_it(void **state)
{
    struct groups groups = {0};
    struct tree tree;
    add(&groups, "video/capture", 2, 100);
    add(&groups, "video-x", 1, 500);
    add(&groups, "video/index/a", 1, 30);
    add(&groups, "audio", 1, 40);
    add(&groups, "video", 1, 5);
    add(&groups, "video/index/b", 1, 50);
    assert_int_equal(tree_init(&tree, &groups), 0);
    assert_walk(&tree, 0,
                "1 video-x 500 500\n1 video 185 5\n2 video/capture 100 100\n"
                "2 video/index 80 0 .\n3 video/index/b 50 50\n3 video/index/a 30 30 .\n"
                "1 audio 40 40 .\n");
    assert_walk(&tree, 1, "1 video-x 500 500\n1 video 185 5\n1 audio 40 40 .\n");
    tree_fini(&tree);
    groups_fini(&groups);
}

static void test_tree_takes_every_text_for_a_reason(void **state)
{
    struct groups groups = {0};
    struct tree tree;
    add(&groups, "", 1, 1);
    add(&groups, "/", 1, 2);
    add(&groups, "/a", 1, 3);
    add(&groups, "/a/b", 1, 4);
    add(&groups, "a//b", 1, 5);
    add(&groups, "a/", 1, 6);
    assert_int_equal(tree_init(&tree, &groups), 0);
    assert_walk(&tree, 0,
                "1 a 11 0\n2 a/ 11 6 .\n3 a//b 5 5 .\n1 /a 7 3\n2 /a/b 4 4 .\n1 / 2 2\n"
                "1  1 1 .\n");
    tree_fini(&tree);
    groups_fini(&groups);
}

static void test_tree_of_nothing_has_no_walk(void **state)
{
    struct groups groups = {0};
    struct tree tree;
    assert_int_equal(tree_init(&tree, &groups), 0);
    assert_true(tree.first == TREE_NONE);
    tree_fini(&tree);
}

static void add_at_random(struct groups *groups, struct seeded *random)
{
    char reason[64];
    char *end = reason;
    const uint32_t n_levels = 1 + seeded_below(random, 5);
    for (uint32_t i = 0; i < n_levels; i++) {
        end = stpcpy(end, i > 0 ? "/" : "");
        *end++ = "ab-"[seeded_below(random, 3)];
        *end = '\0';
    }
    add(groups, reason, 1 + seeded_below(random, 9), seeded_below(random, 1000));
}

/* At each level the nodes are the groups of the ledger with that depth. */
static void test_tree_says_at_each_level_what_the_folded_ledger_says(void **state)
{
    struct seeded random = {.state = 20261130};
    struct groups groups = {0};
    struct tree tree;
    for (int i = 0; i < 500; i++) {
        add_at_random(&groups, &random);
    }
    groups_join(&groups);
    assert_int_equal(tree_init(&tree, &groups), 0);
    for (unsigned level = 5; level >= 1; level--) {
        struct groups at_level = {0};
        for (size_t i = 0; i < tree.n_nodes; i++) {
            const struct tree_node *node = &tree.nodes[i];
            if (node->level == level || (node->level < level && node->own_blocks > 0)) {
                const bool is_whole = node->level == level;
                add(&at_level, node->path, is_whole ? node->n_blocks : node->own_blocks,
                    is_whole ? node->num_bytes : node->own_bytes);
            }
        }
        groups_join(&at_level);
        groups_fold(&groups, level);
        assert_int_equal(at_level.n_groups, groups.n_groups);
        for (size_t i = 0; i < groups.n_groups; i++) {
            assert_string_equal(at_level.groups[i].key, groups.groups[i].key);
            assert_int_equal(at_level.groups[i].num_bytes, groups.groups[i].num_bytes);
            assert_int_equal(at_level.groups[i].n_blocks, groups.groups[i].n_blocks);
        }
        groups_fini(&at_level);
    }
    tree_fini(&tree);
    groups_fini(&groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_has_each_level_with_all_below_it),
        cmocka_unit_test(test_tree_takes_every_text_for_a_reason),
        cmocka_unit_test(test_tree_of_nothing_has_no_walk),
        cmocka_unit_test(test_tree_says_at_each_level_what_the_folded_ledger_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
