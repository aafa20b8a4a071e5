/* EventLoop: one thread's turn of waiting for events and running callbacks.
 *
 * A turn: wait for events; run their callbacks; run timers that are due; run queued tasks (those queued meanwhile wait
 * for the next turn); send what is still queued for sending; free what died. See docs/architecture.md.
 *
 * A thread must not be cancelled (pthread_cancel(3)) while it is in one of the library's functions. */
#ifndef JINDUO_EVENT_LOOP_H
#define JINDUO_EVENT_LOOP_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

typedef enum jd_engine {
    JD_ENGINE_AUTO,      /* JINDUO_ENGINE from the environment if set, else the Reactor */
    JD_ENGINE_REACTOR,   /* edge-triggered epoll (epoll(7)) */
    JD_ENGINE_PROACTOR,  /* the best of the following that can be used here; which, is said once in the log */
    JD_ENGINE_IO_URING,  /* completions by io_uring (io_uring(7)), Linux 6.1 or later */
    JD_ENGINE_SIMULATED, /* completions by readiness and threads that carry out what is ready */
} jd_engine;

/* The engine with this name ("auto", "reactor", "proactor", "io_uring", "simulated"). Returns 0, or JD_EINVAL with *engine
 * untouched. From any thread. */
JD_API int jd_engine_parse(jd_engine *engine, const char *name);

/* The engine's name as a static string. From any thread. */
JD_API const char *jd_engine_name(jd_engine engine);

/* Whether loops can run on the engine here and now. Returns 0, or an error with *reason (may be NULL) saying why not, as a
 * string that is valid until the thread's next call: JD_ENOTSUP (not built in, or the kernel lacks it), JD_EPERM (refused to
 * this process), JD_ENOMEM, JD_EINVAL (no such engine). From any thread. */
JD_API int jd_engine_available(jd_engine engine, const char **reason);

/* All zero is the default. */
typedef struct jd_event_loop_options {
    jd_engine engine;

    /* After the last event, look for the next one without sleeping for this long, in microseconds, before the loop
     * sleeps; 0 (default): sleep at once. Saves the wake-up of a sleeping core at the price of a busy one. A loop whose
     * looking finds nothing several times in a row goes over to sleeping and looks again now and then. At most 1 s. */
    uint32_t busy_poll_us;

    /* Output is gathered, each connection's being sent in one operation: what a connection's callbacks send to that same
     * connection when they have dealt with what was received (on a Proactor with everything else), everything else at
     * the end of the turn; or earlier, when this many bytes wait on one connection (0: 64 KiB), when this many connections
     * wait (0: 32; on io_uring 128), or before the next callback once the oldest output is this old (0: 50 us; the clock
     * is read between every 1 to 16 callbacks, the quicker they have been the more seldom). By these two rules the answers to
     * what was received in one piece stay together while it is dealt with: all of it if it is quick, else until they are as
     * old again. */
    uint32_t flush_bytes;
    uint32_t flush_connections;
    uint32_t flush_age_us;

    /* The io_uring engine only (others ignore it): a thread of the kernel's takes what the loop submits, so that sending and
     * receiving need no system calls; it looks without sleeping, and sleeps after so many milliseconds without work. 0
     * (default): no such thread. At most 10 s. The price is a core that is busy with it as long as there is work: one for each
     * loop, each io thread's too. docs/io_uring.md tells what has been measured. */
    uint32_t ring_sqpoll_idle_ms;

    /* The io_uring engine only (others ignore it): of connections over TCP, what is sent in one operation is not copied into
     * the kernel if it is so many bytes or more; 0 (default): everything is copied. The memory, also what
     * jd_tcp_connection_send_reference and send_shared have lent, is then the kernel's until the peer has acknowledged the bytes.
     * A connection that is closed before that goes down only then; when the peer acknowledges nothing for 5 s, the kernel gives
     * it up. Without CAP_IPC_LOCK what all processes of the user have lent so is bounded by RLIMIT_MEMLOCK
     * (getrlimit(2)); a connection whose send would exceed it copies from then on. Pays for large sends over real networks
     * only: below some 10 KB, and over loopback, it is slower than copying. */
    uint32_t zero_copy_send_bytes;
} jd_event_loop_options;

/* Makes a loop. options (copied; NULL: all defaults). Until a thread runs it, the loop belongs to the thread that made
 * it; from then on to the thread that first ran it. Returns 0, JD_EINVAL (an option out of range, an unknown engine, a
 * wrong value of JINDUO_ENGINE), JD_EAGAIN (the system allows no thread for ring_sqpoll_idle_ms), JD_ENOTSUP, JD_EPERM
 * or JD_ENOSYS (the engine cannot be used here: jd_engine_available tells why, and so does the log), JD_ENOMEM,
 * JD_EMFILE (descriptors, or more than 255 loops in the process), JD_ENFILE. After fork(2) it is the parent's alone:
 * the child must not touch it, not even to destroy it. */
JD_API int jd_event_loop_create(jd_event_loop **loop, const jd_event_loop_options *options);

/* Frees the loop: destroys its clients and servers (which joins their threads), closes its connections (their down
 * callbacks run here), runs each task still queued once, cancels its timers. Only in the owner's thread and never
 * inside one of the loop's own callbacks (JD_EPERM, JD_EBUSY, and then nothing happened). When the engine cannot wait
 * any more for what the kernel is still at, its error is returned after a second: the loop stays, with its memory, and
 * only destroying it again is allowed. NULL is allowed. */
JD_API int jd_event_loop_destroy(jd_event_loop *loop);

/* Runs turns until jd_event_loop_quit. Returns 0, JD_EPERM in another thread than the loop's, JD_EBUSY inside a
 * callback of the loop, or a negative error if the engine could not wait. */
JD_API int jd_event_loop_run(jd_event_loop *loop);

/* Runs one turn that waits at most timeout_ms for something to do (negative: without end). Returns the number of events
 * and tasks handled, 0 also when it was woken for something that counts as neither, or an error as jd_event_loop_run. */
JD_API int jd_event_loop_run_once(jd_event_loop *loop, int timeout_ms);

/* A loop inside another: both functions are for a program whose own loop waits (GLib's, Qt's, one made of epoll_wait),
 * and runs this one when there is something to do:
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
 * pollable_fd: a descriptor that is readable (level-triggered) when the loop has events to handle or another thread has
 * woken it. To be waited for only, never read, written or closed; the same one for the loop's life. In the thread that
 * runs the loop, or is to. Returns it, or JD_ENOTSUP where the engine has none.
 *
 * next_timeout_ms: how long the program may wait for the descriptor before it runs the loop, in milliseconds: 0 while
 * something is pending (tasks, connections that have more to do, unsent output), at most until the next timer, -1
 * without end. From this call to the loop's next turn, tasks from other threads, signals and quit make the descriptor
 * readable; so it is to be called before each wait, after everything else that is done with the loop in its own thread.
 * In the loop's thread, outside its callbacks; 0 anywhere else, and before the loop's first turn. */
JD_API int jd_event_loop_pollable_fd(jd_event_loop *loop);
JD_API int jd_event_loop_next_timeout_ms(jd_event_loop *loop);

/* Makes jd_event_loop_run return after the turn in which this is noticed; called before, the next jd_event_loop_run
 * returns after one turn. Does not end the loops of a server's io threads: those run as long as the server. From any
 * thread and from signal handlers, as long as the loop exists until the run that this ends has returned or this has: the
 * loop's thread may destroy the loop at once. */
JD_API void jd_event_loop_quit(jd_event_loop *loop);

/* Runs task(arg) in the loop's thread: at once when called inside one of the loop's callbacks, else queued. From any
 * thread. Returns 0 or an error as jd_event_loop_queue_in_loop. */
JD_API int jd_event_loop_run_in_loop(jd_event_loop *loop, jd_task task, void *arg);

/* Queues task(arg) for the loop's next turn; never runs it at once. Tasks of one thread keep their order. From any
 * thread, as long as the loop exists until the task has run or this has returned: the task may be what ends the loop.
 * Some thousand that wait need no memory but the loop's. Returns 0, JD_ENOMEM, or JD_ECANCELED when the loop is being
 * destroyed; after an error the task never runs. */
JD_API int jd_event_loop_queue_in_loop(jd_event_loop *loop, jd_task task, void *arg);

/* Whether the calling thread is the loop's owner. From any thread. */
JD_API bool jd_event_loop_is_in_loop_thread(const jd_event_loop *loop);

/* The monotonic time as of this turn: read once when the wait ended, so free of cost. In the loop's thread. */
JD_API jd_timestamp jd_event_loop_now(const jd_event_loop *loop);

/* The engine in use. From any thread. */
JD_API jd_engine jd_event_loop_engine(const jd_event_loop *loop);

/* Names a timer; 0 names none. */
typedef uint64_t jd_timer_id;

/* Runs task(arg) in the loop's thread: once, at the first turn not earlier than when (jd_timestamp), or than delay_ms
 * from now (real time, not the turn's); or every interval_ms (1 to 2^46), without making up for rounds that were
 * missed: then it goes on an interval from now. A delay has no limit; a time already past, or a delay of 0, is due in
 * the next turn. From any thread, as jd_event_loop_queue_in_loop. *id (may be NULL), for jd_event_loop_cancel_timer, is
 * set before the task can run. Returns 0, JD_ENOMEM, JD_EINVAL (the interval), or JD_ECANCELED when the loop is being
 * destroyed. A task whose loop is destroyed first never runs. */
JD_API int jd_event_loop_run_at(jd_event_loop *loop, jd_timestamp when, jd_task task, void *arg, jd_timer_id *id);
JD_API int jd_event_loop_run_after(jd_event_loop *loop, uint64_t delay_ms, jd_task task, void *arg, jd_timer_id *id);
JD_API int jd_event_loop_run_every(jd_event_loop *loop, uint64_t interval_ms, jd_task task, void *arg, jd_timer_id *id);

/* Cancels a timer. In the loop's thread it never runs after this, not even when it is due in this very turn; returns 0,
 * or JD_ENOENT if it has run, was cancelled or never was. From another thread the wish is queued, and the timer may run
 * meanwhile; returns 0, JD_ENOMEM, or JD_ENOENT when the loop is being destroyed. */
JD_API int jd_event_loop_cancel_timer(jd_event_loop *loop, jd_timer_id id);

/* Called in the loop's thread after the process got the signal. */
typedef void (*jd_signal_callback)(int signal_number, void *arg);

/* Calls callback(signal_number, arg) in the loop when the process gets that signal (1 to 63); several arrivals may be
 * told as one. Replaces the process's handler (sigaction(2)) until callback is NULL or the loop is destroyed, then
 * restores the one before. One loop per signal: JD_EBUSY if another loop watches it. In the loop's thread. Returns 0,
 * JD_EINVAL, JD_EPERM, JD_ECANCELED (the loop is being destroyed). */
JD_API int jd_event_loop_watch_signal(jd_event_loop *loop, int signal_number, jd_signal_callback callback, void *arg);

typedef struct jd_event_loop_statistics {
    uint64_t turns;         /* turns run */
    uint64_t idle_turns;    /* turns that woke up and found nothing to do */
    uint64_t sleeps;        /* turns that blocked in the kernel */
    uint64_t enters;        /* calls to wait or to submit; not receives and sends that are calls of their own */
    uint64_t events;        /* readiness events or completions handled */
    uint64_t tasks;         /* queued tasks run */
    uint64_t timers;        /* timers run */
    uint64_t wakeups_sent;  /* times another thread had to wake the loop */
    uint64_t wakeups_saved; /* tasks from other threads for which it had not: the loop was awake or already woken */
    uint64_t flushes;       /* gathered sends handed to the engine */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t bytes_dropped; /* queued for sending, but the connection closed first */
    uint64_t bytes_queued;  /* for sending, on all connections, now */

    uint64_t connections_accepted; /* taken from the kernel on this loop, wherever they went on to live */
    uint64_t connections_refused;  /* of these, closed at once: the server had as many as it may */
    uint64_t connections_failed;   /* accepted or connected, but failed before the user saw them */
    uint64_t connections_opened;   /* seen by the user: the connection callback said up */
    uint64_t connections_closed;   /* the connection callback said down */
    uint64_t connections_open;     /* up and not down, now */
    uint64_t connects_failed;      /* addresses that clients could not connect to, and names not found */
    uint64_t accept_pauses;        /* times accepting stopped for want of descriptors or memory */
    uint64_t receive_pauses;       /* times receiving on a connection waited for a block to receive into (Proactors) */
    uint64_t queue_overflows; /* times a queue of io_uring's was full: submissions left early, or something waited */

    /* Why those that said down were closed: together, connections_closed. */
    uint64_t closed_by_peer;  /* the peer's FIN came first */
    uint64_t closed_locally;  /* shutdown, close, reset, or the server's stop came first */
    uint64_t closed_by_reset; /* the peer's RST */
    uint64_t closed_by_first_message_timeout;
    uint64_t closed_by_idle_timeout;
    uint64_t closed_by_read_timeout;
    uint64_t closed_by_write_timeout;
    uint64_t closed_by_frame_error;    /* what came was no frame */
    uint64_t closed_by_drain_deadline; /* not drained in the time that jd_tcp_server_stop gave */
    uint64_t closed_by_input_limit;
    uint64_t closed_out_of_memory;
    uint64_t closed_otherwise; /* other errors of the network or the system: jd_tcp_connection_error tells */

    uint64_t block_overflows;  /* receive or output blocks taken from the heap, the pool being used up */
    uint64_t pool_blocks;      /* in the loop's block pools now, heap blocks included; */
    uint64_t pool_blocks_used; /* of these, out: with bytes in them, or about to have */
    uint64_t pool_bytes;       /* held by the loop's block pools now */
    uint64_t connection_bytes; /* held for connections now */
} jd_event_loop_statistics;

/* Copies the loop's counters. Each is exact, all together a moment apart. From any thread while the loop exists. */
JD_API void jd_event_loop_get_statistics(const jd_event_loop *loop, jd_event_loop_statistics *statistics);

JD_END_DECLS
#endif
