/* A user who lends: sends of all kinds from one pattern, and a record of what came back. */
#ifndef TESTS_LENDER_H
#define TESTS_LENDER_H

#include "tests/behaviour/harness.h"

#include <pthread.h>

enum { KIB = 1024, MIB = 1024 * 1024, PATTERN_BYTES = 5 * 1000 * 1000, TINY_BUFFER_BYTES = 4 * KIB };

/* What a file counts for in queued_bytes. */
enum { FILE_COUNTS_BYTES = 128 };

/* A case as harness_case makes it, for whose tests all that follows is as new. */
TCase *lender_case(Suite *suite, const char *name);

/* client_expect_pattern's bytes, and a file of the same. */
extern unsigned char pattern[PATTERN_BYTES];
extern int pattern_file;

/* The numbers of references accepted by a call, of references released, and of those released from inside a call. The
 * thread in which the last one was released. */
extern _Atomic unsigned lent, back, back_wrongly;
extern pthread_t came_back_in;

/* Set while this thread is inside a call into the library. */
extern _Thread_local bool is_calling;

/* Each once, and none from inside a call. */
void check_that_all_came_back(void);

/* Lends the next thing: its number, which goes with give_back. */
void *next_number(void);
void give_back(void *number);

/* Send length bytes of the pattern from offset on; return what the library does. */
int send_copy(jd_tcp_connection *connection, size_t offset, size_t length);
int send_owned(jd_tcp_connection *connection, size_t offset, size_t length);
int send_file(jd_tcp_connection *connection, size_t offset, size_t length);
int send_shared(jd_tcp_connection *connection, size_t offset, size_t length);

/* These four. */
enum { SENDS = 4 };
extern int (*const sends[SENDS])(jd_tcp_connection *, size_t, size_t);

/* As many as end soon: the late engine sends mostly single bytes. */
size_t many_bytes(void);

/* Sends 1000 copied bytes, file_bytes of the file and 1000 copied bytes, the pattern in all; a callback for services. */
size_t file_bytes(void);
void send_file_between(jd_tcp_connection *connection, void *arg);

#endif
