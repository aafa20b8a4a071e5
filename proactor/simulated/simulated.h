/* The simulated Proactor: a completion backend made of readiness and threads, for systems without a completion API and for
 * teaching. The Poller says that an operation is possible, a worker thread performs it, its completion is queued to the
 * loop's thread and reported from wait. Correct, not fast: what it costs is what this way costs (docs/proactor.md). */
#ifndef PROACTOR_SIMULATED_SIMULATED_H
#define PROACTOR_SIMULATED_SIMULATED_H

#include "proactor/backend.h"

extern const struct backend_ops simulated_backend;

#endif
