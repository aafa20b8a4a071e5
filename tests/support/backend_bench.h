/* A test bench for backends (proactor/backend.h). It takes the place of the engine and checks the rules of every
 * backend:
 *
 *   - completions are reported from wait only, after proactor_woke;
 *   - each operation has exactly one final completion, and none after it;
 *   - a one-shot operation never completes with more set;
 *   - the request and its arrays are not read after submit.
 *
 * Use bench_open and bench_close as a test case's checked fixture. bench_close waits until all operations have ended,
 * and checks that memory and descriptors have been released. */
#ifndef TESTS_BACKEND_BENCH_H
#define TESTS_BACKEND_BENCH_H

#include "proactor/backend.h"
#include "tests/support/check_main.h"

enum { BENCH_OPERATIONS_MAX = 1 << 18, BENCH_BLOCK_BYTES = 4096 };

/* The completions of an operation so far. */
struct bench_operation {
    int fd;
    enum backend_opcode opcode;
    unsigned completions;
    bool ended, cancelled;
    int64_t result;  /* of the last completion */
    size_t received; /* by OPCODE_RECEIVE_MULTISHOT, in all blocks */
    unsigned char last_byte;
    uint64_t order; /* of the last completion among all completions, from 1 */
};

extern struct backend *bench_backend;

void bench_open(const struct backend_ops *ops);
void bench_close(void);

/* Submits a copy of the request with a new token; the copy is overwritten and freed afterwards. Returns the token; or
 * 0 and *error. error: NULL: an error fails the test. */
uint64_t bench_try(const struct operation_request *request, int *error);
uint64_t bench_submit(const struct operation_request *request);

uint64_t bench_simple(enum backend_opcode opcode, int fd);
uint64_t bench_receive(int fd, void *data, size_t size);
uint64_t bench_send(int fd, const void *data, size_t size);
uint64_t bench_poll(enum backend_opcode opcode, int fd, uint32_t events);
uint64_t bench_file(enum backend_opcode opcode, int fd, void *data, size_t size, uint64_t offset);

const struct bench_operation *bench_of(uint64_t token);
void bench_cancel(uint64_t token);

/* One wait. Returns the number of completions. */
unsigned bench_wait_ms(int timeout_ms);

/* Some waits that do not sleep: enough for pending completions to be reported. */
void bench_turns(void);

/* Waits for the operation's final completion. Returns its result. */
int64_t bench_result(uint64_t token);

#define BENCH_UNTIL(condition)                                                                                         \
    do {                                                                                                               \
        struct patience patience = patience_begin(BENCH_PATIENCE_MS);                                                  \
        while (!(condition))                                                                                           \
            bench_step(#condition, __FILE__, __LINE__, &patience);                                                     \
    } while (0)
enum { BENCH_PATIENCE_MS = 30 * 1000 };
void bench_step(const char *condition, const char *file, int line, struct patience *patience);

/* Called for each completion unless it is NULL. May submit and cancel, and keep the block. */
extern void (*bench_on_completion)(uint64_t token, struct completion *completion);

/* The blocks in use by the backend or the test, their maximum, and the number of refused requests for a block. */
extern unsigned bench_blocks_out, bench_blocks_max, bench_blocks_refused;
void bench_put_block(struct block *block);

/* Completions and waits so far. */
extern uint64_t bench_completions, bench_waits;

/* BENCH_PATTERN_BYTES constant bytes to send. */
const unsigned char *bench_pattern(void);
enum { BENCH_PATTERN_BYTES = 1 << 20 };

/* ---- a gate: while it is closed, a worker's system call waits at it ---- */

void gate_close(void);
void gate_open(void);
void gate_pass(void);                         /* called by the worker */
void gate_wait_for_arrivals(unsigned number); /* since gate_close */

#endif
