#include "app/app.h"

#include <stdio.h>

int app_version(const struct app_options *options)
{
    (void)options;
    printf("submitd %s\n", SUBMITD_VERSION);
    return APP_FINE;
}
