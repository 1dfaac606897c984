#include "sandbox/ntlm_type3.h"

#include <stdint.h>

enum {
    NT_RESPONSE_AT = 20,   /* where the header describes the NT response */
    V2_PAIRS_AT = 44,      /* NTProofStr (16) and the fixed part of NTLMv2_CLIENT_CHALLENGE (28) */
    V2_VERSION_AT = 16,    /* RespType and HiRespType, both 1 */
    PAIR_HEADER_SIZE = 4,  /* AvId, AvLen */
    PAIR_EOL = 0,          /* MsvAvEOL */
    PAIR_BINDING = 0x000a, /* MsvAvChannelBindings */
};

static unsigned le16(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return b[0] | (unsigned)b[1] << 8;
}

static uint32_t le32(const char *p)
{
    return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static bool is_zero(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != 0)
            return false;
    }
    return true;
}

static bool fail(const char **ret_why, const char *why)
{
    *ret_why = why;
    return false;
}

/* The bytes that the eight octets at `at` describe: length, allocated length, offset. */
static bool field(struct slice token, size_t at, struct slice *ret_field)
{
    size_t n = le16(token.p + at), offset = le32(token.p + at + 4);
    if (offset > token.n || n > token.n - offset)
        return false;
    *ret_field = slice_of(token.p + offset, n);
    return true;
}

/*
 * Walks the AV pairs up to MsvAvEOL; what stands behind it is padding. Two bindings are refused:
 * another reader might take the other one.
 */
static bool find_binding(struct slice pairs, struct slice *ret_binding, const char **ret_why)
{
    struct slice binding = SLICE_NONE;
    while (pairs.n >= PAIR_HEADER_SIZE) {
        unsigned id = le16(pairs.p);
        size_t n = le16(pairs.p + 2);
        pairs = slice_skip(pairs, PAIR_HEADER_SIZE);
        if (n > pairs.n)
            return fail(ret_why, "an AV pair is longer than the response");
        if (id == PAIR_EOL) {
            *ret_binding = is_zero(binding) ? SLICE_NONE : binding;
            return n == 0 || fail(ret_why, "the end of the AV pairs has a length");
        }
        if (id == PAIR_BINDING && (binding.p || n != NTLM_BINDING_SIZE))
            return fail(
                ret_why, binding.p ? "two channel bindings" : "a channel binding of wrong size");
        if (id == PAIR_BINDING)
            binding = slice_of(pairs.p, n);
        pairs = slice_skip(pairs, n);
    }
    return fail(ret_why, "the AV pairs have no end");
}

bool ntlm_type3_parse(struct slice token, struct ntlm_type3 *ret_type3, const char **ret_why)
{
    static const char start[12] = { 'N', 'T', 'L', 'M', 'S', 'S', 'P', 0, 3, 0, 0, 0 };
    if (token.n < NTLM_TYPE3_HEADER_SIZE)
        return fail(ret_why, "too short for a Type 3");
    if (memcmp(token.p, start, sizeof start) != 0)
        return fail(ret_why, "not a Type 3");
    struct slice response;
    if (!field(token, NT_RESPONSE_AT, &response))
        return fail(ret_why, "the NT response lies outside of the message");
    struct ntlm_type3 type3 = { .is_v2 = response.n > NTLM_V1_RESPONSE_SIZE };
    if (type3.is_v2) {
        if (response.n < V2_PAIRS_AT)
            return fail(ret_why, "the NTLMv2 response is too short");
        if (response.p[V2_VERSION_AT] != 1 || response.p[V2_VERSION_AT + 1] != 1)
            return fail(ret_why, "an NTLMv2 response of unknown version");
        if (!find_binding(slice_skip(response, V2_PAIRS_AT), &type3.binding, ret_why))
            return false;
    }
    *ret_type3 = type3;
    return true;
}
