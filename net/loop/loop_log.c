/* Rate limit for log lines that peers cause: one for each loop, so that loop threads share no state. */
#include "base/log.h"
#include "net/loop/event_loop.h"

#include <inttypes.h>

enum { LINES_PER_SECOND = 10, MS_PER_SECOND = 1000 };

void loop_log_suppressed(jd_event_loop *loop)
{
    struct loop_log *limit = &loop->log;

    if (limit->suppressed > 0)
        log_message(JD_LOG_WARNING, "%" PRIu64 " more messages about peers suppressed (limit: %d a second)",
                    limit->suppressed, LINES_PER_SECOND);
    limit->suppressed = 0;
}

bool loop_may_log(jd_event_loop *loop)
{
    struct loop_log *limit = &loop->log;
    uint32_t second = loop->now_ms / MS_PER_SECOND;

    if (second != limit->second) {
        limit->second = second;
        limit->lines = 0;
        loop_log_suppressed(loop);
    }
    if (limit->lines == LINES_PER_SECOND) {
        limit->suppressed++;
        return false;
    }
    limit->lines++;
    return true;
}
