/* Log lines that peers cause, at a bounded rate: a peer must not be able to fill the log. */
#ifndef NET_LOOP_LOOP_LOG_H
#define NET_LOOP_LOOP_LOG_H

#include <jinduo/event_loop.h>

struct loop_log {
    uint32_t second; /* of the loop's clock */
    uint32_t lines;  /* in it */
    uint64_t suppressed;
};

/* Whether a line that a peer has caused may be logged now; counts it. Says before how many have been suppressed. */
bool loop_may_log(jd_event_loop *loop);

/* Says how many lines have been suppressed, if any. */
void loop_log_suppressed(jd_event_loop *loop);

#endif
