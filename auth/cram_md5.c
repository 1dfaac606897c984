#include "auth/hmac.h"
#include "auth/sasl_internal.h"

/* RFC 2195 2: the user, a blank, and the keyed digest of the challenge in lower-case hexadecimal
 * digits. */
static bool cram_md5_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e)
{
    /* Without a challenge the answer would be the same each time, and could be replayed. */
    if (challenge.n == 0)
        return err_set(e, ERR_PROTO, "the server sent an empty challenge");
    unsigned char mac[HMAC_MD5_SIZE];
    if (!hmac_md5(sasl_account_password(s->account), challenge, mac, e))
        return false;
    buf_add_str(out, sasl_account_username(s->account));
    buf_add_char(out, ' ');
    for (size_t i = 0; i < sizeof mac; i++)
        buf_addf(out, "%02x", mac[i]);
    secret_wipe(mac, sizeof mac);
    return true;
}

const struct sasl_mech sasl_cram_md5 = {
    .name = "CRAM-MD5",
    .answers = 1,
    .size = sizeof(struct sasl),
    .step = cram_md5_step,
};
