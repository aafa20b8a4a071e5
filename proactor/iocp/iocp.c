/* The IOCP backend: life and wait. */
#include "base/memory.h"
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"
#include "proactor/iocp/iocp_backend.h"

#include <jinduo/error.h>

/* ---- life ---- */

static int iocp_available(const char **reason)
{
    int result = socket_library_start();

    if (result < 0)
        *reason = "the socket library cannot be started (WSAStartup)";
    return result;
}

/* Other editions than Windows Server carry out two TransmitFile at a time, on the whole system: peers that do not read would stop
 * the files of all others. */
static bool is_windows_server(void)
{
    OSVERSIONINFOEXW version = { .dwOSVersionInfoSize = sizeof(version), .wProductType = VER_NT_WORKSTATION };

    return !windows_calls.VerifyVersionInfoW(&version, VER_PRODUCT_TYPE,
                                             VerSetConditionMask(0, VER_PRODUCT_TYPE, VER_EQUAL));
}

static int iocp_create(struct backend **backend, struct proactor_engine *owner, const jd_event_loop_options *options)
{
    struct iocp *iocp = memory_allocate_zeroed(sizeof(*iocp));
    int result;

    if (iocp == NULL)
        return JD_ENOMEM;
    iocp->backend.ops = &iocp_backend;
    iocp->backend.owner = owner;
    iocp->completed_link = &iocp->completed;
    iocp->accepts_ahead = options->accepts_ahead > 0 ? options->accepts_ahead : IOCP_ACCEPTS_DEFAULT;
    iocp->backend.files = is_windows_server() ? FILES_ARE_SENT : FILES_ARE_READ_AT_ONCE;
    result = iocp_make_table(iocp) ? windows_calls_find() : JD_ENOMEM;
    if (result == 0) {
        /* One thread waits on this port, the loop's. */
        iocp->port = windows_calls.CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
        result = iocp->port == NULL ? error_from_code(GetLastError()) : 0;
    }
    if (result < 0) {
        iocp_free_table(iocp);
        memory_release(iocp, sizeof(*iocp));
        return result;
    }
    *backend = &iocp->backend;
    return 0;
}

static void iocp_destroy(struct backend *backend)
{
    struct iocp *iocp = iocp_of(backend);

    if (iocp->spare != NULL)
        block_release(iocp->spare);
    CloseHandle(iocp->port);
    iocp_free_table(iocp);
    memory_release(iocp, sizeof(*iocp));
}

/* A packet that is lost would be waited for for ever. */
void iocp_post(const struct iocp *iocp, OVERLAPPED *overlapped)
{
    enum { RETRY_MS = 1 };
    int error;

    while (!windows_calls.PostQueuedCompletionStatus(iocp->port, 0, 0, overlapped)) {
        error = error_from_code(GetLastError());
        if (error != JD_ENOMEM && error != JD_ENOBUFS)
            return;
        Sleep(RETRY_MS);
    }
}

static void iocp_wake(struct backend *backend)
{
    iocp_post(iocp_of(backend), NULL);
}

/* ---- waiting ---- */

/* Rounded up, so that timers are never early. */
static DWORD wait_ms(int64_t timeout_ns)
{
    enum { NS_PER_MS = 1000000 };

    if (timeout_ns < 0)
        return INFINITE;
    return timeout_ns < (int64_t)(INFINITE - 1) * NS_PER_MS ? (DWORD)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS)
                                                            : INFINITE - 1;
}

/* Takes packets from the port. Returns how many, or a negative error. */
static int iocp_take(struct iocp *iocp, int64_t timeout_ns)
{
    ULONG count = 0;

    if (windows_calls.GetQueuedCompletionStatusEx(iocp->port, iocp->entries, IOCP_BATCH, &count, wait_ms(timeout_ns),
                                                  FALSE))
        return (int)count;
    return GetLastError() == WAIT_TIMEOUT ? 0 : error_from_code(GetLastError());
}

static int iocp_wait(struct backend *backend, int64_t timeout_ns)
{
    struct iocp *iocp = iocp_of(backend);
    int packets = 0;
    unsigned events;

    /* What is complete without a packet needs no call. But not twice in a row: the port's packets have their turn. */
    iocp->reported_only = iocp->completed != NULL && !iocp->reported_only;
    if (!iocp->reported_only) {
        proactor_count_enter(backend->owner);
        packets = iocp_take(iocp, iocp->completed != NULL ? 0 : timeout_ns);
    }
    proactor_woke(backend->owner);
    iocp_check_memory(iocp);
    events = iocp_report_completed(iocp);
    for (int i = 0; i < packets; i++)
        events += iocp_dispatch(iocp, iocp->entries[i].lpOverlapped);
    return packets < 0 ? packets : (int)events;
}

/* Operations are with the system as soon as they have been submitted. */
static void iocp_push(struct backend *backend)
{
}

static unsigned iocp_receive_room(const struct backend *backend)
{
    enum { RECEIVE_ROOM = 16 }; /* a receive has a block only while it is being reported */

    return iocp_of(backend)->out_of_memory ? 0 : RECEIVE_ROOM;
}

/* 0 for both counters, so that every operation counts as tried. */
static unsigned iocp_tried(const struct backend *backend)
{
    return 0;
}

static bool iocp_has_unsignaled(const struct backend *backend)
{
    return false;
}

/* A port is no socket that another loop could wait for. */
static int iocp_pollable_fd(struct backend *backend)
{
    return JD_ENOTSUP;
}

static bool iocp_prepare_poll(struct backend *backend)
{
    return iocp_of(backend)->completed != NULL;
}

const struct backend_ops iocp_backend = {
    .id = JD_ENGINE_IOCP,
    .name = "iocp",
    .available = iocp_available,
    .create = iocp_create,
    .destroy = iocp_destroy,
    .wait = iocp_wait,
    .wake = iocp_wake,
    .submit = iocp_submit,
    .cancel = iocp_cancel,
    .push = iocp_push,
    .receive_room = iocp_receive_room,
    .submitted = iocp_tried,
    .tried = iocp_tried,
    .has_unsignaled = iocp_has_unsignaled,
    .pollable_fd = iocp_pollable_fd,
    .prepare_poll = iocp_prepare_poll,
};
