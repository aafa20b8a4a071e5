#include "base/platform/signal_catch.h"

#include <errno.h>
#include <stddef.h>

int signal_catch(int number, void (*handler)(int number), signal_before *before)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

    sigfillset(&action.sa_mask);
    return sigaction(number, &action, before) < 0 ? -errno : 0;
}

void signal_release(int number, const signal_before *before)
{
    sigaction(number, before, NULL);
}
