#include "base/platform/error_text.h"

#include <string.h>

/* strerror(3) is not thread-safe. glibc's strerrordesc_np returns a static English text, or NULL for an unknown number.
 * In other libraries (musl) strerror itself returns a static text. */
const char *error_text(int number)
{
#ifdef __GLIBC__
    return strerrordesc_np(number);
#else
    return strerror(number);
#endif
}
