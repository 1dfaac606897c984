/*
 * The quoted-printable encoding (RFC 2045 6.7) for parts of a message that we write ourselves.
 * It appends to the caller's buffer and keeps no state: a part is encoded whole.
 * What it writes is 7-bit with short lines, and no line of it can be taken for a MIME boundary.
 */
#ifndef SUBMITD_SMTP_QUOTED_H
#define SUBMITD_SMTP_QUOTED_H

#include "base/buf.h"

/*
 * True when `text` cannot travel as 7bit (RFC 2045 2.7): it has a NUL, a control byte, a byte above
 * 127, a line end other than CRLF or a line over 998 octets; or when a line of it begins with "--",
 * as a MIME boundary does.
 */
bool smtp_quoted_is_needed(struct slice text);
/* CRLF and LF are line ends, everything else is content. False when it does not fit. */
bool smtp_quoted_add(struct buf *out, struct slice text);

#endif
