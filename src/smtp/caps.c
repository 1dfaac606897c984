#include "smtp/caps.h"

static const char *const keywords[] = {
#define X(name, keyword) [SMTP_CAP_BIT_##name] = (keyword),
    SMTP_CAPS(X)
#undef X
};

enum { MECH_NAME_MAX = 20 }; /* RFC 4422 3.1 */

/* Takes the word at the front off *text, and the blanks around it. */
static struct slice take_word(struct slice *text)
{
    *text = slice_trim(*text);
    size_t n = 0;
    while (n < text->n && text->p[n] != ' ' && text->p[n] != '\t')
        n++;
    struct slice word = slice_of(text->p, n);
    *text = slice_trim(slice_skip(*text, n));
    return word;
}

/* One mechanism name in capitals; false when it is none (RFC 4422 3.1) or does not fit. */
static bool mech_name(struct slice word, char name[MECH_NAME_MAX + 1])
{
    if (word.n == 0 || word.n > MECH_NAME_MAX)
        return false;
    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
        name[i] = c;
    }
    name[word.n] = '\0';
    return true;
}

/* A server may send several AUTH lines (with "AUTH=" for very old clients): they add up. */
static void learn_mechs(struct smtp_caps *caps, struct slice list)
{
    while (list.n > 0) {
        struct slice word = take_word(&list);
        char name[MECH_NAME_MAX + 1];
        if (!mech_name(word, name) || smtp_caps_have_mech(caps, name))
            continue;
        size_t have = strlen(caps->auth);
        if (have + 1 + word.n > SMTP_AUTH_LIST_MAX)
            return;
        if (have > 0)
            caps->auth[have++] = ' ';
        memcpy(caps->auth + have, name, word.n + 1);
    }
}

/* RFC 1870 4: at most 20 digits; more than we can count is as good as no limit. */
static void learn_size(struct smtp_caps *caps, struct slice value)
{
    unsigned long long size;
    if (slice_to_u64(value, &size))
        caps->size = size;
}

void smtp_caps_learn(struct smtp_caps *caps, struct slice line)
{
    struct slice rest = line;
    struct slice word = take_word(&rest);
    static const struct slice old_auth = { .p = "AUTH=", .n = 5 };
    if (slice_starts_nocase(word, old_auth)) {
        caps->set |= SMTP_CAP_AUTH;
        learn_mechs(caps, slice_skip(word, old_auth.n));
        learn_mechs(caps, rest);
        return;
    }
    for (size_t bit = 0; bit < ARRAY_LEN(keywords); bit++) {
        if (!slice_eq_nocase(word, slice_str(keywords[bit])))
            continue;
        caps->set |= 1U << bit;
        if (bit == SMTP_CAP_BIT_SIZE)
            learn_size(caps, rest);
        if (bit == SMTP_CAP_BIT_AUTH)
            learn_mechs(caps, rest);
    }
}

bool smtp_caps_have_mech(const struct smtp_caps *caps, const char *mech)
{
    struct slice list = slice_str(caps->auth);
    while (list.n > 0) {
        if (slice_eq_nocase(take_word(&list), slice_str(mech)))
            return true;
    }
    return false;
}

bool smtp_caps_add_keyword(const struct smtp_caps *caps, enum smtp_cap_bit bit, struct buf *out)
{
    const char *keyword = keywords[bit];
    if (bit == SMTP_CAP_BIT_SIZE && caps->size > 0)
        return buf_addf(out, "%s %llu", keyword, (unsigned long long)caps->size);
    if (bit == SMTP_CAP_BIT_AUTH && caps->auth[0] != '\0')
        return buf_addf(out, "%s %s", keyword, caps->auth);
    return buf_add_str(out, keyword);
}
