/* Faults in system calls: the n-th call of one entry of the table system_calls (base/posix/system_calls.h) fails in a way that
 * its man page knows. Calls that do not go through the table, such as a test's own clients, are never hit. From any
 * thread; faults_set while no other thread makes such calls. */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <stdbool.h>
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
    CALL_RING_ENTER, /* these two for an engine that has a ring: as accept4, recv and send count its operations */
    CALL_RING_SETUP,
    CALL_SEND,
    CALL_SENDFILE,
    CALL_SENDMSG,
    CALL_SETSOCKOPT,
    CALL_SHUTDOWN,
    CALL_SOCKET,
    FAULT_CALLS
};

/* What the library makes of a fault. */
enum fault_effect {
    FAULT_UNNOTICED,        /* it tries again, or goes on: its user never learns */
    FAULT_PAUSES_ACCEPTING, /* and accepting resumes by itself */
    FAULT_REPORTED,         /* as a call's result or as the end of the connection that was hit */
};

/* Instead of an errno: no failure, but a single byte received or sent. */
enum { FAULT_ONE_BYTE = 0 };

struct fault {
    enum fault_call call;
    int number; /* errno, or FAULT_ONE_BYTE */
    enum fault_effect effect;
    int or_number; /* may be reported as this errno instead */
};

/* All that the man pages know; ends with one of call FAULT_CALLS. */
extern const struct fault known_faults[];

/* "recv", "ENOMEM". */
const char *fault_call_name(enum fault_call call);
const char *fault_error_name(const struct fault *fault);

/* Puts the counting and failing functions into the table, and the system's own back. */
void faults_install(void);
void faults_remove(void);

/* From now on calls are counted from 1; count in a row of the entry's calls, beginning with the number-th, fail. NULL:
 * none does. */
void faults_set(const struct fault *fault, unsigned number, unsigned count);

/* No call fails any more; what has been counted stays. */
void faults_stop(void);

/* Calls of an entry since faults_set; how many calls of any were made to fail; how many of these must have been
 * reported, as what they were made for matters, too. */
unsigned faults_calls(enum fault_call call);
unsigned faults_struck(void);
unsigned faults_to_report(void);

#endif
