/* A bench for backends of the Proactor (proactor/backend.h): stands in for the engine above, and checks what every backend
 * owes: nothing is told but from wait and after proactor_woke; each operation ends exactly once, and is not heard of
 * again; a one-shot operation has nothing more to tell; a request's own memory is not looked at after submit.
 *
 * Use bench_open and bench_close in a test case's checked fixture; bench_close also checks that all operations have ended
 * and that blocks, memory and descriptors have been given back. */
#ifndef TESTS_BACKEND_BENCH_H
#define TESTS_BACKEND_BENCH_H

#include "proactor/backend.h"
#include "tests/support/check_main.h"

#include <pthread.h>

enum { BENCH_OPERATIONS_MAX = 1 << 18, BENCH_BLOCK_BYTES = 4096 };

/* What has been told of an operation. */
struct bench_operation {
    int fd;
    enum backend_opcode opcode;
    unsigned completions;
    bool ended, cancelled;
    int64_t result;  /* the last */
    size_t received; /* by OPCODE_RECEIVE_MULTISHOT, all blocks together */
    unsigned char last_byte;
    uint64_t order; /* which completion of all was its last */
};

extern struct backend *bench_backend;

void bench_open(const struct backend_ops *ops);
void bench_close(void);

/* Submits a copy of the request, with a token of its own, that is overwritten and freed afterwards. Returns the token; or 0,
 * and *error (may be NULL: then the test fails) why. */
uint64_t bench_try(const struct operation_request *request, int *error);
uint64_t bench_submit(const struct operation_request *request);

uint64_t bench_simple(enum backend_opcode opcode, int fd);
uint64_t bench_receive(int fd, void *data, size_t size);
uint64_t bench_send(int fd, const void *data, size_t size);
uint64_t bench_poll(enum backend_opcode opcode, int fd, uint32_t events);
uint64_t bench_file(enum backend_opcode opcode, int fd, void *data, size_t size, uint64_t offset);

const struct bench_operation *bench_of(uint64_t token);
void bench_cancel(uint64_t token);

/* One wait. Returns how many completions came. */
unsigned bench_wait_ms(int timeout_ms);

/* Some waits that do not sleep: what had been going to happen by itself would have. */
void bench_turns(void);

/* Waits for the operation's end. Returns its result. */
int64_t bench_result(uint64_t token);

#define BENCH_UNTIL(condition)                                                                                         \
    do {                                                                                                               \
        struct patience patience = patience_begin(BENCH_PATIENCE_MS);                                                  \
        while (!(condition))                                                                                           \
            bench_step(#condition, __FILE__, __LINE__, &patience);                                                     \
    } while (0)
enum { BENCH_PATIENCE_MS = 30 * 1000 };
void bench_step(const char *condition, const char *file, int line, struct patience *patience);

/* Called for each completion, if set: may submit and cancel, and keep the block. */
extern void (*bench_on_completion)(uint64_t token, struct completion *completion);

/* Blocks that the backend or a test holds; how many it may have at most, and how many were asked for in vain. */
extern unsigned bench_blocks_out, bench_blocks_max, bench_blocks_refused;
void bench_put_block(struct block *block);

/* Completions and waits so far. */
extern uint64_t bench_completions, bench_waits;

/* Bytes for whoever needs some: not changed by anybody. */
const unsigned char *bench_pattern(void);
enum { BENCH_PATTERN_BYTES = 1 << 20 };

/* ---- a gate that a system call of a worker's stops at ---- */

void gate_close(void);
void gate_open(void);
void gate_pass(void);                         /* by the worker */
void gate_wait_for_arrivals(unsigned number); /* until so many have come to it since it was closed */

#endif
