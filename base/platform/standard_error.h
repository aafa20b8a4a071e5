/* One write to standard error. */
#ifndef BASE_PLATFORM_STANDARD_ERROR_H
#define BASE_PLATFORM_STANDARD_ERROR_H

#include <stddef.h>

/* Writes the text, as far as one call takes it. Standard error may be a pipe whose reader is gone: that raises no signal. */
void standard_error_write(const char *text, size_t length);

#endif
