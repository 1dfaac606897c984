#include "auth/sasl.h"

#include "fuzz.h"

const char *__lsan_default_suppressions(void);

/* gss-ntlmssp's, see tests/lsan.supp. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libcrypto.so";
}

enum { CHALLENGES_MAX = 4 }; /* one more than any mechanism answers */

static struct sasl_account *account(void)
{
    static struct sasl_account *a;
    if (!a) {
        struct secret *password = secret_new("Secret-Pass1", 12);
        struct err e;
        CLAIM(sasl_account_new("CORP\\user", password, &a, &e));
        secret_free(password);
    }
    return a;
}

/* After a failure nothing may leave, and every step that follows must fail. */
static void step(struct sasl *s, struct slice challenge, struct buf *out, bool *has_failed)
{
    struct err e = { .kind = ERR_NONE };
    enum sasl_status status = sasl_step(s, challenge, out, &e);
    CLAIM(status == SASL_FAILED || (!*has_failed && out->wipe && !out->failed));
    CLAIM(status == SASL_SEND || (out->len == 0 && e.kind != ERR_NONE));
    *has_failed = status == SASL_FAILED;
}

/* Byte 0: the mechanism and whether there are channel bindings. Then challenges: two bytes of
 * length and the challenge, the last one takes the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct sasl_channel channel = { .host = "mail.example", .is_confidential = true };
    if (data[0] & 4)
        channel.binding = SLICE_LIT("tls-server-end-point:0123456789abcdef");
    struct sasl *s;
    struct err e;
    CLAIM(sasl_new(sasl_mechs[data[0] & 3], account(), &channel, &s, &e));
    struct buf out;
    buf_init(&out, SASL_TOKEN_MAX);
    bool has_failed = false;
    struct slice in = slice_of((const char *)data + 1, size - 1);
    for (unsigned i = 0; i < CHALLENGES_MAX; i++) {
        size_t n = in.n < 2 ? in.n : (unsigned char)in.p[0] | (size_t)(unsigned char)in.p[1] << 8;
        in = slice_skip(in, in.n < 2 ? in.n : 2);
        n = n < in.n ? n : in.n;
        /* a block of its own, so that reading past the challenge is seen */
        char *copy = slice_dup(slice_of(in.p, n));
        step(s, slice_of(copy, n), &out, &has_failed);
        free(copy);
        in = slice_skip(in, n);
    }
    buf_fini(&out);
    sasl_free(s);
    return 0;
}
