/* Formatted text at the end of a buffer. */
#include "base/ring_buffer.h"

#include <jinduo/error.h>
#include <stdio.h>

/* Longer text is made once more, in the buffer. */
enum { SHORT_TEXT_BYTES = 256 };

int jd_buffer_append_format_list(jd_buffer *buffer, const char *format, va_list arguments)
{
    char text[SHORT_TEXT_BYTES], *room;
    va_list again;
    int length;

    va_copy(again, arguments);
    length = vsnprintf(text, sizeof(text), format, arguments);
    if (length < 0) {
        length = JD_EINVAL;
    } else if ((size_t)length < sizeof(text)) {
        length = jd_buffer_append(buffer, text, (size_t)length);
    } else {
        room = jd_buffer_reserve(buffer, (size_t)length + 1);
        if (room == NULL)
            length = JD_ENOMEM;
        else if (vsnprintf(room, (size_t)length + 1, format, again) != length)
            length = JD_EINVAL;
        else
            length = jd_buffer_commit(buffer, (size_t)length);
    }
    va_end(again);
    return length;
}

int jd_buffer_append_format(jd_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int result;

    va_start(arguments, format);
    result = jd_buffer_append_format_list(buffer, format, arguments);
    va_end(arguments);
    return result;
}
