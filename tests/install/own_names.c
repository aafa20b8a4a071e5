/* Functions and a variable of a user's program with the same names as internal ones of the library. */
#include <stdlib.h>

void timer_start(void);
void stream_sent(void);
void listener_closed(void);
void connection_flush(void);
void memory_allocate(void);

void timer_start(void)
{
    abort(); /* the library must call its own function */
}

void stream_sent(void)
{
    abort();
}

void listener_closed(void)
{
    abort();
}

void connection_flush(void)
{
    abort();
}

void memory_allocate(void)
{
    abort();
}

int system_calls = 1;
