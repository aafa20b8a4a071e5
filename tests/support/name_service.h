/* A name service for tests: getaddrinfo in the table of system calls (base/posix/system_calls.h), which answers as it is told, and
 * may be held up. Set while nothing is being looked up. */
#ifndef TESTS_NAME_SERVICE_H
#define TESTS_NAME_SERVICE_H

void name_service_install(void);

/* Lets go, waits until every lookup has ended, and puts the system's own back. */
void name_service_remove(void);

/* From now on every name has these numeric addresses, up to a NULL; or an error of getaddrinfo(3), with that errno. */
void name_service_answer(const char *const *addresses);
void name_service_fail(int error, int number);

/* Those who ask get no answer until they are let go. */
void name_service_hold(void);
void name_service_let_go(void);

/* How often it was asked; who waits for an answer. */
unsigned name_service_asked(void);
unsigned name_service_waiting(void);

#endif
