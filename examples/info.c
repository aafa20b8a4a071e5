/* jd-info: prints the engines and io_uring features that this build contains and this system allows, and the limits
 * that matter to a server. Shows jd_engine_available and jd_engine_name. */
#include "examples/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#if JD_WITH_IO_URING
#include <liburing.h>

/* Newer than the headers of liburing 2.3 (linux/io_uring.h). */
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif
#endif

/* ---- engines ---- */

static void discard_message(jd_log_level level, const char *message, void *arg)
{
}

/* Returns the name of the engine that a loop created with this one uses, or NULL if no loop can be created. */
static const char *selected_by(jd_engine engine)
{
    const jd_event_loop_options options = { .engine = engine };
    const char *name;
    jd_event_loop *loop;

    if (jd_event_loop_create(&loop, &options) < 0)
        return NULL;
    name = jd_engine_name(jd_event_loop_engine(loop));
    jd_event_loop_destroy(loop);
    return name;
}

static void print_engine(jd_engine engine)
{
    const char *reason, *selected = NULL;
    int result = jd_engine_available(engine, &reason);

    printf("  %-11s", jd_engine_name(engine));
    if (result == 0)
        selected = selected_by(engine);
    if (result < 0)
        printf("not available: %s\n", *reason != '\0' ? reason : jd_strerror(result));
    else if (selected == NULL)
        printf("not available: %s\n",
               engine == JD_ENGINE_AUTO ? "JINDUO_ENGINE names no available engine" : "cannot create an event loop");
    else if (strcmp(selected, jd_engine_name(engine)) != 0)
        printf("available: selects %s\n", selected);
    else
        printf("available\n");
}

static void print_engines(void)
{
    static const jd_engine engines[] = { JD_ENGINE_AUTO,     JD_ENGINE_REACTOR,   JD_ENGINE_PROACTOR,
                                         JD_ENGINE_IO_URING, JD_ENGINE_SIMULATED, JD_ENGINE_IOCP };
    const char *environment = getenv("JINDUO_ENGINE");

    printf("engines (JINDUO_ENGINE: %s)\n", environment != NULL && *environment != '\0' ? environment : "not set");
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        print_engine(engines[i]);
}

/* ---- io_uring ---- */

#if JD_WITH_IO_URING
static void print_feature(const char *name, const char *since, bool found)
{
    printf("  %-48s%-6s %s\n", name, since, found ? "yes" : "no");
}

static bool has_operation(struct io_uring *ring, int operation)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool found = probe != NULL && io_uring_opcode_supported(probe, operation);

    io_uring_free_probe(probe);
    return found;
}

static bool makes_ring(unsigned flags)
{
    enum { FEW = 4 };
    struct io_uring ring;

    if (io_uring_queue_init(FEW, &ring, flags) < 0)
        return false;
    io_uring_queue_exit(&ring);
    return true;
}

/* Registering a buffer ring with the flag is the only way to find out. */
static bool has_incremental_buffers(struct io_uring *ring)
{
    enum { GROUP = 0, INCREMENTAL = 2 /* IOU_PBUF_RING_INC */, PAGE_BYTES = 4096 };
    static _Alignas(PAGE_BYTES) char entries[PAGE_BYTES];
    const uint16_t flags = INCREMENTAL;
    struct io_uring_buf_reg registration = { .ring_addr = (uintptr_t)entries, .ring_entries = 1, .bgid = GROUP };

    /* The field after bgid: named pad in liburing 2.3, flags later. */
    memcpy(&registration.bgid + 1, &flags, sizeof(flags));
    return io_uring_register_buf_ring(ring, &registration, 0) == 0;
}

static void print_ring(void)
{
    enum { FEW = 4 };
    struct io_uring ring;
    int result = io_uring_queue_init(FEW, &ring, 0);

    if (result < 0) {
        printf("io_uring: not available: %s\n", strerror(-result));
        return;
    }
    printf("io_uring (liburing " LIBURING_VERSION "): feature, first Linux version, available here\n");
    print_feature("no completion is lost (NODROP)", "5.5", (ring.features & IORING_FEAT_NODROP) != 0);
    print_feature("wait with a timeout (EXT_ARG)", "5.11", (ring.features & IORING_FEAT_EXT_ARG) != 0);
    print_feature("no completion on success (CQE_SKIP)", "5.17", (ring.features & IORING_FEAT_CQE_SKIP) != 0);
    print_feature("completions without interrupts (COOP_TASKRUN)", "5.19", makes_ring(IORING_SETUP_COOP_TASKRUN));
    print_feature("completions while waiting (DEFER_TASKRUN)", "6.1",
                  makes_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN));
    print_feature("zero-copy gathered send (SENDMSG_ZC)", "6.1", has_operation(&ring, IORING_OP_SENDMSG_ZC));
    print_feature("several buffers per completion (BUNDLE)", "6.10",
                  (ring.features & IORING_FEAT_RECVSEND_BUNDLE) != 0);
    print_feature("buffers consumed in parts (PBUF_RING_INC)", "6.12", has_incremental_buffers(&ring));
    print_feature("minimum wait (MIN_TIMEOUT)", "6.12", (ring.features & IORING_FEAT_MIN_TIMEOUT) != 0);
    io_uring_queue_exit(&ring);
}
#else
static void print_ring(void)
{
    printf("io_uring: not built in\n");
}
#endif

/* ---- limits of the system ---- */

static void print_setting(const char *name, const char *path)
{
    char text[64] = "";
    FILE *file = fopen(path, "re");

    if (file == NULL || fgets(text, sizeof(text), file) == NULL)
        strcpy(text, "no such setting");
    if (file != NULL)
        fclose(file);
    text[strcspn(text, "\n")] = '\0';
    printf("  %-48s%s\n", name, text);
}

static void print_limit(const char *name, int resource)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        printf("  %-48sunlimited\n", name);
    else
        printf("  %-48s%llu\n", name, (unsigned long long)limit.rlim_cur);
}

static void print_limits(void)
{
    printf("limits\n");
    print_limit("descriptors per process (RLIMIT_NOFILE)", RLIMIT_NOFILE);
    print_limit("locked memory, bytes (RLIMIT_MEMLOCK)", RLIMIT_MEMLOCK);
    print_setting("net.core.somaxconn", "/proc/sys/net/core/somaxconn");
    print_setting("kernel.io_uring_disabled", "/proc/sys/kernel/io_uring_disabled");
}

static void print_system(void)
{
    struct utsname system;

    if (uname(&system) == 0)
        printf("system       %s %s %s\n", system.sysname, system.release, system.machine);
}

int main(int argc, char **argv)
{
    const struct program program = { .name = "jd-info" };

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf(
            "Usage: jd-info\n"
            "Prints the engines of this build and whether this system can use them, else the reason; the features of\n"
            "io_uring; and the system's limits.\n\n"
            "  -h, --help                print this text and exit\n");
        return 0;
    }
    if (argc > 1)
        program_usage_error(&program, "unexpected argument '%s'", argv[1]);
    jd_log_set_sink(discard_message, NULL);
    printf("jinduo       %s\n", jd_version());
    print_system();
    printf("allocator    %s\n", jd_memory_source());
    print_engines();
    print_ring();
    print_limits();
    return 0;
}
