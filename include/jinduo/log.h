/* Log: the library's messages, one line each. Each message goes to a sink; the default sink writes to standard error. */
#ifndef JINDUO_LOG_H
#define JINDUO_LOG_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

typedef enum jd_log_level {
    JD_LOG_DEBUG,
    JD_LOG_INFO,
    JD_LOG_WARNING, /* the default level: warnings and errors are logged */
    JD_LOG_ERROR,
    JD_LOG_NONE, /* for jd_log_set_level only: nothing is logged */
} jd_log_level;

/* Takes one message: at most 511 bytes, without a newline, ended by a zero, valid during the call. Invoked in the thread
 * that logs, so possibly in several threads at once. It must not call the library. */
typedef void (*jd_log_sink)(jd_log_level level, const char *message, void *arg);

/* Sets the sink and the argument it is invoked with. NULL restores the default sink, which writes
 * "jinduo: LEVEL: message" to standard error with one write. May be called from any thread; the old sink may still be
 * invoked for a message that is being logged meanwhile. */
JD_API void jd_log_set_sink(jd_log_sink sink, void *arg);

/* Drops messages below level. Default: JD_LOG_WARNING. May be called from any thread. */
JD_API void jd_log_set_level(jd_log_level level);

JD_END_DECLS
#endif
