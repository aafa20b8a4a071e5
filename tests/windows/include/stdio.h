#ifndef TESTS_WINDOWS_STDIO_H
#define TESTS_WINDOWS_STDIO_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <stdio.h>

FILE *fmemopen(void *text, size_t size, const char *mode); /* for writing; to be closed by fclose */
int posix_fclose(FILE *file);

#define fclose(file) posix_fclose(file)

#endif
