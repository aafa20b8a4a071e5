/* One write to standard error. */
#ifndef BASE_PLATFORM_STANDARD_ERROR_H
#define BASE_PLATFORM_STANDARD_ERROR_H

#include <stddef.h>

/* Writes as much of the text as one write(2) takes; errors are ignored. Raises no SIGPIPE if standard error is a pipe
 * without a reader. From any thread. */
void standard_error_write(const char *text, size_t length);

#endif
