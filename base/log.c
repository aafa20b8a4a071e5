#include "base/log.h"

#include "base/platform/standard_error.h"
#include "base/platform/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static void write_to_stderr(jd_log_level level, const char *message, void *arg);

/* Protects sink and argument, which change together. Not held while the sink runs: a slow sink delays only its
 * caller. */
static thread_mutex sink_lock = THREAD_MUTEX_INITIALIZER;
static jd_log_sink current_sink = write_to_stderr;
static void *current_arg;

static atomic_int lowest_level = JD_LOG_WARNING;

static const char *level_name(jd_log_level level)
{
    switch (level) {
    case JD_LOG_DEBUG:
        return "debug";
    case JD_LOG_INFO:
        return "info";
    case JD_LOG_WARNING:
        return "warning";
    default:
        return "error";
    }
}

static void write_to_stderr(jd_log_level level, const char *message, void *arg)
{
    char line[LOG_MESSAGE_BYTES + sizeof("jinduo: warning: \n")];
    int length = snprintf(line, sizeof(line), "jinduo: %s: %s\n", level_name(level), message);

    standard_error_write(line, (size_t)length);
}

void jd_log_set_sink(jd_log_sink sink, void *arg)
{
    thread_mutex_lock(&sink_lock);
    current_sink = sink != NULL ? sink : write_to_stderr;
    current_arg = arg;
    thread_mutex_unlock(&sink_lock);
}

void jd_log_set_level(jd_log_level level)
{
    atomic_store_explicit(&lowest_level, (int)level, memory_order_relaxed);
}

bool log_is_enabled(jd_log_level level)
{
    return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

void log_message(jd_log_level level, const char *format, ...)
{
    char message[LOG_MESSAGE_BYTES];
    int saved_errno = errno;
    jd_log_sink sink;
    void *sink_arg;
    va_list arguments;

    if (!log_is_enabled(level))
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    thread_mutex_lock(&sink_lock);
    sink = current_sink;
    sink_arg = current_arg;
    thread_mutex_unlock(&sink_lock);
    sink(level, message, sink_arg);
    errno = saved_errno;
}
