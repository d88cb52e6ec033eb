/* SPDX-License-Identifier: MIT */
/*
 * reply.h - what goes back to a browser or a scraper
 */
#ifndef SERVE_REPLY_H
#define SERVE_REPLY_H

#include <microhttpd.h>
#include <stddef.h>

#include "client/serve/question.h"

#define REPLY_JSON "application/json; charset=utf-8"
#define REPLY_TEXT "text/plain; charset=utf-8"
#define REPLY_HTML "text/html; charset=utf-8"

/** reply_give() - send a text, which becomes the reply's; NULL: there is no memory */
enum MHD_Result reply_give(struct MHD_Connection *connection, unsigned status, const char *type,
                           char *text, size_t n_bytes);

/** reply_answer() - send an answer's document, and keep a reference until it is sent */
enum MHD_Result reply_answer(struct MHD_Connection *connection, struct answer *answer);

/** reply_page() - send the page */
enum MHD_Result reply_page(struct MHD_Connection *connection);

/** reply_error() - send {"error": SENTENCE}; of a server that is busy it says when to come back */
enum MHD_Result reply_error(struct MHD_Connection *connection, unsigned status,
                            const char *sentence);

#endif
