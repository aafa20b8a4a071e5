/* Suppresses SIGPIPE around a system call without MSG_NOSIGNAL, such as write(2) and sendfile(2): blocks the signal in
 * the calling thread, consumes the one that the call has raised, and restores the mask. */
#ifndef BASE_POSIX_PIPE_SIGNAL_H
#define BASE_POSIX_PIPE_SIGNAL_H

#include <signal.h>
#include <stdbool.h>

/* The state before pipe_signal_block. */
struct pipe_signal {
    sigset_t mask;
    bool was_blocked;
    bool was_pending;
};

/* Blocks SIGPIPE. Costs two system calls together with restore, and one more if a signal may have been raised. */
void pipe_signal_block(struct pipe_signal *before);

/* Restores the state before. may_be_raised: the system call has failed or was short. A short result may hide the
 * signal: a call that gets EPIPE after some bytes raises it and returns their number (write(2) on a pipe: Linux,
 * fs/pipe.c; sendfile(2), which sends in pieces: fs/splice.c). */
void pipe_signal_restore(const struct pipe_signal *before, bool may_be_raised);

#endif
