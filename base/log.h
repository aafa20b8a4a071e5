/* Writing to the log. See jinduo/log.h. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <jinduo/log.h>

/* Longer messages are cut. */
enum { LOG_MESSAGE_BYTES = 512 };

__attribute__((format(printf, 2, 3))) void log_message(jd_log_level level, const char *format, ...);

#endif
