#include "sandbox/ntlm_type3.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A result lies inside of the token and is of the only size there is; a refusal has a reason. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice token = slice_of((const char *)data, size);
    struct ntlm_type3 type3;
    const char *why = NULL;
    if (!ntlm_type3_parse(token, &type3, &why)) {
        if (!why)
            abort();
        return 0;
    }
    struct slice binding = type3.binding;
    if (binding.n != 0 && (binding.n != NTLM_BINDING_SIZE || !type3.is_v2 || binding.p < token.p ||
                              binding.p + binding.n > token.p + token.n))
        abort();
    return 0;
}
