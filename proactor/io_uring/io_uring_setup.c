/* Creating the ring, or the reason why there can be none. */
#include "base/platform/thread.h"
#include "base/posix/system_calls.h"
#include "proactor/io_uring/io_uring_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <jinduo/error.h>
#include <unistd.h>

/* Which thread creates completions, in order of preference: the waiting thread when it waits (Linux 6.1); the waiting
 * thread whenever it enters the kernel; the waiting thread, interrupted for it. */
static const unsigned completion_modes[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

enum { COMPLETION_MODES = sizeof(completion_modes) / sizeof(completion_modes[0]) };

static const char too_old[] = "the kernel is older than Linux 6.1, the first with all that this engine needs";

/* In this order: no completion is lost when the queue is full; a wait has a timeout without an entry; the memory that
 * an entry points to may be reused once it is submitted; a cancel completes only if it fails. */
static const unsigned features_needed =
    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_CQE_SKIP;

/* /proc/sys/kernel/io_uring_disabled (proc(5)); '0' if there is no such file. */
static char io_uring_disabled_setting(void)
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
            return "kernel.io_uring_disabled is 2, which refuses io_uring to all processes (0 allows it)";
        default:
            return "refused by a seccomp filter or a security module, as in most containers";
        }
    case -ENOMEM:
        return "not enough memory, or RLIMIT_MEMLOCK is too low";
    case -EMFILE:
    case -ENFILE:
        return "out of descriptors: RLIMIT_NOFILE, or fs.file-max of the system";
    case -EINVAL:
        return too_old;
    default:
        return "io_uring_setup failed";
    }
}

static int ring_create_with(struct io_uring *ring, const struct ring_size *size, unsigned way)
{
    struct io_uring_params params = {
        .flags = way | IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = size->completions,
    };

    return system_calls.io_uring_queue_init_params(size->submissions, ring, &params);
}

static int ring_create(struct io_uring *ring, const struct ring_size *size)
{
    int result = -EINVAL;

    for (unsigned way = 0; way < COMPLETION_MODES; way++) {
        result = ring_create_with(ring, size, completion_modes[way]);
        if (result != -EINVAL)
            break;
    }
    return result;
}

/* Features alone do not tell Linux 6.1 from earlier kernels; the opcode IORING_OP_SENDMSG_ZC, new in 6.1, does. */
static bool ring_is_recent(struct io_uring *ring)
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
    int result = ring_create(ring, size);

    if (result < 0) {
        *reason = uring_refusal(result, io_uring_disabled_setting());
        return result == -EINVAL ? JD_ENOTSUP : result;
    }
    if (ring_is_recent(ring))
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
    /* Saves a look-up of the descriptor in each call. Optional: an error is ignored. */
    uring->fd_registered = io_uring_register_ring_fd(&uring->ring) == 1;
    uring->enabled = true;
    return 0;
}

struct availability {
    const char *reason;
    int result;
};

static void *check_availability(void *arg)
{
    static const struct ring_size small = { .submissions = 4, .completions = 4 };
    struct availability *availability = arg;
    struct io_uring ring;

    availability->result = uring_setup(&ring, &small, &availability->reason);
    if (availability->result == 0)
        io_uring_queue_exit(&ring);
    return NULL;
}

/* The ring of the check is made in a thread of its own: some milliseconds after a ring is closed the kernel interrupts the
 * thread that made it (io_ring_exit_work in Linux, io_uring/io_uring.c). If that thread ran a loop, a receive at an urgent
 * mark would stop just then (docs/io_uring.md, "Urgent data"). */
int uring_available(const char **reason)
{
    struct availability availability = { .reason = "" };
    thread_handle thread;

    if (thread_start(&thread, check_availability, &availability) == 0)
        thread_join(thread);
    else
        check_availability(&availability);
    if (availability.result < 0)
        *reason = availability.reason;
    return availability.result;
}
