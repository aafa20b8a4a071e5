/* The io_uring backend of the test's loop. */
#ifndef TESTS_THE_RING_H
#define TESTS_THE_RING_H

#include "proactor/engine/proactor_engine.h"
#include "proactor/io_uring/io_uring_backend.h"
#include "tests/behaviour/harness.h"

static inline struct io_uring_backend *the_ring(void)
{
    return uring_of(proactor_of_loop(the_loop)->backend);
}

#endif
