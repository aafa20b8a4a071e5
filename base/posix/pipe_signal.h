/* SIGPIPE kept from the process around a system call that has no MSG_NOSIGNAL, such as write(2) and sendfile(2): the signal
 * is blocked in this thread, what the call raised is collected, and the mask is put back. */
#ifndef BASE_POSIX_PIPE_SIGNAL_H
#define BASE_POSIX_PIPE_SIGNAL_H

#include <signal.h>
#include <stdbool.h>

struct pipe_signal {
    sigset_t mask;
    bool was_blocked; /* before */
    bool was_pending;
};

/* Two system calls in all with restore, one more only if a signal may have been raised. */
void pipe_signal_hold(struct pipe_signal *before);

/* may_be_raised: the call in between has not done all it was asked for. Not only if it failed: one that gets EPIPE on the
 * way raises the signal and yet returns what it has done until then (write(2) on a pipe: Linux, fs/pipe.c; sendfile(2),
 * which sends piece by piece: fs/splice.c). */
void pipe_signal_restore(const struct pipe_signal *before, bool may_be_raised);

#endif
