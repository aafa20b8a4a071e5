#include "base/platform/standard_error.h"

#include "base/posix/pipe_signal.h"

#include <unistd.h>

void standard_error_write(const char *text, size_t length)
{
    struct pipe_signal before;

    pipe_signal_block(&before);
    pipe_signal_restore(&before, write(STDERR_FILENO, text, length) != (ssize_t)length);
}
