#include "base/roff.h"

bool roff_add_part(struct buf *out, const char *text)
{
    bool is_bold = false;
    bool fits = text[0] != '.' && text[0] != '\'' ? true : buf_add_str(out, "\\&");
    for (const char *p = text; fits && *p; p++) {
        switch (*p) {
        case '`':
            is_bold = !is_bold;
            fits = buf_add_str(out, is_bold ? "\\fB" : "\\fR");
            break;
        case '\\':
            fits = buf_add_str(out, "\\e");
            break;
        case '-':
            fits = buf_add_str(out, "\\-");
            break;
        case '^':
            fits = buf_add_str(out, "\\(ha");
            break;
        case '~':
            fits = buf_add_str(out, "\\(ti");
            break;
        default: /* not an enum: every other character stands for itself */
            fits = buf_add_char(out, *p);
        }
    }
    return fits;
}

bool roff_add(struct buf *out, const char *text)
{
    return roff_add_part(out, text) && buf_add_char(out, '\n');
}
