/* SPDX-License-Identifier: MIT */
#include "client/ctl/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/width.h"

/* The widest word about which something is found, so that texts stand below each other. */
#define ABOUT_COLUMNS 16

static const char *const level_words[] = {
    [LEVEL_OK] = "ok", [LEVEL_WARN] = "warn", [LEVEL_FAIL] = "fail"};

struct finding *findings_add(struct findings *findings, enum level level, const char *about,
                             const char *format, ...)
{
    static struct finding spare;
    struct finding *finding = &spare;
    va_list arguments;
    if (findings->n_findings < FINDINGS_MAX) {
        finding = &findings->findings[findings->n_findings++];
    }
    *finding = (struct finding){.level = level};
    (void)snprintf(finding->about, sizeof(finding->about), "%s", about);
    va_start(arguments, format);
    (void)vsnprintf(finding->text, sizeof(finding->text), format, arguments);
    va_end(arguments);
    return finding;
}

void finding_fix(struct finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(finding->fix, sizeof(finding->fix), format, arguments);
    va_end(arguments);
}

size_t findings_count(const struct findings *findings, enum level level)
{
    size_t n = 0;
    for (size_t i = 0; i < findings->n_findings; i++) {
        n += findings->findings[i].level == level;
    }
    return n;
}

enum level findings_worst(const struct findings *findings)
{
    enum level worst = LEVEL_OK;
    for (size_t i = 0; i < findings->n_findings; i++) {
        worst = findings->findings[i].level > worst ? findings->findings[i].level : worst;
    }
    return worst;
}

/* -------------------------------------------------------------------------------- printing ---- */

static void print_finding(const struct finding *finding, const struct screen *screen)
{
    static const enum style styles[] = {
        [LEVEL_OK] = STYLE_GOOD, [LEVEL_WARN] = STYLE_WARN, [LEVEL_FAIL] = STYLE_BAD};
    const enum style style = styles[finding->level];
    const bool is_narrow = screen->n_columns > 0 && screen->n_columns < 60;
    const size_t indent = is_narrow ? 8 : 8 + ABOUT_COLUMNS;
    (void)fprintf(screen->file, "  %s%-4s%s  %-*s", screen_on(screen, style),
                  level_words[finding->level], screen_off(screen, style),
                  is_narrow ? 0 : ABOUT_COLUMNS, finding->about);
    if (is_narrow) {
        (void)fprintf(screen->file, "\n%*s", (int)indent, "");
    }
    (void)screen_flow(screen, indent, indent, finding->text);
    (void)fputc('\n', screen->file);
    if (*finding->fix) {
        (void)fprintf(screen->file, "%*s", (int)indent, "");
        const char *arrow = screen->unicode ? "→ " : "-> ";
        (void)fputs(arrow, screen->file);
        (void)screen_flow(screen, indent + width_of(arrow), indent + width_of(arrow), finding->fix);
        (void)fputc('\n', screen->file);
    }
}

void findings_print(const struct findings *findings, enum level least, const struct screen *screen)
{
    for (int level = LEVEL_FAIL; level >= (int)least; level--) {
        for (size_t i = 0; i < findings->n_findings; i++) {
            if ((int)findings->findings[i].level == level) {
                print_finding(&findings->findings[i], screen);
            }
        }
    }
}

void findings_json(const struct findings *findings, enum level least, const char *key,
                   struct json_row *row)
{
    json_row_list(row, key);
    for (size_t i = 0; i < findings->n_findings; i++) {
        const struct finding *finding = &findings->findings[i];
        struct json_row one;
        if (finding->level < least) {
            continue;
        }
        json_row_init(&one);
        json_row_text(&one, "level", level_words[finding->level]);
        json_row_text(&one, "about", finding->about);
        json_row_text(&one, "text", finding->text);
        json_row_text(&one, "fix", finding->fix);
        json_row_append(row, key, &one);
    }
}
