#include "tests/behaviour/faults/fault_part.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct part {
    unsigned first, parts;
};

static struct part read_part(void)
{
    const char *text = getenv("JD_TEST_FAULT_PART");
    struct part part = { .first = 0, .parts = 1 };
    char rest;

    if (text == NULL || *text == '\0')
        return part;
    if (sscanf(text, "%u/%u%c", &part.first, &part.parts, &rest) != 2 || part.first >= part.parts)
        ck_abort_msg("JD_TEST_FAULT_PART: '%s' is not K/N with K below N", text);
    return part;
}

bool fault_part_has(unsigned place)
{
    struct part part = read_part();

    return place % part.parts == part.first;
}
