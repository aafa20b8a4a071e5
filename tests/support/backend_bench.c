#include "tests/support/backend_bench.h"

#include "base/platform/clock.h"
#include "tests/support/checking_memory.h"
#include "tests/support/sockets.h"

#include <jinduo/error.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 20, REGION_BYTES = 64 * 1024 };

struct proactor_engine {
    int unused;
};

struct backend *bench_backend;
void (*bench_on_completion)(uint64_t token, struct completion *completion);
unsigned bench_blocks_out, bench_blocks_max, bench_blocks_refused;
uint64_t bench_completions, bench_waits;

static struct proactor_engine owner;
static struct bench_operation operations[BENCH_OPERATIONS_MAX];
static uint64_t last_token;
static bool waiting, woken;
static struct block_pool blocks;
static int descriptors_before;

/* ---- what a backend calls ---- */

void proactor_woke(struct proactor_engine *engine)
{
    ck_assert_ptr_eq(engine, &owner);
    ck_assert(waiting && !woken);
    woken = true;
}

void proactor_count_enter(struct proactor_engine *engine)
{
    ck_assert_ptr_eq(engine, &owner);
}

void proactor_log_refusal(struct proactor_engine *engine, const char *reason)
{
    ck_abort_msg("refused: %s", reason);
}

struct block *proactor_receive_block(struct proactor_engine *engine)
{
    struct block *block = bench_blocks_out < bench_blocks_max ? block_pool_get(&blocks) : NULL;

    bench_blocks_out += block != NULL;
    bench_blocks_refused += block == NULL;
    return block;
}

void bench_put_block(struct block *block)
{
    block_release(block);
    bench_blocks_out--;
}

static bool is_multishot(enum backend_opcode opcode)
{
    return opcode == OPCODE_ACCEPT_MULTISHOT || opcode == OPCODE_RECEIVE_MULTISHOT || opcode == OPCODE_POLL_MULTISHOT;
}

void proactor_completed(struct proactor_engine *engine, struct completion *completion)
{
    struct bench_operation *operation = &operations[completion->token];

    ck_assert_ptr_eq(engine, &owner);
    ck_assert(waiting && woken);
    ck_assert_uint_ge(completion->token, 1);
    ck_assert_uint_le(completion->token, last_token);
    ck_assert_msg(!operation->ended, "operation %u ended twice", (unsigned)completion->token);
    ck_assert(!completion->more || is_multishot(operation->opcode));
    operation->completions++;
    operation->ended = !completion->more;
    operation->result = completion->result;
    operation->order = ++bench_completions;
    if (operation->opcode == OPCODE_RECEIVE_MULTISHOT && completion->result > 0) {
        const struct block *block = *completion->block;
        ck_assert_uint_eq(block_length(block), (size_t)completion->result);
        operation->received += block_length(block);
        operation->last_byte = block->data[block->end - 1];
    }
    if (bench_on_completion != NULL)
        bench_on_completion(completion->token, completion);
}

/* ---- fixture ---- */

void bench_open(const struct backend_ops *ops)
{
    const char *reason = "";
    jd_event_loop_options options = { 0 };

    descriptors_before = open_descriptors();
    checking_memory_install();
    block_pool_init(&blocks, BENCH_BLOCK_BYTES, REGION_BYTES, SIZE_MAX);
    bench_blocks_max = UINT32_MAX;
    ck_assert_int_eq(ops->available(&reason), 0);
    ck_assert_int_eq(ops->create(&bench_backend, &owner, &options), 0);
}

void bench_close(void)
{
    bench_on_completion = NULL;
    for (uint64_t token = 1; token <= last_token; token++)
        bench_result(token);
    bench_backend->ops->destroy(bench_backend);
    /* bench_blocks_out is not checked: destroy puts the blocks that the backend keeps back to the pool, not by
     * bench_put_block. */
    block_pool_destroy(&blocks);
    checking_memory_remove();
    ck_assert_int_eq(open_descriptors(), descriptors_before);
}

/* ---- operations ---- */

uint64_t bench_try(const struct operation_request *request, int *error)
{
    struct operation_request *copy = malloc(sizeof(*copy));
    size_t bytes = (size_t)request->buffer_count * sizeof(*request->buffers);
    jd_iovec *buffers = malloc(bytes + 1);
    struct sockaddr_storage *address = malloc(sizeof(*address));
    uint64_t completions = bench_completions;
    int result;

    ck_assert_uint_lt(++last_token, BENCH_OPERATIONS_MAX);
    operations[last_token] = (struct bench_operation){ .fd = request->fd, .opcode = request->opcode };
    *copy = *request;
    copy->token = last_token;
    if (request->buffers != NULL)
        copy->buffers = memcpy(buffers, request->buffers, bytes);
    if (request->address != NULL)
        copy->address = memcpy(address, request->address, request->address_length);
    result = bench_backend->ops->submit(bench_backend, copy);
    ck_assert_uint_eq(bench_completions, completions);
    memset(copy, 0xa5, sizeof(*copy));
    memset(buffers, 0xa5, bytes);
    memset(address, 0xa5, sizeof(*address));
    free(copy);
    free(buffers);
    free(address);
    if (error != NULL)
        *error = result;
    else
        ck_assert_msg(result == 0, "submit: %s", jd_strerror(result));
    if (result == 0)
        return last_token;
    last_token--;
    return 0;
}

uint64_t bench_submit(const struct operation_request *request)
{
    return bench_try(request, NULL);
}

uint64_t bench_simple(enum backend_opcode opcode, int fd)
{
    return bench_submit(&(struct operation_request){ .opcode = opcode, .fd = fd });
}

uint64_t bench_file(enum backend_opcode opcode, int fd, void *data, size_t size, uint64_t offset)
{
    jd_iovec buffer = { data, size };

    return bench_submit(&(struct operation_request){
        .opcode = opcode, .fd = fd, .buffers = &buffer, .buffer_count = 1, .offset = offset });
}

uint64_t bench_receive(int fd, void *data, size_t size)
{
    return bench_file(OPCODE_RECEIVE, fd, data, size, 0);
}

uint64_t bench_send(int fd, const void *data, size_t size)
{
    return bench_file(OPCODE_SEND, fd, (void *)(uintptr_t)data, size, 0);
}

uint64_t bench_poll(enum backend_opcode opcode, int fd, uint32_t events)
{
    return bench_submit(&(struct operation_request){ .opcode = opcode, .fd = fd, .poll_events = events });
}

const struct bench_operation *bench_of(uint64_t token)
{
    return &operations[token];
}

void bench_cancel(uint64_t token)
{
    uint64_t completions = bench_completions;

    operations[token].cancelled = true;
    bench_backend->ops->cancel(bench_backend, operations[token].fd, token);
    ck_assert_uint_eq(bench_completions, completions);
}

/* ---- waiting ---- */

unsigned bench_wait_ms(int timeout_ms)
{
    uint64_t completions = bench_completions;
    int result;

    woken = false;
    waiting = true;
    result = bench_backend->ops->wait(bench_backend, timeout_ms * (int64_t)1000000);
    waiting = false;
    bench_waits++;
    ck_assert_int_ge(result, 0);
    ck_assert(woken);
    ck_assert_uint_eq(bench_completions - completions, (unsigned)result);
    return (unsigned)result;
}

void bench_turns(void)
{
    for (int i = 0; i < TURNS; i++)
        bench_wait_ms(0);
}

void bench_step(const char *condition, const char *file, int line, struct patience *patience)
{
    bench_wait_ms(1);
    if (patience_is_over(patience))
        ck_abort_msg("%s:%d: timed out waiting for: %s", file, line, condition);
}

int64_t bench_result(uint64_t token)
{
    BENCH_UNTIL(operations[token].ended);
    return operations[token].result;
}

const unsigned char *bench_pattern(void)
{
    static unsigned char pattern[BENCH_PATTERN_BYTES];

    if (pattern[1] == 0)
        for (size_t i = 0; i < sizeof(pattern); i++)
            pattern[i] = (unsigned char)(i * 31 + i / 256);
    return pattern;
}

/* ---- the gate ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static bool gate_is_closed;
static unsigned gate_arrivals;

void gate_close(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_is_closed = true;
    gate_arrivals = 0;
    pthread_mutex_unlock(&gate_lock);
}

void gate_open(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_is_closed = false;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate_lock);
}

void gate_pass(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_arrivals += gate_is_closed;
    pthread_cond_broadcast(&gate_changed);
    while (gate_is_closed)
        pthread_cond_wait(&gate_changed, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

void gate_wait_for_arrivals(unsigned number)
{
    struct patience patience = patience_begin(BENCH_PATIENCE_MS);
    bool arrived;

    do {
        bench_wait_ms(1);
        pthread_mutex_lock(&gate_lock);
        arrived = gate_arrivals >= number;
        pthread_mutex_unlock(&gate_lock);
    } while (!arrived && !patience_is_over(&patience));
    ck_assert(arrived);
}
