/* SPDX-License-Identifier: MIT */
#include "tests/unit/records.h"

#include <string.h>
#include <sys/mman.h>

/* Reasons that are given; the first is none. */
#define N_REASONS 6

static size_t file_bytes(void)
{
    return state_bytes(RECORDS_PAGES);
}

static void tables_open(struct records *records)
{
    static const uint32_t no_limits[N_CAPS];
    KMEM_ASSERT(caps_init(&records->caps, no_limits, 0) == 0);
    KMEM_ASSERT(reasons_init(&records->reasons, &records->state, &records->caps) == 0);
    KMEM_ASSERT(shares_init(&records->shares, &records->state, &records->reasons) == 0);
    KMEM_ASSERT(names_init(&records->names, &records->state, &records->shares, MODEL_NAMES) == 0);
}

void records_open(struct records *records)
{
    records->file = mmap(NULL, file_bytes(), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    KMEM_ASSERT(records->file != MAP_FAILED);
    state_format(&records->state, records->file, RECORDS_PAGES, RECORDS_PAGES, RECORDS_INSTANCE, 0);
    for (uint32_t slot = 0; slot < RECORDS_CLIENTS; slot++) {
        state_commit(&records->state, &records->state.clients[slot].pid, PID_WORD(100 + slot));
    }
    state_commit(&records->state, &records->state.header->n_slots, RECORDS_CLIENTS);
    tables_open(records);
}

void records_abandon(struct records *records)
{
    names_fini(&records->names);
    shares_fini(&records->shares);
    reasons_fini(&records->reasons);
    caps_fini(&records->caps);
}

void records_close(struct records *records)
{
    records_abandon(records);
    (void)munmap(records->file, file_bytes()); /* it was mapped so */
}

/* The parts of the file that are in use, from the n-th on; false: there are no more. */
static bool part_of(const struct records *records, uint32_t n, unsigned char **ret_part,
                    size_t *ret_bytes)
{
    const struct state *state = &records->state;
    const struct {
        void *part;
        size_t n_bytes;
    } parts[] = {
        {state->header, sizeof(*state->header)},
        {state->clients, RECORDS_CLIENTS * sizeof(*state->clients)},
        {state->reasons, REASONS_MAX * sizeof(*state->reasons)},
        {state->shares, SHARES_MAX * sizeof(*state->shares)},
        {state->holds, HOLDS_MAX * sizeof(*state->holds)},
        {state->names, SHARE_NAMES_MAX * sizeof(*state->names)},
    };
    if (n == sizeof(parts) / sizeof(parts[0])) {
        return false;
    }
    *ret_part = parts[n].part;
    *ret_bytes = parts[n].n_bytes;
    return true;
}

void records_copy(struct records *to, const struct records *from)
{
    unsigned char *part;
    size_t n_bytes;
    for (uint32_t n = 0; part_of(from, n, &part, &n_bytes); n++) {
        memcpy(to->file + (part - from->file), part, n_bytes);
    }
}

bool records_differ(const struct records *one, const struct records *other)
{
    unsigned char *part;
    size_t n_bytes;
    bool differ = false;
    for (uint32_t n = 0; part_of(one, n, &part, &n_bytes); n++) {
        differ = differ || memcmp(other->file + (part - one->file), part, n_bytes) != 0;
    }
    return differ;
}

int records_recover(struct records *records, const char **ret_why)
{
    KMEM_ASSERT(state_attach(&records->state, records->file, RECORDS_PAGES) == 0);
    tables_open(records);
    *ret_why = NULL;
    int r = shares_recover(&records->shares, ret_why);
    r = r ? r : names_recover(&records->names, ret_why);
    reasons_recovered(&records->reasons);
    return r;
}

int records_check(const struct records *records)
{
    return reasons_check(&records->reasons) | shares_check(&records->shares) |
           names_check(&records->names);
}

/* ----------------------------------------------------------------------------------- model ---- */

static const char *reason_text(uint32_t reason, size_t *ret_n_bytes)
{
    static const char *const texts[N_REASONS] = {"", "camera", "track", "queue", "render", "log"};
    *ret_n_bytes = strlen(texts[reason]);
    return texts[reason];
}

static bool reason_is(const struct records *records, uint32_t id, uint32_t reason)
{
    size_t n_bytes;
    size_t n_wanted;
    const char *text = reasons_text(&records->reasons, id, &n_bytes);
    const char *wanted = reason_text(reason, &n_wanted);
    return reason == 0 ? id == REASON_NONE
                       : n_bytes == n_wanted && memcmp(text, wanted, n_bytes) == 0;
}

/* The longest name there can be, and shorter ones that it begins with. */
static const char *name_text(uint32_t number, size_t *ret_n_bytes)
{
    static char text[SHARE_NAME_MAX_BYTES];
    memset(text, 'n', sizeof(text));
    *ret_n_bytes = SHARE_NAME_MAX_BYTES - number;
    return text;
}

static const struct model_share *share_of(const struct records_model *model, uint64_t offset)
{
    for (uint32_t i = 0; i < model->n_shares; i++) {
        if (model->shares[i].offset == offset) {
            return &model->shares[i];
        }
    }
    return NULL;
}

static bool is_held(const struct records_model *model, uint64_t offset)
{
    bool is = false;
    for (uint32_t i = 0; i < model->n_holds; i++) {
        is = is || model->holds[i].offset == offset;
    }
    for (uint32_t i = 0; i < MODEL_NAMES; i++) {
        is = is || model->names[i].offset == offset;
    }
    return is;
}

static bool word_is_live(uint64_t word)
{
    return (word & SHARE_STATE_MASK) == SHARE_LIVE;
}

/* One of sixteen slabs in the first half of the segment, each four pages behind the one before, or
   a direct block in the second half. What a slab is follows from where it is. */
static bool share_choose(struct seeded *seeded, const struct records_model *model,
                         struct model_share *ret_share)
{
    const uint32_t group = seeded_below(seeded, 32);
    const uint32_t page = group == 0 ? 1 : 4 * group;
    const bool is_leased = group < 16;
    const bool is_large = group % 4 == 3;
    const uint32_t index = is_large ? 0 : seeded_below(seeded, 4);
    static const uint32_t classes[] = {14, 24, 28}; /* of one, two and three pages */
    const uint32_t in_class = classes[group % 3];
    const uint32_t size_class = is_large ? (uint32_t)N_SIZE_CLASSES : in_class;
    const uint64_t block_bytes = is_leased ? size_classes[in_class].block_bytes : UINT64_C(1024);
    const uint64_t owner = seeded_below(seeded, RECORDS_CLIENTS);
    *ret_share = (struct model_share){
        .offset = ((uint64_t)page << PAGE_SHIFT) + index * block_bytes,
        .num_bytes = 1 + seeded_below(seeded, 1024),
        .tag = seeded_next(seeded),
        .reason = seeded_below(seeded, N_REASONS),
        .born = seeded_below(seeded, 1000),
        .word = SHARE_LIVE | SHARE_OWNER_HOLDS | owner << SHARE_OWNER_SHIFT |
                (is_leased ? SHARE_LEASED : 0),
    };
    if (is_leased) {
        ret_share->place = (struct share_place){page, 1 + group % 3, index, size_class};
    }
    return model->n_shares < MODEL_SHARES && !share_of(model, ret_share->offset);
}

static void word_choose(struct seeded *seeded, uint64_t *word)
{
    static const uint64_t flags[] = {SHARE_OWNER_HOLDS, SHARE_OFFERED, SHARE_READ_ONLY, SHARE_KEEP};
    const uint32_t which = seeded_below(seeded, 6);
    if (which == 4) {
        *word |= SHARE_WRITTEN; /* for ever: others may hold it for writing by now */
        return;
    }
    if (which < 4) {
        *word ^= SHARE_OWNER(*word) == SLOT_NONE ? flags[which] & ~SHARE_OWNER_HOLDS : flags[which];
        return;
    }
    const bool may_have_none = (*word & SHARE_LEASED) == 0;
    const uint64_t owner = may_have_none && seeded_below(seeded, 3) == 0
                               ? SLOT_NONE
                               : seeded_below(seeded, RECORDS_CLIENTS);
    *word &= ~((uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT);
    *word |= owner << SHARE_OWNER_SHIFT;
    *word &= owner == SLOT_NONE ? ~SHARE_OWNER_HOLDS : UINT64_MAX;
}

/* What an operation makes of a share. */
static bool share_change(struct seeded *seeded, const struct records_model *model,
                         struct records_op *op)
{
    const uint64_t word = op->share.word;
    const bool is_free = !is_held(model, op->share.offset);
    const bool is_live = word_is_live(word);
    const bool is_leased = (word & SHARE_LEASED) != 0;
    if (op->kind == RECORDS_SET) {
        word_choose(seeded, &op->share.word);
        return is_live;
    }
    if (op->kind == RECORDS_RETURN) {
        const uint64_t number = seeded_below(seeded, 1000);
        op->share.word = SHARE_RETURNING | SHARE_LEASED | (word & SHARE_WRITTEN) |
                         (uint64_t)SHARE_OWNER(word) << SHARE_OWNER_SHIFT |
                         (number > 0 ? SHARE_NUMBERED | number << SHARE_RETURN_SHIFT : 0);
        return is_live && is_leased && is_free;
    }
    if (op->kind == RECORDS_ADOPT) {
        op->share.word = (word & ~(SHARE_LEASED | SHARE_OWNER_HOLDS)) | (uint64_t)SLOT_NONE
                                                                            << SHARE_OWNER_SHIFT;
        return is_live && is_leased;
    }
    return op->kind == RECORDS_REMOVE ? is_free : is_live;
}

/* Whether it may be held for writing: its owner is to be told of that. */
static bool may_write(const struct records_model *model, uint64_t offset)
{
    const struct model_share *share = share_of(model, offset);
    return share && (share->word & (SHARE_LEASED | SHARE_WRITTEN)) != SHARE_LEASED;
}

static bool hold_choose(struct seeded *seeded, const struct records_model *model,
                        struct records_op *op)
{
    op->hold = (struct model_hold){
        .offset = op->share.offset,
        .slot = seeded_below(seeded, RECORDS_CLIENTS),
        .reason = seeded_below(seeded, N_REASONS),
        .born = seeded_below(seeded, 1000),
        .flags = (seeded_below(seeded, 2) && may_write(model, op->share.offset) ? HOLD_WRITE : 0) |
                 (seeded_below(seeded, 8) ? 0 : HOLD_OWNER),
    };
    bool is_new = model->n_holds < MODEL_HOLDS;
    for (uint32_t i = 0; i < model->n_holds; i++) {
        is_new = is_new && (model->holds[i].offset != op->hold.offset ||
                            model->holds[i].slot != op->hold.slot);
    }
    return is_new;
}

static bool name_choose(struct seeded *seeded, const struct records_model *model,
                        struct records_op *op)
{
    op->number = seeded_below(seeded, MODEL_NAMES);
    const struct model_name *name = &model->names[op->number];
    if (op->kind != RECORDS_PUBLISH) {
        op->name = *name;
        return name->offset != 0 &&
               (op->kind == RECORDS_UNPUBLISH || (name->keep && name->owner != SLOT_NONE));
    }
    op->name = (struct model_name){.offset = op->share.offset,
                                   .owner = seeded_below(seeded, RECORDS_CLIENTS),
                                   .keep = seeded_below(seeded, 2) == 0};
    return true;
}

bool records_op_choose(struct seeded *seeded, const struct records_model *model,
                       enum records_op_kind kind, struct records_op *ret_op)
{
    *ret_op = (struct records_op){.kind = kind};
    if (kind == RECORDS_SHARE) {
        return share_choose(seeded, model, &ret_op->share);
    }
    if (kind == RECORDS_HOLD_WRITE || kind == RECORDS_LET_GO) {
        if (model->n_holds > 0) {
            ret_op->hold = model->holds[seeded_below(seeded, model->n_holds)];
        }
        return model->n_holds > 0 &&
               (kind == RECORDS_LET_GO || may_write(model, ret_op->hold.offset));
    }
    if (kind == RECORDS_UNPUBLISH || kind == RECORDS_DISOWN) {
        return name_choose(seeded, model, ret_op);
    }
    if (model->n_shares == 0) {
        return false;
    }
    ret_op->share = model->shares[seeded_below(seeded, model->n_shares)];
    return share_change(seeded, model, ret_op) &&
           (kind != RECORDS_HOLD || hold_choose(seeded, model, ret_op)) &&
           (kind != RECORDS_PUBLISH || name_choose(seeded, model, ret_op));
}

/* ------------------------------------------------------------------------------ doing them ---- */

static uint32_t at(const struct records *records, uint64_t offset)
{
    return shares_at(&records->shares, (struct seg_off){offset});
}

static void share_do(struct records *records, const struct model_share *share)
{
    struct share_new fresh = {
        .off = {share->offset},
        .num_bytes = share->num_bytes,
        .place = share->place,
        .owner = SHARE_OWNER(share->word),
        .tag = share->tag,
        .now = share->born,
    };
    uint32_t added;
    fresh.reason = reason_text(share->reason, &fresh.n_reason_bytes);
    KMEM_ASSERT(shares_add(&records->shares, &fresh, &added) == 0);
    KMEM_ASSERT(at(records, share->offset) == added);
}

static void hold_do(struct records *records, const struct model_hold *hold)
{
    struct hold_new fresh = {
        .slot = hold->slot,
        .write = (hold->flags & HOLD_WRITE) != 0,
        .owner = (hold->flags & HOLD_OWNER) != 0,
        .now = hold->born,
    };
    uint32_t added;
    fresh.reason = reason_text(hold->reason, &fresh.n_reason_bytes);
    KMEM_ASSERT(shares_hold(&records->shares, at(records, hold->offset), &fresh, &added) == 0);
}

static void publish_do(struct records *records, struct records_op *op)
{
    size_t n_bytes;
    const char *text = name_text(op->number, &n_bytes);
    uint32_t former;
    op->name.version = names_version(&records->names);
    KMEM_ASSERT(names_set(&records->names, text, n_bytes, at(records, op->name.offset),
                          op->name.version, op->name.owner, op->name.keep, &former) == 0);
}

static uint32_t name_find(const struct records *records, uint32_t number)
{
    size_t n_bytes;
    const char *text = name_text(number, &n_bytes);
    return names_find(&records->names, text, n_bytes);
}

void records_op_do(struct records *records, struct records_op *op)
{
    struct shares *shares = &records->shares;
    const uint32_t share = at(records, op->share.offset);
    const uint32_t held = at(records, op->hold.offset);
    const uint32_t hold = held == 0 ? 0 : shares_hold_of(shares, held, op->hold.slot);
    switch (op->kind) {
    case RECORDS_SHARE:
        share_do(records, &op->share);
        break;
    case RECORDS_SET:
    case RECORDS_RETURN:
    case RECORDS_ADOPT:
        shares_set(shares, share, op->share.word);
        break;
    case RECORDS_REMOVE:
        shares_remove(shares, share);
        break;
    case RECORDS_HOLD:
        hold_do(records, &op->hold);
        break;
    case RECORDS_HOLD_WRITE:
        shares_hold_write(shares, hold);
        break;
    case RECORDS_LET_GO:
        shares_let_go(shares, hold);
        break;
    case RECORDS_PUBLISH:
        publish_do(records, op);
        break;
    case RECORDS_UNPUBLISH:
        KMEM_ASSERT(names_remove(&records->names, name_find(records, op->number)) ==
                    at(records, op->name.offset));
        break;
    case RECORDS_DISOWN:
        names_disown(&records->names, name_find(records, op->number));
        break;
    case RECORDS_OPS:
    default:
        KMEM_ASSERT(false);
    }
}

static void share_note(struct records_model *model, const struct records_op *op)
{
    struct model_share *share = (struct model_share *)share_of(model, op->share.offset);
    if (op->kind == RECORDS_REMOVE) {
        *share = model->shares[--model->n_shares];
    } else if (op->kind == RECORDS_SHARE) {
        model->shares[model->n_shares++] = op->share;
    } else {
        *share = op->share;
    }
}

static void hold_note(struct records_model *model, const struct records_op *op)
{
    uint32_t i = 0;
    while (i < model->n_holds &&
           (model->holds[i].offset != op->hold.offset || model->holds[i].slot != op->hold.slot)) {
        i++;
    }
    if (op->kind == RECORDS_LET_GO) {
        model->holds[i] = model->holds[--model->n_holds];
    } else if (op->kind == RECORDS_HOLD) {
        model->holds[model->n_holds++] = op->hold;
    } else {
        model->holds[i].flags |= HOLD_WRITE;
    }
}

void records_op_note(struct records_model *model, const struct records_op *op)
{
    struct model_name *name = &model->names[op->number];
    if (op->kind < RECORDS_HOLD) {
        share_note(model, op);
    } else if (op->kind < RECORDS_PUBLISH) {
        hold_note(model, op);
    } else if (op->kind == RECORDS_PUBLISH) {
        *name = op->name;
    } else if (op->kind == RECORDS_DISOWN) {
        name->owner = SLOT_NONE;
    } else {
        *name = (struct model_name){0};
    }
}

/* ------------------------------------------------------------------------------- comparing ---- */

static bool share_is(const struct records *records, const struct model_share *wanted)
{
    const uint32_t share = at(records, wanted->offset);
    if (share == 0) {
        return false;
    }
    const struct state_share *is = shares_record(&records->shares, share);
    const struct share_handle handle = shares_handle(&records->shares, share);
    uint32_t found = 0;
    const int r = shares_find(&records->shares, &handle, &found);
    const bool is_found =
        word_is_live(wanted->word) ? r == 0 && found == share : r == SHARES_E_STALE;
    return state_load(&is->word) == wanted->word && is->num_bytes == wanted->num_bytes &&
           is->tag == wanted->tag && is->born == wanted->born &&
           is->slab_page == wanted->place.slab_page && is->span_pages == wanted->place.span_pages &&
           is->index == wanted->place.index && is->size_class == wanted->place.size_class &&
           reason_is(records, is->reason, wanted->reason) && is_found;
}

static bool hold_is(const struct records *records, const struct model_hold *wanted)
{
    const uint32_t share = at(records, wanted->offset);
    const uint32_t hold = share == 0 ? 0 : shares_hold_of(&records->shares, share, wanted->slot);
    if (hold == 0) {
        return false;
    }
    const struct state_hold *is = shares_hold_record(&records->shares, hold);
    const uint64_t word = state_load(&is->word);
    return (word & (HOLD_WRITE | HOLD_OWNER)) == wanted->flags && HOLD_SHARE(word) == share &&
           HOLD_SLOT(word) == wanted->slot && is->born == wanted->born &&
           reason_is(records, is->reason, wanted->reason);
}

static bool name_is(const struct records *records, uint32_t number, const struct model_name *wanted)
{
    const struct names *names = &records->names;
    const uint32_t name = name_find(records, number);
    if (name == NAME_NONE || wanted->offset == 0) {
        return name == NAME_NONE && wanted->offset == 0;
    }
    return names_share(names, name) == at(records, wanted->offset) &&
           names_version_of(names, name) == wanted->version &&
           names_owner(names, name) == wanted->owner && names_keep(names, name) == wanted->keep;
}

/* Whether a page is pinned, as the model has it. */
static bool is_pinned(const struct records_model *model, uint32_t page)
{
    bool is = false;
    for (uint32_t i = 0; i < model->n_shares; i++) {
        const struct share_place *place = &model->shares[i].place;
        is = is || ((model->shares[i].word & SHARE_LEASED) && page >= place->slab_page &&
                    page < place->slab_page + place->span_pages);
    }
    return is;
}

static bool pins_are(const struct records *records, const struct records_model *model)
{
    bool are = true;
    for (uint32_t page = 0; page < RECORDS_PAGES; page++) {
        are = are && shares_is_pinned(&records->shares, page, 1) == is_pinned(model, page);
    }
    return are;
}

bool records_are(const struct records *records, const struct records_model *model)
{
    bool are = records->shares.n_shares == model->n_shares &&
               records->shares.n_holds == model->n_holds && pins_are(records, model);
    for (uint32_t i = 0; i < model->n_shares; i++) {
        are = are && share_is(records, &model->shares[i]);
    }
    for (uint32_t i = 0; i < model->n_holds; i++) {
        are = are && hold_is(records, &model->holds[i]);
    }
    for (uint32_t i = 0; i < MODEL_NAMES; i++) {
        are = are && name_is(records, i, &model->names[i]);
    }
    return are;
}

void records_end(struct records *records)
{
    struct shares *shares = &records->shares;
    for (uint32_t slot = 0; slot < RECORDS_CLIENTS; slot++) {
        for (uint32_t name = names_first_of(&records->names, slot); name != NAME_NONE;
             name = names_first_of(&records->names, slot)) {
            (void)names_remove(&records->names, name); /* the share goes below */
        }
        for (uint32_t hold = shares_held_first(shares, slot); hold != 0;
             hold = shares_held_first(shares, slot)) {
            shares_let_go(shares, hold);
        }
    }
    for (uint32_t name = names_next(&records->names, 0); name != NAME_NONE;
         name = names_next(&records->names, name)) {
        (void)names_remove(&records->names, name); /* likewise */
    }
    for (uint32_t share = shares_next(shares, 1); share != 0; share = shares_next(shares, share)) {
        shares_remove(shares, share);
    }
    const struct records_model nothing = {.n_shares = 0};
    KMEM_ASSERT(records_are(records, &nothing));
    KMEM_ASSERT(records_check(records) == 0);
    KMEM_ASSERT(records->reasons.n_free_ids + REASONS_RESERVED == records->reasons.n_ids);
}
