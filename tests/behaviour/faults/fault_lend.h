/* Frames of a fault run (fault_run.h) that are sent back without being copied, from memory or a file made for each. */
#ifndef TESTS_FAULT_LEND_H
#define TESTS_FAULT_LEND_H

#include "tests/behaviour/faults/fault_run.h"

/* Whether that is how the order wants its frame back. */
bool fault_lends(enum run_order order);

/* Sends a frame whose first byte is such an order. Returns 0, or the library's error: then its header may be sent. */
int fault_lend(jd_tcp_connection *connection, const void *data, size_t length);

/* The number of references that the library has not released yet. */
unsigned fault_lent(void);

#endif
