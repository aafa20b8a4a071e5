/* What io_uring's system calls come to in tests, by the table system_calls (base/posix/system_calls.h): a test decides over each
 * call, and over each operation that a ring hands to the kernel; or the kernel is one before Linux 6.12. Not for rings whose
 * submissions a thread of the kernel's takes (SQPOLL). Empty where io_uring is not built in. */
#ifndef TESTS_RING_CALLS_H
#define TESTS_RING_CALLS_H

enum ring_call {
    RING_SETUP,
    RING_ENTER,  /* io_uring_enter(2) that also makes completions: by a wait */
    RING_SUBMIT, /* io_uring_enter(2) that only submits */
    RING_ACCEPT, /* these and the following: operations */
    RING_CONNECT,
    RING_RECEIVE,
    RING_SEND,
    RING_READ,
    RING_WRITE,
};

/* A fate: 0: the call is made, or the operation begun. */
enum { RING_ONE_BYTE = 1 }; /* of an operation that moves bytes: it moves one */

/* Asked before each; fd: the operation's descriptor, or -1. Returns a fate, or the negative error with which the call
 * fails or the operation completes. In the thread that makes the call. */
typedef int (*ring_decision)(enum ring_call call, int fd);

/* Until system_calls_reset. From then on operations that would complete many times (multishot) complete once, so that
 * something is decided for each connection accepted and each receive. */
void ring_calls_decide(ring_decision decision);

/* Rings made from then on have no buffers that are used up piece by piece (IOU_PBUF_RING_INC, Linux 6.12). */
void ring_calls_before_6_12(void);

#endif
