/* One run of a fault scenario: a loop, a server that echoes frames, and peers that check what comes back, all of which go
 * on to their end whatever fails on the way. What failed is collected, and held against what was made to fail.
 *
 * There is one run at a time; its functions do nothing when what they need could not be made. */
#ifndef TESTS_FAULT_RUN_H
#define TESTS_FAULT_RUN_H

#include "tests/support/check_main.h"
#include "tests/support/faults.h"

#include <jinduo/jinduo.h>

/* What is made to fail in a run: a call's fault, or allocations if that is NULL. */
struct run_plan {
    const char *scenario;
    const struct fault *fault;
    unsigned number; /* the first to fail; 0: nothing does */
    unsigned count;  /* how many in a row */
    bool strict; /* each fault shows exactly once: nothing in the scenario ends so abruptly that it may go unnoticed */
};

void run_begin(const struct run_plan *plan);

/* Destroys what is left of the run, and checks that all went as it should. Returns how many calls or allocations were
 * made to fail. */
unsigned run_end(void);

/* Fails the test, naming the fault, unless condition is true. */
#define RUN_CHECK(condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            run_abort(#condition, __FILE__, __LINE__);                                                                 \
    } while (0)
void run_abort(const char *condition, const char *file, int line);

/* Runs turns and lets the peers continue until condition is true: at most some seconds. */
#define RUN_UNTIL(condition)                                                                                           \
    do {                                                                                                               \
        struct patience patience = patience_begin(RUN_PATIENCE_MS);                                                    \
        while (!(condition))                                                                                           \
            run_turn(&patience, #condition, __FILE__, __LINE__);                                                       \
    } while (0)
enum { RUN_PATIENCE_MS = 20 * 1000 };
void run_turn(struct patience *patience, const char *condition, const char *file, int line);

/* Notes that a call returned an error, which must be the fault's. Returns result. */
int run_result(int result);

/* ---- loop and server ---- */

jd_event_loop *run_loop(void); /* made at first use; NULL if that failed */

struct run_server {
    const char *listen[2]; /* endpoints; the first with a port */
    unsigned io_threads;
    int send_buffer_bytes;
    bool is_proxied; /* connections begin with a header of the PROXY protocol */
};

/* Makes and starts it. A start that fails is tried a second time. */
void run_serve(const struct run_server *server);

/* Stops it, and returns when it is. */
void run_stop(unsigned drain_ms);

/* Destroys it, and returns when it is gone. */
void run_destroy_server(void);

/* ---- peers ---- */

/* What the server does with a frame, by its first byte. All but RESET send it back. */
enum run_order {
    ORDER_ECHO = 'e',
    ORDER_ECHO_FROM_AFAR = 'f', /* by the run's thread, not the connection's */
    ORDER_SHARED = 'h',         /* these three without a copy; FROM_AFAR as above */
    ORDER_OWNED = 'o',
    ORDER_FILE = 'l',
    ORDER_SHARED_FROM_AFAR = 'H',
    ORDER_OWNED_FROM_AFAR = 'O',
    ORDER_FILE_FROM_AFAR = 'L',
    ORDER_PAUSE = 'p', /* stops reading, and resumes by a timer */
    ORDER_STAY_PAUSED = 'q',
    ORDER_SHUT_DOWN = 's',
    ORDER_CLOSE_NOW = 'c',
    ORDER_RESET_NOW = 'r',
};

/* What a peer does when all has come back; each then waits for the server's end. */
enum run_peer_kind {
    PEER_WAITS,
    PEER_SHUTS_DOWN,
    PEER_RESETS,     /* that is the end */
    PEER_STAYS,      /* until the run's end */
    PEER_READS_LATE, /* nothing before run_stop */
    PEER_NEVER_READS,
};

/* Connects, if the server is there. Frames are added to what it sends. */
struct run_peer;
struct run_peer *run_connect(enum run_peer_kind kind);
void run_send_frame(struct run_peer *peer, enum run_order order, size_t body_bytes);

/* Whether each peer's connection has ended, or as far as it goes before run_stop or the run's end. */
bool run_peers_are_done(void);

/* Runs until they are, then lets nothing fail any more, if something has, and sees whether the server still serves. */
void run_peers(void);

#endif
