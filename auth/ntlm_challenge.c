#include "auth/ntlm_challenge.h"

#include <stdint.h>

/* MS-NLMP 2.2.1.2: offsets in a CHALLENGE_MESSAGE. */
enum {
    TYPE_AT = 8,
    NAME_AT = 12,
    FLAGS_AT = 20,
    OLD_SIZE = 32, /* ends behind the challenge: servers older than Windows 2000 */
    INFO_AT = 40,
};

/* MS-NLMP 2.2.2.5 */
enum {
    FLAG_TARGET_TYPE_DOMAIN = 0x00010000,
    FLAG_TARGET_TYPE_SERVER = 0x00020000,
    FLAG_TARGET_INFO = 0x00800000,
};

enum {
    AV_HEAD_SIZE = 4,
    AV_EOL = 0,
    AV_ID_MAX = 10, /* MsvAvChannelBindings, MS-NLMP 2.2.2.1 */
};

static unsigned get16(struct slice s, size_t at)
{
    return (unsigned char)s.p[at] | (unsigned)(unsigned char)s.p[at + 1] << 8;
}

static uint32_t get32(struct slice s, size_t at)
{
    return get16(s, at) | (uint32_t)get16(s, at + 2) << 16;
}

/* The bytes that the field header at `at` points to; false when they are not inside the message. */
static bool get_field(struct slice token, size_t at, struct slice *ret_field)
{
    size_t n = get16(token, at), offset = get32(token, at + 4);
    if (n == 0) {
        *ret_field = SLICE_NONE;
        return true;
    }
    if (offset < OLD_SIZE || offset > token.n || n > token.n - offset)
        return false;
    *ret_field = slice_of(token.p + offset, n);
    return true;
}

/* A list of AV pairs that ends with AV_EOL and has each id once. */
static bool av_pairs_are_sound(struct slice info)
{
    unsigned seen = 0;
    while (info.n >= AV_HEAD_SIZE) {
        unsigned id = get16(info, 0), n = get16(info, 2);
        info = slice_skip(info, AV_HEAD_SIZE);
        if (id == AV_EOL)
            return n == 0;
        if (n > info.n)
            return false;
        if (id <= AV_ID_MAX && (seen & 1u << id))
            return false;
        seen |= id <= AV_ID_MAX ? 1u << id : 0;
        info = slice_skip(info, n);
    }
    return false;
}

static const char *fault_of(struct slice token)
{
    static const char head[] = "NTLMSSP\0\2\0\0\0"; /* the last NUL is the compiler's */
    if (token.n < OLD_SIZE || memcmp(token.p, head, TYPE_AT + 4) != 0)
        return "it is no NTLM Type 2 message";
    uint32_t flags = get32(token, FLAGS_AT);
    struct slice name, info;
    if (flags & (FLAG_TARGET_TYPE_DOMAIN | FLAG_TARGET_TYPE_SERVER)) {
        if (!get_field(token, NAME_AT, &name))
            return "its target name is outside of the message";
        if (name.n == 0)
            return "its target name is announced but empty";
    }
    if (!(flags & FLAG_TARGET_INFO))
        return NULL;
    if (token.n < INFO_AT + 8 || !get_field(token, INFO_AT, &info))
        return "its target information is outside of the message";
    if (info.n > 0 && !av_pairs_are_sound(info))
        return "its target information is damaged";
    return NULL;
}

bool ntlm_challenge_check(struct slice token, struct err *e)
{
    const char *fault = fault_of(token);
    return !fault || err_set(e, ERR_PROTO, "the server's challenge cannot be used: %s", fault);
}
