/* Dates as HTTP writes them (RFC 9110, 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT". */
#ifndef EXAMPLES_HTTP_DATE_H
#define EXAMPLES_HTTP_DATE_H

#include <jinduo/event_loop.h>
#include <time.h>

enum { DATE_BYTES = 29 }; /* without a zero at the end */

/* Writes DATE_BYTES characters. */
void date_format(char text[DATE_BYTES], time_t time);

/* Sets *time to the time that the length characters say, in any of the three forms. Returns whether they are a date. */
bool date_parse(time_t *time, const char *text, size_t length);

/* Returns the second of the present turn of the thread's loop. The clock is read once a second. */
time_t date_now(const jd_event_loop *loop);

/* Returns the DATE_BYTES characters of date_now, valid until the next call in this thread. */
const char *date_now_text(const jd_event_loop *loop);

#endif
