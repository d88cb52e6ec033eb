/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/terminfo.h"

#include <unistd.h>

#include <curses.h>
#include <term.h>

bool terminfo_knows(void)
{
    int found = 0;
    if (setupterm(NULL, STDOUT_FILENO, &found) == ERR) {
        return false;
    }
    (void)del_curterm(cur_term); /* curses sets up one of its own */
    return true;
}

bool terminfo_can_draw(void)
{
    return tigetstr("cup") && tigetstr("clear");
}
