/* Memory functions for tests: every block is checked when it is given back, and an allocation can be made to fail. Not
 * for several threads. Use it as a test case's checked fixture: checking_memory_install, checking_memory_remove. */
#ifndef TESTS_CHECKING_MEMORY_H
#define TESTS_CHECKING_MEMORY_H

#include <stdbool.h>

/* New memory is full of it. */
enum { CHECKING_MEMORY_PATTERN = 0xa5 };

/* Makes the library take its memory from here. */
void checking_memory_install(void);

/* Fails the test if a block was not given back. */
void checking_memory_remove(void);

/* The number-th allocation from now on fails, once; 1 is the next. */
void checking_memory_fail_at(unsigned number);

/* Whether the allocation that was to fail has been reached. Switches it off if not. */
bool checking_memory_has_failed(void);

#endif
