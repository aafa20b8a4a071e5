/* Searching memory for a sequence of bytes. */
#ifndef BASE_PLATFORM_BYTE_SEARCH_H
#define BASE_PLATFORM_BYTE_SEARCH_H

#include "base/byte_search_portable.h"

#include <string.h>

/* Returns the first occurrence of needle (1 byte or more) in the length bytes of data, or NULL. */
static inline void *byte_search(const void *data, size_t length, const void *needle, size_t needle_length)
{
#ifdef _WIN32
    return byte_search_portable(data, length, needle, needle_length);
#else
    return memmem(data, length, needle, needle_length);
#endif
}

#endif
