/* SPDX-License-Identifier: MIT */
#include "client/ctl/listing.h"

#include <errno.h>

int listing_begin(struct listing *listing, const struct listing_shape *shape,
                  const struct options *options, const struct screen *screen)
{
    *listing = (struct listing){.shape = shape, .options = options, .screen = screen};
    if (options->json) {
        json_list_begin(&listing->json, screen->file, shape->name);
        return 0;
    }
    listing->table = table_new(shape->columns, shape->n_columns);
    return listing->table ? 0 : -ENOMEM;
}

static void print_table(const struct listing *listing)
{
    if (table_row_count(listing->table) == 0) {
        (void)fprintf(listing->screen->file, "%s\n", listing->shape->nothing);
    } else {
        table_print(listing->table, listing->screen);
    }
}

int listing_end(struct listing *listing, int r)
{
    if (r == 0 && listing->table) {
        print_table(listing);
    } else if (r == 0) {
        json_list_end(&listing->json);
    }
    listing->table = table_free(listing->table);
    return r;
}
