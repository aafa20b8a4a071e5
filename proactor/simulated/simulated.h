/* The simulated Proactor: a completion backend built from readiness and threads, for systems without a completion API
 * and for teaching. The Poller (epoll) reports that a descriptor is ready, a worker thread performs the operation,
 * and its completion is queued to the loop's thread and reported from wait. Correct, not fast: docs/proactor.md
 * measures the cost of this design. */
#ifndef PROACTOR_SIMULATED_SIMULATED_H
#define PROACTOR_SIMULATED_SIMULATED_H

#include "proactor/backend.h"

extern const struct backend_ops simulated_backend;

#endif
