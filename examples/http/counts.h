/* How many answers of each status the process has sent. */
#ifndef EXAMPLES_HTTP_COUNTS_H
#define EXAMPLES_HTTP_COUNTS_H

#include <jinduo/buffer.h>

/* Counts an answer: in memory of the thread, so that threads do not wait for each other. */
void counts_add(unsigned status);

/* Appends the counts of all threads as metrics. Returns 0 or a negative error. */
int counts_format(jd_buffer *buffer);

#endif
