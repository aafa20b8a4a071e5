/* Memory functions for tests: every block is checked when it is released, and allocations can be made to fail. Use it
 * as a test case's checked fixture: checking_memory_install, checking_memory_remove.
 *
 * Thread rule: any thread may allocate; set failures while no other thread does. */
#ifndef TESTS_CHECKING_MEMORY_H
#define TESTS_CHECKING_MEMORY_H

#include <stdbool.h>

/* New memory is filled with this byte. */
enum { CHECKING_MEMORY_PATTERN = 0xa5 };

/* Makes the library use these memory functions. */
void checking_memory_install(void);

/* Restores the default functions. Fails the test if a block was not released. */
void checking_memory_remove(void);

/* Allocations tried so far in this process. */
unsigned checking_memory_allocations(void);

/* count consecutive allocations fail, from the number-th on (1: the next one). Earlier settings are replaced.
 * failures: how many have failed so far. */
void checking_memory_fail(unsigned number, unsigned count);
unsigned checking_memory_failures(void);

/* The same for one allocation; 0: none. */
void checking_memory_fail_at(unsigned number);

/* Whether an allocation has failed. No further one does. */
bool checking_memory_has_failed(void);

#endif
