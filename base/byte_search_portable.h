/* memmem(3) for systems whose C library has none. Callers use base/platform/byte_search.h. */
#ifndef BASE_BYTE_SEARCH_PORTABLE_H
#define BASE_BYTE_SEARCH_PORTABLE_H

#include <stddef.h>

/* Returns the first occurrence of needle (1 byte or more) in the length bytes of data, or NULL. The time is
 * proportional to length, whatever the bytes are, unless they have been chosen to collide in the hash of long needles.
 * From any thread. */
void *byte_search_portable(const void *data, size_t length, const void *needle, size_t needle_length);

#endif
