/* EventLoop: one thread's loop, which waits for events and invokes callbacks.
 *
 * A turn (libuv: iteration) is one round of the loop:
 * - wait for events and dispatch them to their callbacks;
 * - run the timers that are due, then signal callbacks and queued tasks. Tasks that are queued meanwhile, or that are left
 *   after about 5 ms, run in the next turn;
 * - report what is pending on connections, flush queued output, close;
 * - free what has ended.
 *
 * See docs/architecture.md.
 *
 * "The loop's thread" in all headers: the thread that first ran the loop; before that, the thread that created it.
 *
 * A thread must not be cancelled (pthread_cancel(3)) inside a function of the library. */
#ifndef JINDUO_EVENT_LOOP_H
#define JINDUO_EVENT_LOOP_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* How a loop gets its events. See docs/engines.md. */
typedef enum jd_engine {
    JD_ENGINE_AUTO,      /* what the environment variable JINDUO_ENGINE names; else the Reactor, on Windows IOCP */
    JD_ENGINE_REACTOR,   /* readiness: edge-triggered epoll (epoll(7)) */
    JD_ENGINE_PROACTOR,  /* the first of the following that is available; the log names it once for each process */
    JD_ENGINE_IO_URING,  /* completions by io_uring (io_uring(7)); Linux 6.1 or later */
    JD_ENGINE_SIMULATED, /* completions by readiness and worker threads that carry out the operations */
    JD_ENGINE_IOCP,      /* completions by a completion port; Windows 10 or later. The only engine there */
} jd_engine;

/* Sets *engine to the engine of that name: "auto", "reactor", "proactor", "io_uring", "simulated" or "iocp".
 * Returns 0, or JD_EINVAL, and then *engine is unchanged. May be called from any thread. */
JD_API int jd_engine_parse(jd_engine *engine, const char *name);

/* Returns the engine's name as a static string; "unknown" for another value. May be called from any thread. */
JD_API const char *jd_engine_name(jd_engine engine);

/* Checks whether loops can use the engine on this system and in this process. Returns 0, or an error: JD_ENOTSUP (not
 * built in, or not supported by the kernel), JD_EPERM (refused to this process), JD_ENOMEM, JD_EINVAL (no such engine).
 * *reason (reason may be NULL) describes an error; the string is valid until the thread's next call. May be called from
 * any thread. */
JD_API int jd_engine_available(jd_engine engine, const char **reason);

/* All members zero: the defaults. */
typedef struct jd_event_loop_options {
    jd_engine engine; /* default: JD_ENGINE_AUTO */

    /* Busy polling: for how many microseconds the loop looks for events without sleeping before it sleeps. 0 (default):
     * it sleeps at once. At most 1 000 000. Saves the wake-up of a sleeping core and keeps a core busy instead. After 8
     * polls in a row without an event the loop sleeps at once, and polls again before every 16th sleep. */
    uint32_t busy_poll_us;

    /* When output is flushed. Output is gathered: a connection's queued output is sent in one operation. Output is flushed
     * - on the Reactor: of the connection whose input was processed, after its callbacks;
     * - at the end of the turn: of all connections;
     * - at once: of a connection with flush_bytes queued;
     * - before the next callback: of all connections, when flush_connections of them have output to flush;
     * - before the next callback: of all connections, when the oldest such output is flush_age_us old. The clock is read
     *   before every 1 to 16 callbacks: the faster the callbacks, the less often.
     *
     * The last two spare the connection whose input is being processed: splitting its responses splits the peer's next
     * batch. The last spares it once; it is flushed when its output gets as old again. */
    uint32_t flush_bytes;       /* bytes; 0: 64 KiB */
    uint32_t flush_connections; /* connections; 0: 32, on io_uring 128 */
    uint32_t flush_age_us;      /* microseconds; 0: 50 */

    /* Zero copy, on io_uring only; other engines ignore it: sends of at least so many bytes on TCP connections are not
     * copied into the kernel. 0 (default): all sends are copied.
     * - The kernel owns the memory until the peer has acknowledged the bytes: also memory of
     *   jd_tcp_connection_send_reference and _send_shared, which is released only then.
     * - A connection that is closed earlier goes down only then, or when the peer has acknowledged nothing for 5 s
     *   (TCP_USER_TIMEOUT in tcp(7)).
     * - Without CAP_IPC_LOCK the total for all processes of the user is limited by RLIMIT_MEMLOCK (getrlimit(2)). A
     *   connection whose send would exceed it copies from then on.
     * - Faster than copying for large sends over real networks only: slower below some 10 KB, and over loopback. */
    uint32_t zero_copy_send_bytes;

    /* true: measures callbacks, turns and timers, for the statistics busy_ns, longest_callback_ns, timers_late_ns and
     * latest_timer_ns. The clock is read once more in each turn and before each callback: 20 to 40 ns each. Default false: these
     * statistics are 0, and nothing is paid for them. A server's io loops measure if its own loop does. */
    bool measure;

    /* On IOCP only; other engines ignore it: how many accepts are posted ahead on each listener, each with a socket, so that
     * connections that arrive together find one (AcceptEx). 0: 32. At most 1024. */
    uint32_t accepts_ahead;
} jd_event_loop_options;

/* Creates a loop. options are copied; NULL: all defaults. The loop belongs to the calling thread until a thread runs it,
 * from then on to the thread that first ran it.
 *
 * Returns 0; JD_EINVAL (an option out of range, an unknown engine, an invalid JINDUO_ENGINE: the log says what is allowed);
 * JD_ENOTSUP, JD_EPERM or
 * JD_ENOSYS (the engine is not available: the log and jd_engine_available give the reason); JD_ENOMEM; JD_EMFILE (no descriptor left, or already 255 loops in the process); JD_ENFILE.
 *
 * May be called from any thread. After fork(2) the loop belongs to the parent alone: in the child, running and destroying it
 * return JD_EFORKED and do nothing; other calls are not allowed. */
JD_API int jd_event_loop_create(jd_event_loop **loop, const jd_event_loop_options *options);

/* Destroys what is left on the loop, then frees it; NULL is allowed. In this call
 * - clients and servers are destroyed; servers' io threads are joined;
 * - connections are closed and their down callbacks invoked;
 * - each queued task is run once;
 * - operations in flight (proactor.h) complete, with JD_ECANCELED unless they have another result;
 * - timers are cancelled, channels freed, watched signals restored.
 *
 * Returns 0; JD_EPERM in another thread than the loop's, JD_EBUSY inside one of the loop's callbacks, JD_EFORKED: these change
 * nothing.
 * If the engine fails to wait for what the kernel still has in flight, its error is returned after a second: the loop and
 * its memory stay, and it may only be destroyed again. */
JD_API int jd_event_loop_destroy(jd_event_loop *loop);

/* Runs turns until jd_event_loop_quit. Returns 0; JD_EPERM in another thread than the loop's; JD_EBUSY inside one of the
 * loop's callbacks; JD_EFORKED in a child process of the one that created the loop; or a negative error when the engine fails
 * to wait. The first run of a loop makes the calling thread the loop's. */
JD_API int jd_event_loop_run(jd_event_loop *loop);

/* Runs one turn, which waits at most timeout_ms milliseconds for something to do (negative: without limit). Returns the
 * number of events, signals and tasks handled, or an error as jd_event_loop_run. Timers and wake-ups are not counted, so
 * that 0 does not mean that the time is up. */
JD_API int jd_event_loop_run_once(jd_event_loop *loop, int timeout_ms);

/* Two functions to run the loop inside another (GLib's, Qt's, one of the program's own): the program's loop waits, and
 * runs a turn of this loop when there is something to do:
 *
 *     int fd = jd_event_loop_pollable_fd(loop);
 *     struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
 *
 *     epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
 *     for (;;) {
 *         int count = epoll_wait(epoll, events, MAX_EVENTS, jd_event_loop_next_timeout_ms(loop));
 *         ... // the program's own events
 *         jd_event_loop_run_once(loop, 0);
 *     }
 *
 * pollable_fd returns a descriptor that is readable (level-triggered) when the loop has events to dispatch or another
 * thread has woken it; JD_ENOTSUP if the engine has none; or a negative error, such as JD_EMFILE. It is the same descriptor
 * for the loop's life. The program may only wait for it: not read, write or close it. Must be called in the thread that
 * runs the loop or is going to.
 *
 * next_timeout_ms returns how many milliseconds the program may wait for the descriptor before it runs the loop: 0 while
 * something is pending (tasks, input, unsent output), at most until the next timer, -1: without limit. Tasks from other
 * threads, signals and quit make the descriptor readable only between this call and the loop's next turn: call it before
 * each wait, after everything else that the thread does with the loop. Must be called in the loop's thread, outside its
 * callbacks, after the first turn; else it returns 0. */
JD_API int jd_event_loop_pollable_fd(jd_event_loop *loop);
JD_API int jd_event_loop_next_timeout_ms(jd_event_loop *loop);

/* Makes jd_event_loop_run return after the current turn. If the loop is not in jd_event_loop_run, the next call of that
 * returns after one turn. The loops of a server's io threads are not affected: they run as long as the server. May be
 * called from any thread and from signal handlers. The loop must live until that run or this call has returned, whichever
 * comes first; so the loop's thread may destroy the loop at once. */
JD_API void jd_event_loop_quit(jd_event_loop *loop);

/* Runs task(arg) in the loop's thread: at once if called inside one of the loop's callbacks, else as
 * jd_event_loop_queue_in_loop, with its errors and its thread rule. Returns 0 if the task has run or is queued. */
JD_API int jd_event_loop_run_in_loop(jd_event_loop *loop, jd_task task, void *arg);

/* Queues task(arg) for the loop's next turn; it never runs inside the call. Tasks from one thread run in the order in which
 * they were queued. Returns 0; or JD_ENOMEM, JD_ECANCELED (the loop is being destroyed), and then the task never runs.
 * Up to about 4000 pending tasks need no memory of their own. May be called from any thread. The loop must live until the
 * task has run or this call has returned, whichever comes first; so the task may end the loop. */
JD_API int jd_event_loop_queue_in_loop(jd_event_loop *loop, jd_task task, void *arg);

/* Returns whether the calling thread is the loop's. May be called from any thread. */
JD_API bool jd_event_loop_is_in_loop_thread(const jd_event_loop *loop);

/* Returns the time of the current turn: the monotonic clock as read when its wait ended. Makes no system call. Must be
 * called in the loop's thread. */
JD_API jd_timestamp jd_event_loop_now(const jd_event_loop *loop);

/* Returns the engine that the loop uses: never JD_ENGINE_AUTO or JD_ENGINE_PROACTOR. May be called from any thread. */
JD_API jd_engine jd_event_loop_engine(const jd_event_loop *loop);

/* Identifies a timer of a loop; ids are not reused. 0: no timer. */
typedef uint64_t jd_timer_id;

/* Run task(arg) in the loop's thread, in the first turn in which the timer is due:
 * - run_at: once, not before the time when;
 * - run_after: once, not before delay_ms milliseconds from the call (no limit; from now, not from the turn's time);
 * - run_every: every interval_ms milliseconds (1 to 2^46). Missed rounds are skipped; the next one is an interval from now.
 *
 * A time in the past or a delay of 0 is due at once: in this turn if its timers have not run yet, as in callbacks of
 * events, else in the next. The resolution is a millisecond; a timer is never early.
 *
 * *id (id may be NULL) is set before the task can run; jd_event_loop_cancel_timer takes it. Return 0; JD_ENOMEM (also
 * with more than 8 million timers); JD_EINVAL (interval_ms); JD_ECANCELED (the loop is being destroyed). A task whose loop
 * is destroyed before its time never runs. May be called from any thread, with the rule of
 * jd_event_loop_queue_in_loop. */
JD_API int jd_event_loop_run_at(jd_event_loop *loop, jd_timestamp when, jd_task task, void *arg, jd_timer_id *id);
JD_API int jd_event_loop_run_after(jd_event_loop *loop, uint64_t delay_ms, jd_task task, void *arg, jd_timer_id *id);
JD_API int jd_event_loop_run_every(jd_event_loop *loop, uint64_t interval_ms, jd_task task, void *arg, jd_timer_id *id);

/* Cancels a timer. May be called from any thread.
 * - In the loop's thread: the task does not run any more, not even if it is due in this turn. Returns 0, or JD_ENOENT if
 *   there is no such timer: it has fired, was cancelled, or never existed.
 * - From another thread the cancellation is queued; the timer may fire before it takes effect. Returns 0, JD_ENOMEM, or
 *   JD_ENOENT when the loop is being destroyed. */
JD_API int jd_event_loop_cancel_timer(jd_event_loop *loop, jd_timer_id id);

/* Reports that the process received the signal. Invoked in the loop's thread, not in a signal handler. */
typedef void (*jd_signal_callback)(int signal_number, void *arg);

/* Invokes callback in the loop when the process receives the signal signal_number (1 to 63); several arrivals may be
 * reported once. Replaces the process's handler (sigaction(2)) until callback is NULL or the loop is destroyed; then the
 * previous handler is restored. Returns 0; JD_EINVAL (also for a signal that cannot be caught); JD_EPERM (wrong thread);
 * JD_EBUSY (another loop watches the signal); JD_ECANCELED (the loop is being destroyed). Must be called in the loop's
 * thread. */
JD_API int jd_event_loop_watch_signal(jd_event_loop *loop, int signal_number, jd_signal_callback callback, void *arg);

/* A loop's counters. They count from the loop's creation; those marked "now" are current amounts. */
typedef struct jd_event_loop_statistics {
    uint64_t turns;
    uint64_t idle_turns;    /* turns that woke up and found nothing to do */
    uint64_t sleeps;        /* turns that blocked in the kernel */
    uint64_t enters;        /* system calls that wait or submit; not those of single receives and sends */
    uint64_t events;        /* readiness events or completions dispatched */
    uint64_t tasks;         /* queued tasks run */
    uint64_t timers;        /* timers run */
    uint64_t wakeups_sent;  /* times that another thread had to wake the loop */
    uint64_t wakeups_saved; /* tasks from other threads without a wake-up: the loop was awake or already being woken */
    uint64_t flushes;       /* gathered sends given to the engine */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t bytes_dropped; /* queued for sending, and dropped as the connection closed */
    uint64_t bytes_queued;  /* now: queued for sending, on all connections */

    uint64_t connections_accepted; /* accepted on this loop, whichever loop they live on */
    uint64_t connections_refused;  /* accepted on this loop and closed at once: max_connections, proxy_sources */
    uint64_t connections_failed;   /* accepted or connected, and failed before their connection callback */
    uint64_t connections_opened;   /* connection callback invoked: up */
    uint64_t connections_closed;   /* connection callback invoked: down */
    uint64_t connections_open;     /* now: opened and not closed */
    uint64_t connects_failed;      /* addresses that clients could not connect to, and names not found */

    /* Servers with proxy_sources. */
    uint64_t proxy_sources_refused; /* of connections_refused: the peer is not one of proxy_sources */
    uint64_t proxy_headers_invalid; /* of connections_failed: the PROXY header was malformed or too long */
    uint64_t proxy_headers_missing; /* of connections_failed: not all of it came, or not within proxy_timeout_ms */

    uint64_t accept_pauses;   /* times that accepting stopped for lack of descriptors or memory */
    uint64_t receive_pauses;  /* times that a connection waited for a block to receive into (Proactors) */
    uint64_t queue_overflows; /* times that a queue of io_uring was full: submissions left early, or had to wait */

    /* Why connections were closed; the sum is connections_closed. */
    uint64_t closed_by_peer;  /* the peer's FIN came first */
    uint64_t closed_locally;  /* shutdown, close, reset, or the server's stop came first */
    uint64_t closed_by_reset; /* the peer's RST */
    uint64_t closed_by_first_message_timeout;
    uint64_t closed_by_idle_timeout;
    uint64_t closed_by_read_timeout;
    uint64_t closed_by_write_timeout;
    uint64_t closed_by_frame_error;    /* an invalid frame */
    uint64_t closed_by_drain_deadline; /* not ended within drain_ms of jd_tcp_server_stop, or max_age_drain_ms */
    uint64_t closed_by_input_limit;
    uint64_t closed_out_of_memory;
    uint64_t closed_otherwise; /* other errors of the network or the system: see jd_tcp_connection_error */

    /* Errors by their class (jd_error_class): with which connections were closed, clients could not connect, and accepting
     * stopped. */
    uint64_t errors_by_peer;      /* JD_ERROR_PEER */
    uint64_t errors_to_retry;     /* JD_ERROR_RETRY */
    uint64_t errors_of_resources; /* JD_ERROR_RESOURCE */
    uint64_t errors_of_misuse;    /* JD_ERROR_MISUSE */
    uint64_t errors_of_timeouts;  /* JD_ERROR_TIMEOUT */
    uint64_t errors_of_ends;      /* JD_ERROR_ENDED */
    uint64_t errors_otherwise;    /* JD_ERROR_OTHER */

    uint64_t block_overflows;  /* receive or output blocks taken from the heap, because the pool was exhausted */
    uint64_t pool_blocks;      /* now: blocks of the loop's pools, heap blocks included */
    uint64_t pool_blocks_used; /* now: of these, blocks that hold bytes or are about to */
    uint64_t pool_bytes;       /* now: memory of the loop's block pools */
    uint64_t connection_bytes; /* now: memory of connections */

    /* CPU time of the loop's thread in nanoseconds, since the thread's start, also outside the loop and in the kernel. Its growth
     * by the time that passes is the share of a core that the loop uses. 0 before the first run. On Windows it is counted in
     * ticks of about 16 ms. */
    uint64_t cpu_ns;

    /* With the option measure, in nanoseconds; else 0. Of several loops together, the two maxima are those of all. */
    uint64_t busy_ns; /* from the end of each wait to the next: callbacks, and what the loop does around them */
    uint64_t longest_callback_ns; /* a maximum: from a callback's begin to the next one's, or to the turn's end */
    uint64_t
        timers_late_ns; /* the sum over timers of the program: from the time when each was due to its turn's time */
    uint64_t latest_timer_ns; /* a maximum of these */
} jd_event_loop_statistics;

/* Copies the loop's counters. Each is exact; they are read one after the other. May be called from any thread while the
 * loop exists. */
JD_API void jd_event_loop_get_statistics(const jd_event_loop *loop, jd_event_loop_statistics *statistics);

JD_END_DECLS
#endif
