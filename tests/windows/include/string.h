#ifndef TESTS_WINDOWS_STRING_H
#define TESTS_WINDOWS_STRING_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <string.h>

void *posix_memmem(const void *data, size_t length, const void *part, size_t part_length);

#define memmem(data, length, part, part_length) posix_memmem(data, length, part, part_length)

#endif
