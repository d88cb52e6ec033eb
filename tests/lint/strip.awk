# SPDX-License-Identifier: MIT
# strip() - a line of C without its comments and without what its strings hold
#
# The first half of an awk program: call strip($0) once for every line, in order. A // comment
# becomes //, so that it can still be found; the path of an #include is kept.
FNR == 1 { in_comment = 0 }
function strip(line, out, quote, i, c, two) {
    out = quote = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (in_comment) {
            if (two == "*/") {
                in_comment = 0
                i++
            }
        } else if (quote != "") {
            if (c == "\\") {
                i++
            } else if (c == quote) {
                out = out c
                quote = ""
            }
        } else if (two == "/*") {
            in_comment = 1
            out = out " "
            i++
        } else if (two == "//") {
            return out two
        } else {
            if ((c == "\"" && out !~ /#[ \t]*include[ \t]*$/) || c == "'") {
                quote = c
            }
            out = out c
        }
    }
    return out
}
