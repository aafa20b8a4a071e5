/* The few POSIX functions that the examples use, by the system's. */
#include "examples/windows/posix.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <windows.h>

#include <ntsecapi.h>

int fnmatch(const char *pattern, const char *name, int flags)
{
    const char *star = NULL, *behind_star = NULL; /* where to go on with one more character for the last star */

    while (*name != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            behind_star = name;
        } else if (*pattern == '?' || tolower((unsigned char)*pattern) == tolower((unsigned char)*name)) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star;
            name = ++behind_star;
        } else {
            return 1;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern != '\0';
}

void *memmem(const void *data, size_t length, const void *part, size_t part_length)
{
    const char *at = data, *end = at + length;

    if (part_length == 0)
        return (void *)(uintptr_t)data;
    for (; (size_t)(end - at) >= part_length; at++) {
        at = memchr(at, *(const unsigned char *)part, (size_t)(end - at) - part_length + 1);
        if (at == NULL)
            return NULL;
        if (memcmp(at, part, part_length) == 0)
            return (void *)(uintptr_t)at;
    }
    return NULL;
}

char *strsep(char **text, const char *delimiters)
{
    char *first = *text, *end;

    if (first == NULL)
        return NULL;
    end = first + strcspn(first, delimiters);
    *text = *end != '\0' ? end + 1 : NULL;
    *end = '\0';
    return first;
}

int getentropy(void *data, size_t size)
{
    return RtlGenRandom(data, (ULONG)size) ? 0 : -1;
}

struct tm *posix_gmtime_r(const time_t *time, struct tm *parts)
{
    return gmtime_s(parts, time) == 0 ? parts : NULL;
}

/* ---- strptime ---- */

static bool take_number(const char **text, int digits, int least, int most, int *number)
{
    const char *at = *text;

    for (*number = 0; digits > 0 && isdigit((unsigned char)*at); digits--)
        *number = *number * 10 + (*at++ - '0');
    if (at == *text || *number < least || *number > most)
        return false;
    *text = at;
    return true;
}

static bool take_month(const char **text, int *month)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (*month = 0; *month < 12; (*month)++) {
        if (strncasecmp(*text, names + (ptrdiff_t)3 * *month, 3) == 0) {
            *text += 3;
            return true;
        }
    }
    return false;
}

static bool take_day_of_week(const char **text)
{
    static const char *const names[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t length = strlen(names[i]);
        if (strncasecmp(*text, names[i], 3) != 0)
            continue;
        *text += strncasecmp(*text, names[i], length) == 0 ? length : 3;
        return true;
    }
    return false;
}

static bool take_year(const char **text, bool has_century, int *year)
{
    enum { CENTURY_SPLIT = 69 }; /* of years of two digits, as POSIX says */

    if (!take_number(text, has_century ? 4 : 2, 0, has_century ? 9999 : 99, year))
        return false;
    if (has_century)
        *year -= 1900;
    else if (*year < CENTURY_SPLIT)
        *year += 100;
    return true;
}

static bool take(const char **text, char conversion, struct tm *parts)
{
    switch (conversion) {
    case 'a':
    case 'A':
        return take_day_of_week(text);
    case 'b':
        return take_month(text, &parts->tm_mon);
    case 'd':
    case 'e':
        *text += strspn(*text, " ");
        return take_number(text, 2, 1, 31, &parts->tm_mday);
    case 'H':
        return take_number(text, 2, 0, 23, &parts->tm_hour);
    case 'M':
        return take_number(text, 2, 0, 59, &parts->tm_min);
    case 'S':
        return take_number(text, 2, 0, 61, &parts->tm_sec);
    case 'Y':
    case 'y':
        return take_year(text, conversion == 'Y', &parts->tm_year);
    default:
        return false;
    }
}

char *strptime(const char *text, const char *format, struct tm *parts)
{
    for (; *format != '\0'; format++) {
        if (*format == ' ') {
            text += strspn(text, " ");
        } else if (*format == '%') {
            if (!take(&text, *++format, parts))
                return NULL;
        } else if (*text++ != *format) {
            return NULL;
        }
    }
    return (char *)(uintptr_t)text;
}
