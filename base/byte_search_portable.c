#include "base/byte_search_portable.h"

#include <stdint.h>
#include <string.h>

/* A needle up to this length is compared at each occurrence of its first byte, which memchr(3) finds quickly. In the
 * worst case each byte is compared that many times. */
enum { SHORT_NEEDLE = 16 };

static const uint8_t *search_short(const uint8_t *data, size_t length, const uint8_t *needle, size_t needle_length)
{
    const uint8_t *last = data + (length - needle_length);

    while (data <= last) {
        data = memchr(data, needle[0], (size_t)(last - data) + 1);
        if (data == NULL || memcmp(data, needle, needle_length) == 0)
            return data;
        data++;
    }
    return NULL;
}

/* Rabin and Karp: compares where the hash of the window is that of the needle. */
static const uint8_t *search_long(const uint8_t *data, size_t length, const uint8_t *needle, size_t needle_length)
{
    const uint32_t base = 0x01000193; /* the prime of FNV-1a */
    uint32_t wanted = 0, hash = 0, leaving = 1;

    for (size_t i = 0; i < needle_length; i++) {
        wanted = wanted * base + needle[i];
        hash = hash * base + data[i];
        leaving *= base;
    }
    for (size_t i = 0;; i++) {
        if (hash == wanted && memcmp(data + i, needle, needle_length) == 0)
            return data + i;
        if (i + needle_length == length)
            return NULL;
        hash = hash * base + data[i + needle_length] - leaving * data[i];
    }
}

void *byte_search_portable(const void *data, size_t length, const void *needle, size_t needle_length)
{
    const uint8_t *found;

    if (needle_length > length)
        return NULL;
    found = needle_length <= SHORT_NEEDLE ? search_short(data, length, needle, needle_length)
                                          : search_long(data, length, needle, needle_length);
    return (void *)(uintptr_t)found;
}
