/* SPDX-License-Identifier: MIT */
#include "client/serve/reply.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/ctl/document.h"
#include "client/ctl/json.h"
#include "client/serve/page.h"

/* Of all replies: for this origin alone, of the type that they say, and of now. */
static const char *const headers[][2] = {
    {"Cache-Control", "no-store"},
    {"Connection", "close"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
};

/* Takes the response. */
static enum MHD_Result queue(struct MHD_Connection *connection, unsigned status, const char *type,
                             const char *policy, struct MHD_Response *response)
{
    enum MHD_Result r = response ? MHD_YES : MHD_NO;
    for (size_t i = 0; r == MHD_YES && i < sizeof(headers) / sizeof(headers[0]); i++) {
        r = MHD_add_response_header(response, headers[i][0], headers[i][1]);
    }
    if (r == MHD_YES) {
        r = MHD_add_response_header(response, "Content-Type", type);
    }
    if (r == MHD_YES) {
        r = MHD_add_response_header(response, "Content-Security-Policy", policy);
    }
    if (r == MHD_YES && status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        r = MHD_add_response_header(response, "Retry-After", "1");
    }
    if (r == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        r = MHD_add_response_header(response, "Allow", "GET, HEAD");
    }
    if (r == MHD_YES) {
        r = MHD_queue_response(connection, status, response);
    }
    if (response) {
        MHD_destroy_response(response);
    }
    return r;
}

/* What is no page may do nothing where it is opened as one. */
#define POLICY_OF_DATA "default-src 'none'; frame-ancestors 'none'"

enum MHD_Result reply_give(struct MHD_Connection *connection, unsigned status, const char *type,
                           char *text, size_t n_bytes)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(n_bytes, text, free);
    if (!response) {
        free(text);
    }
    return queue(connection, status, type, POLICY_OF_DATA, response);
}

static void answer_put(void *answer)
{
    answer_unref(answer);
}

enum MHD_Result reply_answer(struct MHD_Connection *connection, struct answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        answer->n_bytes, answer->text, answer_put, answer_ref(answer));
    if (!response) {
        answer_unref(answer);
    }
    return queue(connection, MHD_HTTP_OK, REPLY_JSON, POLICY_OF_DATA, response);
}

enum MHD_Result reply_page(struct MHD_Connection *connection)
{
    char policy[512];
    (void)snprintf(
        policy, sizeof(policy),
        "default-src 'none'; connect-src 'self'; img-src data:; script-src '%s'; style-src '%s'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        page_script_hash, page_style_hash); /* fits */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        page_html_bytes, (void *)(uintptr_t)page_html, MHD_RESPMEM_PERSISTENT);
    return queue(connection, MHD_HTTP_OK, REPLY_HTML, policy, response);
}

enum MHD_Result reply_error(struct MHD_Connection *connection, unsigned status,
                            const char *sentence)
{
    struct document document;
    struct json_row row;
    if (document_open(&document) < 0) {
        return MHD_NO;
    }
    json_row_init(&row);
    json_row_text(&row, "error", sentence);
    const int r = json_row_print(&row, document.file);
    if (document_close(&document) < 0 || r < 0) {
        free(document.text);
        return MHD_NO;
    }
    return reply_give(connection, status, REPLY_JSON, document.text, document.n_bytes);
}
