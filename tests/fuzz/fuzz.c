#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    abort();
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->next++;
}

uint64_t fuzz_number(struct fuzz_input *input, unsigned bytes)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)fuzz_byte(input) << (8 * i);
    return number;
}

const uint8_t *fuzz_take(struct fuzz_input *input, size_t *length)
{
    const uint8_t *taken = input->next;

    if (*length > input->left)
        *length = input->left;
    input->next += *length;
    input->left -= *length;
    return taken;
}

uint8_t *fuzz_copy(const void *data, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);

    REQUIRE(copy != NULL);
    if (length > 0)
        memcpy(copy, data, length);
    return copy;
}
