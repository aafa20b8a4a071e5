/* Which places of a fault sweep are tried. JD_TEST_FAULT_PART=K/N in the environment: every N-th place, beginning with place K,
 * so that the parts 0/N to (N-1)/N together are the whole sweep. Default: all places. */
#ifndef TESTS_FAULT_PART_H
#define TESTS_FAULT_PART_H

#include <stdbool.h>

/* Whether the part has that place of a sweep. Places are numbered from 0. */
bool fault_part_has(unsigned place);

#endif
