/* SPDX-License-Identifier: MIT */
#include "tests/support/model.h"

#include <stdio.h>
#include <string.h>

struct model_client *model_client(struct model *model, uint32_t pid)
{
    for (uint32_t i = 0; i < model->n_clients; i++) {
        if (model->clients[i].pid == pid) {
            return &model->clients[i];
        }
    }
    return NULL;
}

struct model_client *model_client_add(struct model *model, uint32_t pid, struct client *client)
{
    struct model_client *const added = &model->clients[model->n_clients++];
    *added = (struct model_client){.pid = pid, .client = client};
    return added;
}

/* Numbers of reasons that differ in their detail alone are four in a row; 0 is no reason. */
static bool same_group(uint32_t a, uint32_t b)
{
    return a == b || (a != 0 && b != 0 && a / 4 == b / 4);
}

/* How many groups the blocks of a client are in. */
static uint32_t model_n_reasons(const struct model *model, uint32_t pid)
{
    uint32_t n_reasons = 0;
    for (uint32_t i = 0; i < model->n_blocks; i++) {
        bool known = model->blocks[i].pid != pid;
        for (uint32_t j = 0; j < i && !known; j++) {
            known = model->blocks[j].pid == pid &&
                    same_group(model->blocks[j].reason, model->blocks[i].reason);
        }
        n_reasons += !known;
    }
    return n_reasons;
}

void model_client_end(struct model *model, struct model_client *client, bool left)
{
    client->ended = true;
    client->left = left;
    client->n_blocks_left = client->n_blocks + client->n_leased_blocks;
    client->num_bytes_left = client->num_bytes + client->leased_bytes;
    client->n_reasons_left = model_n_reasons(model, client->pid);
}

void model_client_remove(struct model *model, struct model_client *client)
{
    *client = model->clients[--model->n_clients];
}

struct model_block *model_block(struct model *model, uint64_t offset)
{
    for (uint32_t i = 0; i < model->n_blocks; i++) {
        if (model->blocks[i].offset == offset) {
            return &model->blocks[i];
        }
    }
    return NULL;
}

struct model_block *model_block_around(struct model *model, uint64_t offset)
{
    for (uint32_t i = 0; i < model->n_blocks; i++) {
        if (!model->blocks[i].leased &&
            offset - model->blocks[i].offset < model->blocks[i].num_bytes) {
            return &model->blocks[i];
        }
    }
    return NULL;
}

void model_client_note_peak(struct model_client *client)
{
    const uint64_t charged_bytes = client->num_bytes + client->leased_pages * PAGE_BYTES;
    client->peak_bytes = charged_bytes > client->peak_bytes ? charged_bytes : client->peak_bytes;
}

/* Once more, or, with UINT64_MAX, once less. */
static void model_count(struct model *model, const struct model_block *block, uint64_t times)
{
    struct model_client *client = model_client(model, block->pid);
    if (block->leased) {
        client->n_leased_blocks += times;
        client->leased_bytes += times * block->num_bytes;
        model->leased_bytes += times * block->num_bytes;
        return;
    }
    client->n_blocks += times;
    client->num_bytes += times * block->num_bytes;
    model->n_direct_blocks += (uint32_t)times;
    model->used_bytes += times * block->num_bytes;
}

bool model_block_add(struct model *model, const struct model_block *block, uint64_t segment_bytes)
{
    const uint64_t end = block->offset + block->num_bytes;
    if (block->offset < PAGE_BYTES || end > segment_bytes) {
        return false;
    }
    for (uint32_t i = 0; i < model->n_blocks; i++) {
        const struct model_block *other = &model->blocks[i];
        if (block->offset < other->offset + other->num_bytes && other->offset < end) {
            return false;
        }
    }
    model->blocks[model->n_blocks++] = *block;
    model_count(model, block, 1);
    model_client_note_peak(model_client(model, block->pid));
    return true;
}

void model_block_remove(struct model *model, struct model_block *block)
{
    model_count(model, block, UINT64_MAX);
    *block = model->blocks[--model->n_blocks];
}

bool model_room(const struct core *core, uint64_t num_bytes)
{
    const uint64_t n_wanted = (num_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    const struct ledger_head *heads = core->state.ledger.heads;
    for (uint32_t page = 0; page < core->state.n_pages;) {
        const uint64_t word = atomic_load(&core->state.page_words[page]);
        if (PAGE_WORD_STATE(word) == PAGE_FREE && PAGE_WORD_PAGES(word) >= n_wanted) {
            return true;
        }
        if (PAGE_WORD_STATE(word) == PAGE_DIRECT && atomic_load(&heads[page].kind) == HEAD_SLAB) {
            const struct size_class *size_class = &size_classes[heads[page].size_class];
            if (size_class->block_bytes >= num_bytes && heads[page].n_used < size_class->n_blocks) {
                return true;
            }
        }
        page += PAGE_WORD_PAGES(word);
    }
    return false;
}

static bool block_equals(const struct core *core, const struct model_block *block,
                         const struct model_client *client)
{
    struct block found;
    const struct seg_off off = {block->offset};
    if (direct_find(&core->direct, client->client, off, &found)) {
        return false;
    }
    size_t n_bytes;
    const char *text = reasons_text(&core->reasons, found.reason, &n_bytes);
    const char *wanted = model_reason(block->reason);
    return found.num_bytes == block->num_bytes && found.born == block->born &&
           found.off.bytes == block->offset && n_bytes == strlen(wanted) &&
           memcmp(text, wanted, n_bytes) == 0;
}

bool model_blocks_equal(struct model *model, const struct core *core)
{
    for (uint32_t i = 0; i < model->n_blocks; i++) {
        const struct model_block *block = &model->blocks[i];
        if (!block->leased && !block_equals(core, block, model_client(model, block->pid))) {
            printf("the block at %llu differs\n", (unsigned long long)block->offset);
            return false;
        }
    }
    for (uint32_t i = 0; i < model->n_clients; i++) {
        const struct model_client *client = &model->clients[i];
        if (client->client->n_blocks != client->n_blocks ||
            client->client->num_bytes != client->num_bytes) {
            printf("the blocks of client %u differ\n", client->pid);
            return false;
        }
    }
    return core->direct.n_blocks == model->n_direct_blocks &&
           core->direct.used_bytes == model->used_bytes;
}

static bool client_equals(const struct model_client *client)
{
    const struct client *held = client->client;
    return held->leased_pages == client->leased_pages &&
           held->stored->peak_bytes == client->peak_bytes &&
           client_charged_bytes(held) == client->num_bytes + client->leased_pages * PAGE_BYTES &&
           held->identity.pid == client->pid;
}

bool model_equals(struct model *model, const struct core *core)
{
    uint32_t n_ended = 0;
    for (uint32_t i = 0; i < model->n_clients; i++) {
        if (!client_equals(&model->clients[i])) {
            printf("client %u differs\n", model->clients[i].pid);
            return false;
        }
        n_ended += model->clients[i].ended;
    }
    if (!model_blocks_equal(model, core) || core->clients.n_ended != n_ended ||
        core->clients.n_live != model->n_clients - n_ended) {
        printf("the totals differ\n");
        return false;
    }
    return true;
}
