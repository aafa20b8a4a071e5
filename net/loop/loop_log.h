/* Rate limit for log lines that peers cause (invalid frames, for example): a peer must not be able to fill the log. At
 * most 10 lines a second for each loop. In the loop's thread. */
#ifndef NET_LOOP_LOOP_LOG_H
#define NET_LOOP_LOOP_LOG_H

#include <jinduo/event_loop.h>

struct loop_log {
    uint32_t second;     /* of the loop's clock */
    uint32_t lines;      /* logged in that second */
    uint64_t suppressed; /* since loop_log_suppressed */
};

/* Returns whether a line that a peer has caused may be logged now, and counts it. In a new second it first logs the
 * number of suppressed lines. */
bool loop_may_log(jd_event_loop *loop);

/* Logs the number of suppressed lines, if any. */
void loop_log_suppressed(jd_event_loop *loop);

#endif
