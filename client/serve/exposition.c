/* SPDX-License-Identifier: MIT */
#include "client/serve/exposition.h"

#include <inttypes.h>
#include <string.h>

#include "client/ctl/utf8.h"

bool exposition_is_name(const char *name)
{
    return *name && (*name < '0' || *name > '9') &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* ------------------------------------------------------------------------------- escaping ---- */

/* Of a help text only OpenMetrics wants the quotes escaped. */
static void write_escaped(FILE *file, const char *text, bool with_quotes)
{
    while (*text) {
        const size_t n_bytes = utf8_bytes(text);
        if (n_bytes == 0) {
            (void)fputs(UTF8_REPLACEMENT, file);
        } else if (*text == '\n') {
            (void)fputs("\\n", file);
        } else if (*text == '\\' || (*text == '"' && with_quotes)) {
            (void)fprintf(file, "\\%c", *text);
        } else {
            (void)fwrite(text, 1, n_bytes, file);
        }
        text += n_bytes ? n_bytes : 1;
    }
}

/* -------------------------------------------------------------------------------- families ---- */

static bool is_open(const struct exposition *exposition)
{
    return exposition->format == EXPOSITION_OPENMETRICS;
}

static const char *suffix(enum exposition_kind kind)
{
    switch (kind) {
    case EXPOSITION_COUNTER:
        return "_total";
    case EXPOSITION_INFO:
        return "_info";
    case EXPOSITION_GAUGE:
        break;
    }
    return "";
}

static const char *type(const struct exposition *exposition, enum exposition_kind kind)
{
    switch (kind) {
    case EXPOSITION_COUNTER:
        return "counter";
    case EXPOSITION_INFO:
        return is_open(exposition) ? "info" : "gauge";
    case EXPOSITION_GAUGE:
        break;
    }
    return "gauge";
}

/* OpenMetrics describes the family, the older format the sample. */
void exposition_begin(const struct exposition *exposition, const struct family *family)
{
    FILE *file = exposition->file;
    const char *end = is_open(exposition) ? "" : suffix(family->kind);
    (void)fprintf(file, "# TYPE %s%s %s\n", family->name, end, type(exposition, family->kind));
    if (is_open(exposition) && family->unit) {
        (void)fprintf(file, "# UNIT %s %s\n", family->name, family->unit);
    }
    (void)fprintf(file, "# HELP %s%s ", family->name, end);
    write_escaped(file, family->text, is_open(exposition));
    (void)fputc('\n', file);
}

/* --------------------------------------------------------------------------------- samples ---- */

static void write_labels(const struct exposition *exposition, const struct family *family,
                         const struct exposition_label *labels, size_t n_labels)
{
    FILE *file = exposition->file;
    (void)fprintf(file, "%s%s", family->name, suffix(family->kind));
    for (size_t i = 0; i < n_labels; i++) {
        (void)fprintf(file, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
        write_escaped(file, labels[i].value, true);
        (void)fputc('"', file);
    }
    (void)fputs(n_labels > 0 ? "} " : " ", file);
}

void exposition_add(const struct exposition *exposition, const struct family *family,
                    const struct exposition_label *labels, size_t n_labels, uint64_t value)
{
    write_labels(exposition, family, labels, n_labels);
    (void)fprintf(exposition->file, "%" PRIu64 "\n", value);
}

void exposition_add_thousandths(const struct exposition *exposition, const struct family *family,
                                const struct exposition_label *labels, size_t n_labels,
                                uint64_t value)
{
    write_labels(exposition, family, labels, n_labels);
    (void)fprintf(exposition->file, "%" PRIu64 ".%03" PRIu64 "\n", value / 1000, value % 1000);
}

void exposition_add_infinite(const struct exposition *exposition, const struct family *family,
                             const struct exposition_label *labels, size_t n_labels)
{
    write_labels(exposition, family, labels, n_labels);
    (void)fputs("+Inf\n", exposition->file);
}

void exposition_end(const struct exposition *exposition)
{
    if (is_open(exposition)) {
        (void)fputs("# EOF\n", exposition->file);
    }
}
