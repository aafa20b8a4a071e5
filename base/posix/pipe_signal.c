#include "base/posix/pipe_signal.h"

#include <time.h>

void pipe_signal_block(struct pipe_signal *before)
{
    sigset_t pipe_only, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before->mask);
    before->was_blocked = sigismember(&before->mask, SIGPIPE) == 1;
    before->was_pending = false;
    /* A signal that was not blocked cannot have been pending for this thread (signal(7)). */
    if (!before->was_blocked)
        return;
    sigemptyset(&pending);
    sigpending(&pending);
    before->was_pending = sigismember(&pending, SIGPIPE) == 1;
}

void pipe_signal_restore(const struct pipe_signal *before, bool may_be_raised)
{
    const struct timespec no_wait = { 0 };
    sigset_t pipe_only;

    if (may_be_raised && !before->was_pending) {
        sigemptyset(&pipe_only);
        sigaddset(&pipe_only, SIGPIPE);
        sigtimedwait(&pipe_only, NULL, &no_wait);
    }
    if (!before->was_blocked)
        pthread_sigmask(SIG_SETMASK, &before->mask, NULL);
}
