/* The library's messages: few, one line each, to a sink. The library itself never prints. */
#ifndef JINDUO_LOG_H
#define JINDUO_LOG_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

typedef enum jd_log_level {
    JD_LOG_DEBUG,
    JD_LOG_INFO,
    JD_LOG_WARNING, /* default: this and worse */
    JD_LOG_ERROR,
    JD_LOG_NONE, /* silence, as a level to set */
} jd_log_level;

/* Gets one message, without newline, valid during the call. Called from whichever thread has something to say, at once
 * from several. It must not call back into the library. */
typedef void (*jd_log_sink)(jd_log_level level, const char *message, void *arg);

/* Sends messages to sink; NULL brings the default back, which writes "jinduo: LEVEL: message" to standard error in one
 * write. From any thread; a message already under way may still reach the old sink. */
JD_API void jd_log_set_sink(jd_log_sink sink, void *arg);

/* Drops messages below level. From any thread. */
JD_API void jd_log_set_level(jd_log_level level);

JD_END_DECLS
#endif
