/* A user's functions and variables that happen to be called as some inside the library are. */
#include <stdlib.h>

void timer_start(void);
void stream_sent(void);
void listener_closed(void);
void connection_flush(void);
void memory_allocate(void);

void timer_start(void)
{
    abort(); /* the library means its own */
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
