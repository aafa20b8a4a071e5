/* jd-info: what this build of jinduo has, and what this system lets it use. */
#include "examples/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#if JD_WITH_IO_URING
#include <liburing.h>

/* Later than liburing 2.3 (linux/io_uring.h). */
#ifndef IORING_FEAT_RECVSEND_BUNDLE
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)
#endif
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif
#endif

/* ---- engines ---- */

static void drop_message(jd_log_level level, const char *message, void *arg)
{
}

/* The engine that a loop gets when this one is asked for, or NULL. */
static const char *chosen_for(jd_engine engine)
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
    const char *reason, *chosen = NULL;
    int result = jd_engine_available(engine, &reason);

    printf("  %-11s", jd_engine_name(engine));
    if (result == 0)
        chosen = chosen_for(engine);
    if (result < 0)
        printf("not available: %s\n", *reason != '\0' ? reason : jd_strerror(result));
    else if (chosen == NULL)
        printf("not available: %s\n",
               engine == JD_ENGINE_AUTO ? "JINDUO_ENGINE names none that is" : "a loop cannot be made");
    else if (strcmp(chosen, jd_engine_name(engine)) != 0)
        printf("available: is %s\n", chosen);
    else
        printf("available\n");
}

static void print_engines(void)
{
    static const jd_engine engines[] = { JD_ENGINE_AUTO, JD_ENGINE_REACTOR, JD_ENGINE_PROACTOR, JD_ENGINE_IO_URING,
                                         JD_ENGINE_SIMULATED };
    const char *wish = getenv("JINDUO_ENGINE");

    printf("engines (JINDUO_ENGINE: %s)\n", wish != NULL && *wish != '\0' ? wish : "not set");
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        print_engine(engines[i]);
}

/* ---- io_uring ---- */

#if JD_WITH_IO_URING
static void print_feature(const char *name, const char *since, bool found)
{
    printf("  %-35s%-6s %s\n", name, since, found ? "yes" : "no");
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

/* Registering them is the only way to find out. */
static bool uses_buffers_up(struct io_uring *ring)
{
    enum { GROUP = 0, USED_PIECE_BY_PIECE = 2 /* IOU_PBUF_RING_INC */, PAGE_BYTES = 4096 };
    static _Alignas(PAGE_BYTES) char entries[PAGE_BYTES];
    const uint16_t flags = USED_PIECE_BY_PIECE;
    struct io_uring_buf_reg registration = { .ring_addr = (uintptr_t)entries, .ring_entries = 1, .bgid = GROUP };

    /* The field behind bgid: pad in liburing 2.3, later flags. */
    memcpy(&registration.bgid + 1, &flags, sizeof(flags));
    return io_uring_register_buf_ring(ring, &registration, 0) == 0;
}

static void print_ring(void)
{
    enum { FEW = 4 };
    struct io_uring ring;
    int result = io_uring_queue_init(FEW, &ring, 0);

    if (result < 0) {
        printf("io_uring: refused: %s\n", strerror(-result));
        return;
    }
    printf("io_uring (liburing " LIBURING_VERSION "), what it can do here and since which Linux\n");
    print_feature("completions are never lost", "5.5", (ring.features & IORING_FEAT_NODROP) != 0);
    print_feature("waiting with a time limit", "5.11", (ring.features & IORING_FEAT_EXT_ARG) != 0);
    print_feature("silent success", "5.17", (ring.features & IORING_FEAT_CQE_SKIP) != 0);
    print_feature("completions without interruption", "5.19", makes_ring(IORING_SETUP_COOP_TASKRUN));
    print_feature("completions made while waiting", "6.1",
                  makes_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN));
    print_feature("gathered sends without copying", "6.1", has_operation(&ring, IORING_OP_SENDMSG_ZC));
    print_feature("several buffers a completion", "6.10", (ring.features & IORING_FEAT_RECVSEND_BUNDLE) != 0);
    print_feature("buffers used piece by piece", "6.12", uses_buffers_up(&ring));
    print_feature("waiting at least a while", "6.12", (ring.features & IORING_FEAT_MIN_TIMEOUT) != 0);
    io_uring_queue_exit(&ring);
}
#else
static void print_ring(void)
{
    printf("io_uring: not built in\n");
}
#endif

/* ---- the system's limits ---- */

static void print_setting(const char *name, const char *path)
{
    char text[64] = "";
    FILE *file = fopen(path, "re");

    if (file == NULL || fgets(text, sizeof(text), file) == NULL)
        strcpy(text, "no such setting");
    if (file != NULL)
        fclose(file);
    text[strcspn(text, "\n")] = '\0';
    printf("  %-35s%s\n", name, text);
}

static void print_limit(const char *name, int resource)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        printf("  %-35sunlimited\n", name);
    else
        printf("  %-35s%llu\n", name, (unsigned long long)limit.rlim_cur);
}

static void print_limits(void)
{
    printf("limits\n");
    print_limit("descriptors of this process", RLIMIT_NOFILE);
    print_limit("locked memory, bytes", RLIMIT_MEMLOCK);
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
        printf("Usage: jd-info\n"
               "Shows what this build of jinduo has and what this system lets it use: engines, and why one cannot be "
               "used,\n"
               "io_uring's features, limits.\n\n"
               "  -h, --help                this text\n");
        return 0;
    }
    if (argc > 1)
        program_usage_error(&program, "'%s': no such option", argv[1]);
    jd_log_set_sink(drop_message, NULL);
    printf("jinduo       %s\n", jd_version());
    print_system();
    printf("memory from  %s\n", jd_memory_source());
    print_engines();
    print_ring();
    print_limits();
    return 0;
}
