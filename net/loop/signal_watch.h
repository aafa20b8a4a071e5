/* Signals that a loop watches (jd_event_loop_watch_signal). */
#ifndef NET_LOOP_SIGNAL_WATCH_H
#define NET_LOOP_SIGNAL_WATCH_H

#include <jinduo/event_loop.h>

/* Invokes the callbacks of the signals that have arrived since the last call. Returns their number. In the loop's
 * thread. */
unsigned loop_signals_run(jd_event_loop *loop);

/* Returns the callback with which the loop watches the signal; NULL: it does not. In the loop's thread. */
jd_signal_callback loop_signal_callback(const jd_event_loop *loop, int number);

/* Ends the watching of all signals of the loop, and restores the handlers that they had before. In the loop's
 * thread. */
void loop_signals_unwatch_all(jd_event_loop *loop);

#endif
