/* Writing to the log (jinduo/log.h). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <jinduo/error.h>
#include <jinduo/log.h>

/* The maximum length of a message, with its final zero; longer messages are truncated. */
enum { LOG_MESSAGE_BYTES = 512 };

/* The formats that the compiler checks: on Windows the system's differ from C11's, which mingw's own functions take. */
#ifdef _WIN32
#define LOG_FORMAT gnu_printf
#else
#define LOG_FORMAT printf
#endif

/* Whether messages of the level are passed to the sink: to be asked before a message that is costly to build. From any
 * thread. */
bool log_is_enabled(jd_log_level level);

/* Formats a message (printf(3)) and passes it to the sink if its level is enabled. Keeps errno. From any thread. */
__attribute__((format(LOG_FORMAT, 2, 3))) void log_message(jd_log_level level, const char *format, ...);

/* Logs at the level error why an argument of the user is invalid: its name, its value, and what is allowed. Is JD_EINVAL. */
#define log_invalid(...) (log_message(JD_LOG_ERROR, __VA_ARGS__), JD_EINVAL)

/* Logs that the system has not what an option asks for. The value is JD_ENOTSUP. */
#define log_unsupported(...) (log_message(JD_LOG_ERROR, __VA_ARGS__), JD_ENOTSUP)

#endif
