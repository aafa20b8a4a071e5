/* A name service for tests: replaces getaddrinfo in the table system_calls (base/posix/system_calls.h). Its answers
 * are set by the test, and lookups can be blocked. Install and remove it while no lookup is in progress. */
#ifndef TESTS_NAME_SERVICE_H
#define TESTS_NAME_SERVICE_H

void name_service_install(void);

/* Unblocks lookups, waits until all have ended, and restores the system's function. */
void name_service_remove(void);

/* From now on every lookup returns these numeric addresses, which end with NULL; or fails with error of
 * getaddrinfo(3) and errno number. */
void name_service_answer(const char *const *addresses);
void name_service_fail(int error, int number);

/* Blocks lookups until unblock. */
void name_service_block(void);
void name_service_unblock(void);

/* How many lookups have begun; how many wait for an answer now. */
unsigned name_service_lookups(void);
unsigned name_service_blocked_lookups(void);

#endif
