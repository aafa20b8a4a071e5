/* The field Range (RFC 9110, 14.2): the part of a file that the client asks for. */
#ifndef EXAMPLES_HTTP_RANGE_H
#define EXAMPLES_HTTP_RANGE_H

#include "examples/http/request.h"

enum range {
    RANGE_WHOLE,         /* not a range of bytes, or several: the whole file is the answer */
    RANGE_PART,          /* *first and *length are set; length is at least 1 */
    RANGE_UNSATISFIABLE, /* it begins behind the file's end */
};

/* Finds the part of a file of size bytes that value asks for: "bytes=0-99", "bytes=100-" or, of its end, "bytes=-100". */
enum range range_parse(struct text value, uint64_t size, uint64_t *first, uint64_t *length);

#endif
