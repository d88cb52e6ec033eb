/* SPDX-License-Identifier: MIT */
#include "daemon/complaints.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/text.h"

void complaints_add(struct complaints *complaints, const char *format, ...)
{
    complaints->n++;
    if (complaints->say) {
        char sentence[COMPLAINT_BYTES];
        char shown[COMPLAINT_BYTES]; /* what was written may be anything, and ends on a terminal */
        va_list args;
        va_start(args, format);
        (void)vsnprintf(sentence, sizeof(sentence), format, args); /* too long: cut */
        va_end(args);
        (void)text_clean(sentence, shown, sizeof(shown));
        text_mute(shown);
        complaints->say(shown, complaints->user);
    }
}

void complaints_note(struct complaints *complaints, int error)
{
    const bool is_about_file = error == EACCES || error == EPERM || error == EISDIR ||
                               error == ELOOP || error == ENAMETOOLONG || error == ENXIO;
    complaints->has_fault = complaints->has_fault || !is_about_file;
}
