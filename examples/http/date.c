#include "examples/http/date.h"

#include <string.h>

enum { NS_PER_S = 1000000000, TEXT_BYTES = 64 };

/* strftime(3) would write the names of the process's locale. */
static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

static char *add_digits(char *text, int number, int digits)
{
    enum { BASE = 10 };

    for (int i = digits - 1; i >= 0; i--, number /= BASE)
        text[i] = (char)('0' + number % BASE);
    return text + digits;
}

static char *add(char *text, const char *more, size_t length)
{
    memcpy(text, more, length);
    return text + length;
}

void date_format(char text[DATE_BYTES], time_t time)
{
    enum { NAME = 3, YEAR_0 = 1900 };
    struct tm parts = { 0 };

    gmtime_r(&time, &parts);
    text = add(text, days[parts.tm_wday], NAME);
    text = add(text, ", ", 2);
    text = add_digits(text, parts.tm_mday, 2);
    *text++ = ' ';
    text = add(text, months[parts.tm_mon], NAME);
    *text++ = ' ';
    text = add_digits(text, parts.tm_year + YEAR_0, 4);
    *text++ = ' ';
    text = add_digits(text, parts.tm_hour, 2);
    *text++ = ':';
    text = add_digits(text, parts.tm_min, 2);
    *text++ = ':';
    text = add_digits(text, parts.tm_sec, 2);
    add(text, " GMT", 4);
}

bool date_parse(time_t *time, const char *text, size_t length)
{
    /* IMF-fixdate, RFC 850, asctime(3). The program has the locale "C", whose names they are. */
    static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                         "%a %b %e %H:%M:%S %Y" };
    char copy[TEXT_BYTES];

    if (length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm parts = { 0 };
        const char *end = strptime(copy, forms[i], &parts);
        if (end != NULL && *end == '\0') {
            *time = timegm(&parts);
            return true;
        }
    }
    return false;
}

static _Thread_local struct {
    jd_timestamp valid_until;
    time_t second;
    char text[DATE_BYTES];
} now;

time_t date_now(const jd_event_loop *loop)
{
    jd_timestamp turn = jd_event_loop_now(loop);
    struct timespec clock;

    if (turn < now.valid_until)
        return now.second;
    clock_gettime(CLOCK_REALTIME, &clock);
    now.second = clock.tv_sec;
    now.valid_until = turn + NS_PER_S - clock.tv_nsec;
    date_format(now.text, now.second);
    return now.second;
}

const char *date_now_text(const jd_event_loop *loop)
{
    date_now(loop);
    return now.text;
}
