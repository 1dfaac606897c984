/*
 * The bytes of a message between DATA and the final dot, both directions (RFC 5321 4.5.2).
 * Decoder: wire form to canonical text (every line ends in CRLF, no dot stuffing).
 * Encoder: canonical text to wire form. Both append to the caller's buffers and keep a few bytes of
 * state; neither looks into the message.
 *
 * Only CRLF "." CRLF ends a message. Bare CR and bare LF become CRLF, so that nothing behind us can
 * see another end of data than we did (SMTP smuggling). A stuffed dot is removed behind CRLF;
 * behind a bare LF or CR only when two dots follow (docs/decisions says why), and a "." line
 * between bare line ends is text.
 */
#ifndef SUBMITD_SMTP_BODY_H
#define SUBMITD_SMTP_BODY_H

#include "base/buf.h"

#include <stdint.h>

struct smtp_body_decoder {
    uint8_t state;
    bool repaired;     /* a bare CR or LF was replaced */
    bool saw_bare_end; /* a "." between bare line ends was seen: names the fault when the client
                          hangs */
};

void smtp_body_decoder_init(struct smtp_body_decoder *d);
/*
 * Takes bytes off the front of *in and appends canonical text to `out`; stops at the end of data,
 * when *in is used up, or when `out` has less than 4 bytes of room. True: the end of data was
 * taken; what is left in *in belongs to the next command. A body whose last line lacks CRLF cannot
 * exist on the wire.
 */
bool smtp_body_decode(struct smtp_body_decoder *d, struct slice *in, struct buf *out);
/* How many octets at the front of `in` are canonical text as they stand, so that they need not be
 * copied; they count as decoded. 0: fewer than `least` are, or it would take as long to see as
 * _decode does. */
size_t smtp_body_skip_clean(struct smtp_body_decoder *d, struct slice in, size_t least);

struct smtp_body_encoder {
    char last[2]; /* the last two bytes of the text so far; CRLF before the first */
};

void smtp_body_encoder_init(struct smtp_body_encoder *e);
/*
 * Appends `text` (canonical) dot-stuffed. False when it does not fit; then nothing was added. Text
 * that is not canonical is not repaired, but it cannot end the message either: a dot is stuffed
 * behind every CR and LF.
 */
bool smtp_body_encode(struct smtp_body_encoder *e, struct slice text, struct buf *out);
/* Appends the end of data: "." CRLF, with a CRLF before it unless the text ended in one. */
bool smtp_body_encode_end(struct smtp_body_encoder *e, struct buf *out);

/*
 * The normaliser for BDAT input (RFC 3030), where there are neither dots nor an end: only line ends
 * are repaired. It stops when `in` is used up or `out` has less than 4 bytes of room. The `end`
 * function completes a last line.
 */
struct smtp_line_normaliser {
    uint8_t state;
    bool repaired;
};

void smtp_line_normaliser_init(struct smtp_line_normaliser *n);
void smtp_line_normalise(struct smtp_line_normaliser *n, struct slice *in, struct buf *out);
/* As smtp_body_skip_clean. */
size_t smtp_line_skip_clean(struct smtp_line_normaliser *n, struct slice in, size_t least);
void smtp_line_normalise_end(struct smtp_line_normaliser *n, struct buf *out);

#endif
