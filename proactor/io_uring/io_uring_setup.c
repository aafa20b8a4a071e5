/* Making the ring, and saying why there can be none. */
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <unistd.h>

/* How completions are run: by the thread that waits when it waits (6.1), by it whenever it enters the kernel, or by
 * interrupting it. */
static const unsigned ways_to_complete[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

enum { WAYS_TO_COMPLETE = sizeof(ways_to_complete) / sizeof(ways_to_complete[0]) };

static const char too_old[] = "the kernel is older than Linux 6.1";

/* Nothing lost when the completion queue is full; timeouts without a submission; requests that may be forgotten once
 * submitted; cancels that tell only of failure. */
static const unsigned features_needed =
    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_CQE_SKIP;

/* proc(5), /proc/sys/kernel/io_uring_disabled; '0' where there is no such file. */
static char disabled_setting(void)
{
    char setting = '0';
    int file = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

    if (file < 0)
        return setting;
    if (read(file, &setting, 1) != 1)
        setting = '0';
    close(file);
    return setting;
}

const char *uring_refusal(int error, char disabled)
{
    switch (error) {
    case -ENOSYS:
        return "the kernel is built without io_uring, or a seccomp filter hides it";
    case -EPERM:
    case -EACCES:
        switch (disabled) {
        case '1':
            return "kernel.io_uring_disabled is 1, and this process is not in kernel.io_uring_group";
        case '2':
            return "kernel.io_uring_disabled is 2";
        default:
            return "refused by a seccomp filter or a security module, as in most containers";
        }
    case -ENOMEM:
        return "not enough memory, or RLIMIT_MEMLOCK is too low";
    case -EMFILE:
    case -ENFILE:
        return "out of descriptors";
    case -EAGAIN:
        return "no thread for the submission queue (ring_sqpoll_idle_ms): RLIMIT_NPROC, or a control group's pids.max";
    case -EINVAL:
        return too_old;
    default:
        return "io_uring_setup failed";
    }
}

static int create_one_way(struct io_uring *ring, const struct ring_size *size, unsigned way)
{
    struct io_uring_params params = {
        .flags = way | IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = size->completions,
        .sq_thread_idle = size->sqpoll_idle_ms,
    };

    return system_calls.io_uring_queue_init_params(size->submissions, ring, &params);
}

static int create(struct io_uring *ring, const struct ring_size *size)
{
    int result = -EINVAL;

    /* The kernel's thread completes what it has begun: nothing is deferred for the loop's (io_uring_setup(2)). */
    if (size->sqpoll_idle_ms > 0)
        return create_one_way(ring, size, IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER);
    for (unsigned way = 0; way < WAYS_TO_COMPLETE; way++) {
        result = create_one_way(ring, size, ways_to_complete[way]);
        if (result != -EINVAL)
            break;
    }
    return result;
}

/* A later kernel cannot be told from its features alone, but by an operation that came with 6.1. */
static bool is_recent(struct io_uring *ring)
{
    enum { OPERATIONS = 256 };
    union {
        struct io_uring_probe probe;
        unsigned char memory[sizeof(struct io_uring_probe) + OPERATIONS * sizeof(struct io_uring_probe_op)];
    } answer = { 0 };

    if ((ring->features & features_needed) != features_needed)
        return false;
    if (io_uring_register_probe(ring, &answer.probe, OPERATIONS) < 0)
        return false;
    return answer.probe.last_op >= IORING_OP_SENDMSG_ZC;
}

int uring_setup(struct io_uring *ring, const struct ring_size *size, const char **reason)
{
    int result = create(ring, size);

    if (result < 0) {
        *reason = uring_refusal(result, disabled_setting());
        return result == -EINVAL ? JD_ENOTSUP : result;
    }
    if (is_recent(ring))
        return 0;
    io_uring_queue_exit(ring);
    *reason = too_old;
    return JD_ENOTSUP;
}

int uring_enable(struct io_uring_backend *uring)
{
    int result = system_calls.io_uring_register((unsigned)uring->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

    if (result < 0)
        return result;
    /* Saves a look-up in each call; without it all works as well. */
    uring->fd_registered = io_uring_register_ring_fd(&uring->ring) == 1;
    uring->enabled = true;
    return 0;
}

int uring_available(const char **reason)
{
    static const struct ring_size small = { .submissions = 4, .completions = 4 };
    struct io_uring ring;
    int result = uring_setup(&ring, &small, reason);

    if (result == 0)
        io_uring_queue_exit(&ring);
    return result;
}
