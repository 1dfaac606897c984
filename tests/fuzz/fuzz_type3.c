/* A result lies inside of the token and is of the only size there is; a refusal has a reason. */
#include "sandbox/ntlm_type3.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice token = slice_of((const char *)data, size);
    struct ntlm_type3 type3;
    const char *why = NULL;
    if (!ntlm_type3_parse(token, &type3, &why)) {
        CLAIM(why != NULL);
        return 0;
    }
    CLAIM(fuzz_is_inside(type3.binding, token));
    CLAIM(type3.binding.n == 0 || (type3.is_v2 && type3.binding.n == NTLM_BINDING_SIZE));
    return 0;
}
