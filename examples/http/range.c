#include "examples/http/range.h"

#include <string.h>
#include <strings.h>

/* Takes the digits at the beginning of text as *number; numbers that are too large count as the largest. Returns whether there
 * are any. */
static bool take_number(struct text *text, uint64_t *number)
{
    enum { BASE = 10 };
    size_t taken = 0;

    *number = 0;
    for (; taken < text->length && text->data[taken] >= '0' && text->data[taken] <= '9'; taken++) {
        unsigned digit = (unsigned)(text->data[taken] - '0');
        *number = *number > (UINT64_MAX - digit) / BASE ? UINT64_MAX : *number * BASE + digit;
    }
    text->data += taken;
    text->length -= taken;
    return taken > 0;
}

static enum range part(uint64_t begin, uint64_t end, uint64_t *first, uint64_t *length)
{
    *first = begin;
    *length = end - begin;
    return RANGE_PART;
}

/* Of the file's end: "100" bytes. */
static enum range suffix(struct text text, uint64_t size, uint64_t *first, uint64_t *length)
{
    uint64_t wanted;

    if (!take_number(&text, &wanted) || text.length > 0)
        return RANGE_WHOLE;
    if (wanted == 0 || size == 0)
        return RANGE_UNSATISFIABLE;
    return part(wanted < size ? size - wanted : 0, size, first, length);
}

static bool take_dash(struct text *text)
{
    if (text->length == 0 || *text->data != '-')
        return false;
    text->data++, text->length--;
    return true;
}

enum range range_parse(struct text value, uint64_t size, uint64_t *first, uint64_t *length)
{
    static const char unit[] = "bytes=";
    uint64_t begin, last = UINT64_MAX;

    if (value.data == NULL || value.length < sizeof(unit) || strncasecmp(value.data, unit, sizeof(unit) - 1) != 0)
        return RANGE_WHOLE;
    value.data += sizeof(unit) - 1, value.length -= sizeof(unit) - 1;
    if (take_dash(&value))
        return suffix(value, size, first, length);
    if (!take_number(&value, &begin) || !take_dash(&value))
        return RANGE_WHOLE;
    if (value.length > 0 && (!take_number(&value, &last) || value.length > 0 || last < begin))
        return RANGE_WHOLE;
    if (begin >= size)
        return RANGE_UNSATISFIABLE;
    return part(begin, last < size ? last + 1 : size, first, length);
}
