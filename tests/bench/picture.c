/* SPDX-License-Identifier: MIT */
/*
 * picture.c - SVG, readable on a white and on a black page: it brings its own white one
 *
 * Pages run from left to right and from the top down. Neighbours that are alike are one rectangle,
 * so that a segment of 16,384 pages is some 100 KiB.
 */
#include "tests/bench/picture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/limits.h"
#include "tests/bench/bench.h"

/* 256 pages, 4 MiB, to a row: a segment of 256 MiB is 64 rows. */
#define ROW_PAGES 256
#define CELL_WIDTH 3
#define CELL_HEIGHT 4
#define TOP 26
#define LEFT 8

static const struct {
    const char *name;
    const char *colour;
} uses[N_PAGE_USES] = {
    [PAGE_USE_FREE] = {"free", "#f0f0f0"},
    [PAGE_USE_DIRECT] = {"direct", "#1f77b4"},
    [PAGE_USE_LIVE] = {"leased, live", "#2ca02c"},
    [PAGE_USE_IDLE] = {"leased, slab without a live block", "#d62728"},
    [PAGE_USE_UNUSED] = {"leased, unused", "#ffbf57"},
};

static void write_stretch(FILE *to, uint32_t page, uint32_t n_pages, enum page_use use)
{
    (void)fprintf(to, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%d\" fill=\"%s\"/>\n",
                  LEFT + page % ROW_PAGES * CELL_WIDTH, TOP + page / ROW_PAGES * CELL_HEIGHT,
                  n_pages * CELL_WIDTH, CELL_HEIGHT - 1, uses[use].colour);
}

static void write_pages(FILE *to, const struct region *region, uint32_t n_pages,
                        uint32_t n_of_use[N_PAGE_USES])
{
    uint32_t begin = 0;
    enum page_use use = region_core_page(region, 0);
    for (uint32_t page = 0; page <= n_pages; page++) {
        const enum page_use now = page < n_pages ? region_core_page(region, page) : N_PAGE_USES;
        if (now != use || page % ROW_PAGES == 0) {
            if (page > begin) {
                write_stretch(to, begin, page - begin, use);
                n_of_use[use] += page - begin;
            }
            begin = page;
            use = now;
        }
    }
}

static void write_legend(FILE *to, uint32_t y, uint32_t n_pages,
                         const uint32_t n_of_use[N_PAGE_USES])
{
    static const uint32_t at[N_PAGE_USES] = {0, 90, 190, 330, 590};
    for (int i = 0; i < N_PAGE_USES; i++) {
        (void)fprintf(to, "<rect x=\"%u\" y=\"%u\" width=\"9\" height=\"9\" fill=\"%s\"/>\n",
                      LEFT + at[i], y, uses[i].colour);
        (void)fprintf(to, "<text x=\"%u\" y=\"%u\">%s %.1f %%</text>\n", LEFT + at[i] + 13, y + 9,
                      uses[i].name, 100.0 * n_of_use[i] / n_pages);
    }
}

void picture_write(const char *path, const struct region *region, uint32_t n_pages,
                   double live_percent)
{
    uint32_t n_of_use[N_PAGE_USES] = {0};
    const uint32_t n_rows = (n_pages + ROW_PAGES - 1) / ROW_PAGES;
    const uint32_t bottom = TOP + n_rows * CELL_HEIGHT;
    const uint32_t width = 2 * LEFT + ROW_PAGES * CELL_WIDTH;
    FILE *const to = fopen(path, "we");
    if (to == NULL) {
        bench_fail("%s: %s", path, strerror(errno));
    }
    (void)fprintf(to,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
                  "viewBox=\"0 0 %u %u\" font-family=\"Helvetica, sans-serif\" font-size=\"11\">\n"
                  "<rect width=\"%u\" height=\"%u\" fill=\"#ffffff\"/>\n"
                  "<text x=\"%d\" y=\"17\" font-size=\"13\">%llu MiB, %.1f %% of it live; a row is "
                  "%llu MiB</text>\n",
                  width, bottom + 24, width, bottom + 24, width, bottom + 24, LEFT,
                  (unsigned long long)n_pages << PAGE_SHIFT >> 20, live_percent,
                  (unsigned long long)ROW_PAGES << PAGE_SHIFT >> 20);
    write_pages(to, region, n_pages, n_of_use);
    write_legend(to, bottom + 8, n_pages, n_of_use);
    (void)fprintf(to, "</svg>\n");
    if (ferror(to) != 0 || fclose(to) != 0) {
        bench_fail("%s can not be written", path);
    }
}
