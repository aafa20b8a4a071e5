/* Catching signals, and on Windows the console's events: Ctrl-C is SIGINT, Ctrl-Break SIGBREAK, and the end of the
 * console or of the system SIGTERM. The end of a session (a log-off) is none: services are told of every user's. */
#ifndef BASE_PLATFORM_SIGNAL_CATCH_H
#define BASE_PLATFORM_SIGNAL_CATCH_H

#include <signal.h>

/* What a signal did before it was caught. */
#ifdef _WIN32
typedef int signal_before;
#else
typedef struct sigaction signal_before;
#endif

/* The signals that ask a program to end, for an initializer. */
#ifdef SIGBREAK
#define SIGNALS_TO_END SIGINT, SIGTERM, SIGBREAK
#else
#define SIGNALS_TO_END SIGINT, SIGTERM
#endif

/* From now on the signal invokes handler, with the signal's number: in a signal handler in which all signals are blocked,
 * on Windows in a thread of the system's. Returns 0, or a negative error: JD_EINVAL if this signal cannot be caught.
 * Two threads must not call these functions at the same time. */
int signal_catch(int number, void (*handler)(int number), signal_before *before);

/* Ends that. The handler may still be running. */
void signal_release(int number, const signal_before *before);

#endif
