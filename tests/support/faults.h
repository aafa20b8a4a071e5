/* Injected faults: the n-th call of one entry of the table system_calls (base/posix/system_calls.h) fails with an
 * error that its man page lists. Calls that do not go through the table, such as those of a test's own clients, never
 * fail.
 *
 * Thread rule: any thread; faults_set only while no other thread makes such calls. */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <stddef.h>

/* In the table's order. */
enum fault_call {
    CALL_ACCEPT4,
    CALL_BIND,
    CALL_CLOSE,
    CALL_CONNECT,
    CALL_EPOLL_CREATE1,
    CALL_EPOLL_CTL,
    CALL_EPOLL_WAIT,
    CALL_EVENTFD,
    CALL_GETPEERNAME,
    CALL_GETSOCKNAME,
    CALL_GETSOCKOPT,
    CALL_LISTEN,
    CALL_PREAD,
    CALL_PREADV,
    CALL_PWRITEV,
    CALL_RECV,
    CALL_RECVMSG,
    CALL_RING_ENTER, /* these two for an engine with a ring; its operations count as accept4, recv, send … */
    CALL_RING_SETUP,
    CALL_SEND,
    CALL_SENDFILE,
    CALL_SENDMSG,
    CALL_SETSOCKOPT,
    CALL_SHUTDOWN,
    CALL_SOCKET,
    FAULT_CALLS
};

/* How the library handles a fault. */
enum fault_effect {
    FAULT_UNNOTICED,        /* it retries or continues: the user does not notice */
    FAULT_PAUSES_ACCEPTING, /* accepting resumes by itself */
    FAULT_REPORTED,         /* as the result of a call, or as the end of the connection concerned */
};

/* Instead of an errno: the call succeeds, but transfers a single byte. */
enum { FAULT_ONE_BYTE = 0 };

struct fault {
    enum fault_call call;
    int number; /* errno, or FAULT_ONE_BYTE */
    enum fault_effect effect;
    int or_number; /* 0, or: it may be reported as this errno instead */
};

/* All errors that the man pages list; ends with an entry whose call is FAULT_CALLS. */
extern const struct fault known_faults[];

/* Their names, such as "recv" and "ENOMEM". */
const char *fault_call_name(enum fault_call call);
const char *fault_error_name(const struct fault *fault);

/* Puts the counting and failing functions into the table; restores the system's functions. */
void faults_install(void);
void faults_remove(void);

/* From now on calls are counted from 1, and count consecutive calls of fault's entry, from the number-th on, fail.
 * NULL: none fails. */
void faults_set(const struct fault *fault, unsigned number, unsigned count);

/* No call fails from now on; the counters keep their values. */
void faults_stop(void);

/* Since faults_set: the calls of an entry; the calls that were made to fail; and how many of these the library must
 * have reported, which depends on the purpose of the call too. */
unsigned faults_calls(enum fault_call call);
unsigned faults_injected(void);
unsigned faults_to_report(void);

#endif
