/* Memory functions for tests: every block is checked when it is given back, and allocations can be made to fail. From
 * any thread, but for saying which are to fail. Use it as a test case's checked fixture: checking_memory_install, checking_memory_remove. */
#ifndef TESTS_CHECKING_MEMORY_H
#define TESTS_CHECKING_MEMORY_H

#include <stdbool.h>

/* New memory is full of it. */
enum { CHECKING_MEMORY_PATTERN = 0xa5 };

/* Makes the library take its memory from here. */
void checking_memory_install(void);

/* Fails the test if a block was not given back. */
void checking_memory_remove(void);

/* Allocations tried so far in this process. */
unsigned checking_memory_allocations(void);

/* count allocations in a row fail, beginning with the number-th from now on; 1 is the next. Nothing else does any more.
 * failures: how many of these have been reached. */
void checking_memory_fail(unsigned number, unsigned count);
unsigned checking_memory_failures(void);

/* The same for one. */
void checking_memory_fail_at(unsigned number);

/* Whether the allocation that was to fail has been reached. Switches it off if not. */
bool checking_memory_has_failed(void);

#endif
