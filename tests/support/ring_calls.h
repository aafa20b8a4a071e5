/* Results of io_uring's system calls in tests, by the table system_calls (base/posix/system_calls.h). A test decides
 * the result of each call and of each operation that a ring submits; or the kernel behaves like one before Linux
 * 6.12. The functions do nothing if io_uring is
 * not built in. */
#ifndef TESTS_RING_CALLS_H
#define TESTS_RING_CALLS_H

enum ring_call {
    RING_SETUP,
    RING_ENTER,  /* io_uring_enter(2) that also creates completions, as a wait does */
    RING_SUBMIT, /* io_uring_enter(2) that only submits */
    RING_ACCEPT, /* this and the following: operations */
    RING_CONNECT,
    RING_RECEIVE,
    RING_SEND,
    RING_READ,
    RING_WRITE,
};

/* A decision that is neither 0 nor an error: an operation that transfers bytes transfers one. */
enum { RING_ONE_BYTE = 1 };

/* Called before each call and operation, in the thread that makes the call. fd: the operation's descriptor, or -1.
 * Returns 0: the call is made, or the operation submitted; RING_ONE_BYTE; or the negative error with which the call
 * fails or the operation completes. */
typedef int (*ring_decision)(enum ring_call call, int fd);

/* Installs decision until system_calls_reset. Multishot operations then complete once, so that there is a decision
 * for each accepted connection and each receive. */
void ring_calls_decide(ring_decision decision);

/* Rings created from now on cannot consume buffers incrementally (IOU_PBUF_RING_INC, Linux 6.12). */
void ring_calls_before_6_12(void);

#endif
