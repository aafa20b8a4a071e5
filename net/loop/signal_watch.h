/* Signals that a loop watches (jd_event_loop_watch_signal). */
#ifndef NET_LOOP_SIGNAL_WATCH_H
#define NET_LOOP_SIGNAL_WATCH_H

#include <jinduo/event_loop.h>

/* Calls back for those that have come. Returns how many. */
unsigned loop_signals_run(jd_event_loop *loop);

/* The loop ends: it watches none any more. */
void loop_signals_forget(jd_event_loop *loop);

#endif
