# SPDX-License-Identifier: MIT
# cmake -D SOURCE=DIR -D PROGRAM=FILE;... -D OUTPUT=FILE.c -P embed.cmake - make the page one document, and that a source
#
# index.html has a line <link ... page.css> and a line <script src=page.js>: style and program take
# their places, the program's files one after the other. Their hashes are what the header
# Content-Security-Policy lets pass.

# A SHA-256 in hexadecimal digits, as the header has it. Three digits are two of base64; the last
# one of 64 is one, and a "=".
function(base64 hexadecimal variable)
    set(alphabet ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
    set(text "")
    foreach(at RANGE 0 60 3)
        string(SUBSTRING ${hexadecimal} ${at} 3 digits)
        math(EXPR high "0x${digits} >> 6")
        math(EXPR low "0x${digits} & 63")
        string(SUBSTRING ${alphabet} ${high} 1 high)
        string(SUBSTRING ${alphabet} ${low} 1 low)
        string(APPEND text ${high}${low})
    endforeach()
    string(SUBSTRING ${hexadecimal} 63 1 digit)
    math(EXPR last "0x${digit} << 2")
    string(SUBSTRING ${alphabet} ${last} 1 last)
    set(${variable} "${text}${last}=" PARENT_SCOPE)
endfunction()

# CMake's lists and arguments change what has brackets or semicolons in it; bytes in hexadecimal
# digits have none.
function(hexadecimal text variable)
    file(WRITE ${OUTPUT}.piece "${text}")
    file(READ ${OUTPUT}.piece digits HEX)
    file(REMOVE ${OUTPUT}.piece)
    set(${variable} ${digits} PARENT_SCOPE)
endfunction()

file(READ ${SOURCE}/index.html page HEX)
file(READ ${SOURCE}/page.css css HEX)
file(SHA256 ${SOURCE}/page.css hash)
base64(${hash} css_hash)
execute_process(COMMAND ${CMAKE_COMMAND} -E cat ${PROGRAM} OUTPUT_FILE ${OUTPUT}.js
                WORKING_DIRECTORY ${SOURCE} COMMAND_ERROR_IS_FATAL ANY)
file(READ ${OUTPUT}.js js HEX)
file(SHA256 ${OUTPUT}.js hash)
base64(${hash} js_hash)
file(REMOVE ${OUTPUT}.js)
hexadecimal("<link rel=\"stylesheet\" href=\"page.css\">" link)
hexadecimal("<script src=\"page.js\" defer></script>" script)
hexadecimal("<style>" style_begin)
hexadecimal("</style>" style_end)
hexadecimal("<script type=\"module\">" script_begin)
hexadecimal("</script>" script_end)
foreach(line link script)
    if(NOT page MATCHES ${${line}})
        message(FATAL_ERROR "index.html has no line for its ${line}")
    endif()
endforeach()
string(REPLACE ${link} ${style_begin}${css}${style_end} page ${page})
string(REPLACE ${script} ${script_begin}${js}${script_end} page ${page})

string(LENGTH ${page} n_digits)
math(EXPR n_bytes "${n_digits} / 2")
string(REGEX REPLACE "(..)" "0x\\1," page ${page})
string(REGEX REPLACE "(................................................................................)"
       "\\1\n" page ${page})
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[/* Made from client/serve/page. */
#include "client/serve/page.h"

const unsigned char page_html[] = {
@page@
};
const size_t page_html_bytes = @n_bytes@;
const char page_script_hash[] = "sha256-@js_hash@";
const char page_style_hash[] = "sha256-@css_hash@";
]])
