/* The table of the system's calls (base/windows/windows_calls.h) in tests: counts of calls, and calls that fail. */
#ifndef TESTS_THE_CALLS_H
#define TESTS_THE_CALLS_H

#include "base/windows/windows_calls.h"

#include <stdbool.h>
#include <stdint.h>

enum watched_call {
    CALL_ACCEPT,
    CALL_BIND,   /* CreateIoCompletionPort: makes a port, or binds a handle to one */
    CALL_CANCEL, /* CancelIoEx */
    CALL_CONNECT,
    CALL_POST, /* PostQueuedCompletionStatus */
    CALL_READ_FILE,
    CALL_RECEIVE_AT_ONCE, /* recv */
    CALL_RECEIVE,         /* WSARecv */
    CALL_SEND,            /* WSASend */
    CALL_SEND_FILE,       /* TransmitFile */
    CALL_SOCKET,
    CALL_WAIT,
    CALL_WRITE_FILE,
    CALLS,
};

/* Replaces the table, after a loop has been made, by functions that count and call the system's. Counts and faults are gone. */
void calls_watch(void);

/* How often the call has been made since; packets that came out of ports. */
unsigned calls_of(enum watched_call call);
unsigned calls_packets(void);

/* From the number-th call of its kind from now on (1: the next), count calls fail with code, as WSAGetLastError and GetLastError
 * return it. */
void calls_fail(enum watched_call call, unsigned number, unsigned count, DWORD code);

/* Of the operations that are begun by such a call, from the number-th on, count complete with status, an NTSTATUS, and bytes,
 * instead of what they have come to. With bytes > 0 a send sends at most so many, all in its first buffer. */
void calls_complete_with(enum watched_call call, unsigned number, unsigned count, uint32_t status, unsigned bytes);

/* How many calls have failed, or operations have completed, as they were made to. */
unsigned calls_struck(void);

/* Loops that are made from now on take the system for a Windows Server, or for another edition. */
void calls_set_edition(bool is_server);

#endif
