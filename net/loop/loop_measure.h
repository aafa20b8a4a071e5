/* How long callbacks run, how much of the time a loop works, how late its timers are (jd_event_loop_options.measure). A loop that
 * does not measure pays nothing: the engine's wait is replaced by one that measures, and the number of connections with unsent
 * output is biased, so that flush_before_callback calls loop_measure_callback each time. */
#ifndef NET_LOOP_LOOP_MEASURE_H
#define NET_LOOP_LOOP_MEASURE_H

#include "net/engine/engine.h"
#include "net/loop/loop_statistics.h"

enum { UNFLUSHED_BIAS = 1 << 30 }; /* of a loop that measures */

struct loop_measure {
    bool on;
    jd_timestamp callback_begun; /* 0: none is running */
    loop_counter busy_ns, longest_callback_ns, timers_late_ns, latest_timer_ns;
    struct engine_ops ops; /* the engine's, with another wait */
};

/* Begins to measure, before the loop first runs. */
void loop_measure_begin(jd_event_loop *loop);

/* Ends the measurement of the callback before, and begins that of the next one. Returns the time. */
jd_timestamp loop_measure_callback(jd_event_loop *loop);

/* Counts a timer that runs now and was due at due_ms. */
void loop_measure_timer(jd_event_loop *loop, uint64_t due_ms);

#endif
