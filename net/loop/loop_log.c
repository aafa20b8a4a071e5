/* Log lines that peers cause, at a bounded rate: for each loop, as its threads share nothing. */
#include "base/log.h"
#include "net/loop/event_loop.h"

#include <inttypes.h>

enum { LINES_PER_SECOND = 10, MS_PER_SECOND = 1000 };

void loop_log_suppressed(jd_event_loop *loop)
{
    struct loop_log *allowance = &loop->log;

    if (allowance->suppressed > 0)
        log_message(JD_LOG_WARNING, "%" PRIu64 " more messages about peers suppressed, beyond %d a second",
                    allowance->suppressed, LINES_PER_SECOND);
    allowance->suppressed = 0;
}

bool loop_may_log(jd_event_loop *loop)
{
    struct loop_log *allowance = &loop->log;
    uint32_t second = loop->now_ms / MS_PER_SECOND;

    if (second != allowance->second) {
        allowance->second = second;
        allowance->lines = 0;
        loop_log_suppressed(loop);
    }
    if (allowance->lines == LINES_PER_SECOND) {
        allowance->suppressed++;
        return false;
    }
    allowance->lines++;
    return true;
}
