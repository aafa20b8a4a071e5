/* Functions of POSIX that the examples use and Windows has not (posix.c). Included before all else (meson.build). */
#ifndef EXAMPLES_WINDOWS_POSIX_H
#define EXAMPLES_WINDOWS_POSIX_H

#include <process.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

void *memmem(const void *data, size_t length, const void *part, size_t part_length);
char *strsep(char **text, const char *delimiters);

/* Random bytes. Returns 0 or -1. */
int getentropy(void *data, size_t size);

struct tm *posix_gmtime_r(const time_t *time, struct tm *parts);

/* As strptime(3), with the conversions of HTTP's dates: %a %A %b %d %e %H %M %S %Y %y. The day of the week is only skipped. */
char *strptime(const char *text, const char *format, struct tm *parts);

#define gmtime_r(time, parts) posix_gmtime_r(time, parts)
#define timegm(parts)         _mkgmtime(parts)

#endif
