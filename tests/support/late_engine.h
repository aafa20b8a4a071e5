/* Late engine: a second implementation of the seam (net/engine/engine.h), for tests only. Over real sockets and as correct as
 * any other, but it does everything late, in small pieces and in an order of its own:
 *
 *   - what a socket received is read ahead, and told some turns later, mostly in single bytes; a pause stops the reading
 *     ahead late, and never the telling of what was read;
 *   - a flush only takes note: a later turn sends a random part, a turn later still tells that it was sent;
 *   - a connect begins some turns later, and how it went is told later still, to be abandoned or not;
 *   - accepted sockets, failures and the end of a close are told some turns after they happened;
 *   - in each turn a random half of what could be done is done, streams and kinds of work mixed.
 *
 * So what only works on an engine that does things at once, in whole pieces and in order, fails here. The order follows
 * from test_seed(). */
#ifndef TESTS_LATE_ENGINE_H
#define TESTS_LATE_ENGINE_H

#include "net/engine/engine.h"

extern const struct engine_ops late_engine;

#endif
