/* The late engine: an implementation of the seam (net/engine/engine.h) for tests only. It uses real sockets and keeps
 * every promise of the seam, but does everything late, in small parts and in random order:
 *
 *   - receive: bytes are read ahead and delivered some turns later, mostly one at a time; a pause stops the reading
 *     ahead late, and never the delivery of bytes that were read;
 *   - send: a flush is only recorded; a later turn sends a random part, and a still later turn reports it;
 *   - connect: begins some turns later, and its result is reported later still, whether it is abandoned or not;
 *   - accepted sockets, failures and the end of a close are reported some turns after they happened;
 *   - each turn does a random half of the pending work, with streams and kinds of work mixed.
 *
 * Code that relies on an engine that acts at once, completely and in order fails here. The order follows from
 * test_seed(). */
#ifndef TESTS_LATE_ENGINE_H
#define TESTS_LATE_ENGINE_H

#include "net/engine/engine.h"

extern const struct engine_ops late_engine;

#endif
