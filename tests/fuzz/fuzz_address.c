/* Paths: whatever is accepted is clean, inside the input, and read the same way when written again.
 */
#include "base/str.h"
#include "fuzz.h"
#include "smtp/address.h"

static void check_again(const struct smtp_path *path, unsigned flags)
{
    char *text = str_format("<%.*s>", SLICE_ARG(path->mailbox));
    struct smtp_path again;
    struct slice rest;
    const char *why;
    CLAIM(text);
    CLAIM(smtp_path_parse(slice_str(text), flags, &again, &rest, &why));
    CLAIM(rest.n == 0);
    CLAIM(slice_eq(again.mailbox, path->mailbox) && slice_eq(again.local, path->local));
    CLAIM(slice_eq(again.domain, path->domain) && again.is_utf8 == path->is_utf8);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = fuzz_text(data, size), rest;
    unsigned flags = data[0] & 15;
    struct smtp_path path;
    const char *why = NULL;
    if (smtp_path_parse(text, flags, &path, &rest, &why)) {
        CLAIM(fuzz_is_inside(path.mailbox, text) && fuzz_is_inside(rest, text));
        CLAIM(fuzz_is_clean(path.mailbox) && str_is_utf8(path.mailbox));
        CLAIM(path.mailbox.n + 2 <= SMTP_PATH_MAX && path.local.n <= SMTP_LOCAL_PART_MAX);
        CLAIM(path.domain.n > 0 || (flags & (SMTP_ADDRESS_ALLOW_LOCAL | SMTP_ADDRESS_ALLOW_NULL)));
        CLAIM(!path.is_utf8 || (flags & SMTP_ADDRESS_ALLOW_UTF8));
        check_again(&path, flags);
    } else {
        CLAIM(why && why[0]);
    }
    CLAIM(!smtp_mailbox_is_valid(text) || fuzz_is_clean(text));
    CLAIM(!smtp_domain_is_valid(text, false) || smtp_domain_is_valid(text, true));
    return 0;
}
