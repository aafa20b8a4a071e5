#include "tests/behaviour/iocp/the_calls.h"

#include "tests/support/check_main.h"

#include <string.h>

enum { MARKED_MAX = 4096 };

struct faults {
    unsigned first, count; /* of the calls of this kind */
    DWORD code;            /* the call fails with this one; 0: its operation completes with status */
    uint32_t status;
    unsigned bytes;
};

/* An operation that completes with another status. */
struct marked {
    OVERLAPPED *overlapped;
    uint32_t status;
    unsigned bytes;
};

static struct windows_calls real; /* the system's */
static unsigned counts[CALLS], packets, struck;
static struct faults faults[CALLS];
static struct marked marked[MARKED_MAX];
static unsigned marked_count;

static bool is_hit(enum watched_call call)
{
    return counts[call] >= faults[call].first && counts[call] - faults[call].first < faults[call].count;
}

/* Counts the call. Returns whether it fails, with the last error set. */
static bool call_fails(enum watched_call call)
{
    counts[call]++;
    if (!is_hit(call) || faults[call].code == 0)
        return false;
    struck++;
    SetLastError(faults[call].code);
    return true;
}

static void strike(OVERLAPPED *overlapped, uint32_t status, unsigned bytes)
{
    overlapped->Internal = status;
    overlapped->InternalHigh = bytes;
    struck++;
}

/* The operation has been begun: at once it is over, without a packet, or its packet will come; or the call has failed. */
static void begun(enum watched_call call, OVERLAPPED *overlapped, bool succeeded)
{
    DWORD code = GetLastError();

    if (overlapped == NULL || !is_hit(call) || faults[call].code != 0 || (!succeeded && code != ERROR_IO_PENDING))
        return;
    if (succeeded && call != CALL_ACCEPT) {
        strike(overlapped, faults[call].status, faults[call].bytes);
        return;
    }
    ck_assert_uint_lt(marked_count, MARKED_MAX);
    marked[marked_count++] =
        (struct marked){ .overlapped = overlapped, .status = faults[call].status, .bytes = faults[call].bytes };
    SetLastError(code);
}

/* ---- the functions ---- */

static BOOL WINAPI watched_accept(SOCKET listener, SOCKET accepted, void *buffer, DWORD receive_bytes,
                                  DWORD local_bytes, DWORD remote_bytes, DWORD *received, OVERLAPPED *overlapped)
{
    BOOL succeeded;

    if (call_fails(CALL_ACCEPT))
        return FALSE;
    succeeded =
        real.AcceptEx(listener, accepted, buffer, receive_bytes, local_bytes, remote_bytes, received, overlapped);
    begun(CALL_ACCEPT, overlapped, succeeded);
    return succeeded;
}

static HANDLE WINAPI watched_bind(HANDLE handle, HANDLE port, ULONG_PTR key, DWORD concurrency)
{
    return call_fails(CALL_BIND) ? NULL : real.CreateIoCompletionPort(handle, port, key, concurrency);
}

static BOOL WINAPI watched_cancel(HANDLE handle, OVERLAPPED *overlapped)
{
    return !call_fails(CALL_CANCEL) && real.CancelIoEx(handle, overlapped);
}

static BOOL WINAPI watched_post(HANDLE port, DWORD bytes, ULONG_PTR key, OVERLAPPED *overlapped)
{
    return !call_fails(CALL_POST) && real.PostQueuedCompletionStatus(port, bytes, key, overlapped);
}

static BOOL WINAPI watched_connect(SOCKET socket, const struct sockaddr *address, int length, void *data, DWORD size,
                                   DWORD *sent, OVERLAPPED *overlapped)
{
    BOOL succeeded;

    if (call_fails(CALL_CONNECT))
        return FALSE;
    succeeded = real.ConnectEx(socket, address, length, data, size, sent, overlapped);
    begun(CALL_CONNECT, overlapped, succeeded);
    return succeeded;
}

/* An edition of Windows, as VerifyVersionInfoW tells it. */
static BOOL WINAPI on_a_server(OSVERSIONINFOEXW *version, DWORD types, DWORDLONG conditions)
{
    return version->wProductType == VER_NT_SERVER;
}

static BOOL WINAPI on_a_workstation(OSVERSIONINFOEXW *version, DWORD types, DWORDLONG conditions)
{
    return version->wProductType == VER_NT_WORKSTATION;
}

static void strike_packet(OVERLAPPED *overlapped)
{
    for (unsigned i = 0; i < marked_count; i++) {
        if (marked[i].overlapped != overlapped)
            continue;
        strike(overlapped, marked[i].status, marked[i].bytes);
        marked[i] = marked[--marked_count];
        return;
    }
}

static BOOL WINAPI watched_wait(HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count, ULONG *removed, DWORD milliseconds,
                                BOOL alertable)
{
    BOOL succeeded;

    if (call_fails(CALL_WAIT))
        return FALSE;
    succeeded = real.GetQueuedCompletionStatusEx(port, entries, count, removed, milliseconds, alertable);
    for (ULONG i = 0; succeeded && i < *removed; i++) {
        packets += entries[i].lpOverlapped != NULL;
        strike_packet(entries[i].lpOverlapped);
    }
    return succeeded;
}

static BOOL WINAPI watched_read_file(HANDLE file, void *data, DWORD size, DWORD *count, OVERLAPPED *overlapped)
{
    BOOL succeeded;

    if (call_fails(CALL_READ_FILE))
        return FALSE;
    succeeded = real.ReadFile(file, data, size, count, overlapped);
    begun(CALL_READ_FILE, overlapped, succeeded);
    return succeeded;
}

static BOOL WINAPI watched_transmit_file(SOCKET socket, HANDLE file, DWORD bytes, DWORD bytes_per_send,
                                         OVERLAPPED *overlapped, TRANSMIT_FILE_BUFFERS *buffers, DWORD flags)
{
    BOOL succeeded;

    if (call_fails(CALL_SEND_FILE))
        return FALSE;
    succeeded = real.TransmitFile(socket, file, bytes, bytes_per_send, overlapped, buffers, flags);
    begun(CALL_SEND_FILE, overlapped, succeeded);
    return succeeded;
}

static BOOL WINAPI watched_write_file(HANDLE file, const void *data, DWORD size, DWORD *count, OVERLAPPED *overlapped)
{
    BOOL succeeded;

    if (call_fails(CALL_WRITE_FILE))
        return FALSE;
    succeeded = real.WriteFile(file, data, size, count, overlapped);
    begun(CALL_WRITE_FILE, overlapped, succeeded);
    return succeeded;
}

static int WSAAPI watched_receive(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags,
                                  OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    int result;

    if (call_fails(CALL_RECEIVE))
        return SOCKET_ERROR;
    result = real.WSARecv(socket, buffers, count, received, flags, overlapped, routine);
    begun(CALL_RECEIVE, overlapped, result == 0);
    return result;
}

static int WSAAPI watched_send(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags,
                               OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    WSABUF first;
    int result;

    if (call_fails(CALL_SEND))
        return SOCKET_ERROR;
    if (is_hit(CALL_SEND) && faults[CALL_SEND].bytes > 0) { /* so many it sends */
        first = (WSABUF){ .len = buffers->len < faults[CALL_SEND].bytes ? buffers->len : faults[CALL_SEND].bytes,
                          .buf = buffers->buf };
        buffers = &first;
        count = 1;
    }
    result = real.WSASend(socket, buffers, count, sent, flags, overlapped, routine);
    begun(CALL_SEND, overlapped, result == 0);
    return result;
}

static SOCKET WSAAPI watched_socket(int family, int type, int protocol, WSAPROTOCOL_INFOW *information, GROUP group,
                                    DWORD flags)
{
    if (call_fails(CALL_SOCKET))
        return INVALID_SOCKET;
    return real.WSASocketW(family, type, protocol, information, group, flags);
}

static int WSAAPI watched_recv(SOCKET socket, char *data, int size, int flags)
{
    if (call_fails(CALL_RECEIVE_AT_ONCE))
        return SOCKET_ERROR;
    return real.recv(socket, data, size, flags);
}

/* ---- the test's side ---- */

void calls_watch(void)
{
    if (real.AcceptEx == NULL)
        real = windows_calls;
    memset(counts, 0, sizeof(counts));
    memset(faults, 0, sizeof(faults));
    packets = struck = marked_count = 0;
    windows_calls = (struct windows_calls){
        .AcceptEx = watched_accept,
        .CancelIoEx = watched_cancel,
        .ConnectEx = watched_connect,
        .CreateIoCompletionPort = watched_bind,
        .GetQueuedCompletionStatusEx = watched_wait,
        .PostQueuedCompletionStatus = watched_post,
        .ReadFile = watched_read_file,
        .TransmitFile = watched_transmit_file,
        .VerifyVersionInfoW = windows_calls.VerifyVersionInfoW,
        .WriteFile = watched_write_file,
        .WSARecv = watched_receive,
        .WSASend = watched_send,
        .WSASocketW = watched_socket,
        .recv = watched_recv,
    };
}

unsigned calls_of(enum watched_call call)
{
    return counts[call];
}

unsigned calls_packets(void)
{
    return packets;
}

void calls_fail(enum watched_call call, unsigned number, unsigned count, DWORD code)
{
    faults[call] = (struct faults){ .first = counts[call] + number, .count = count, .code = code };
}

void calls_complete_with(enum watched_call call, unsigned number, unsigned count, uint32_t status, unsigned bytes)
{
    faults[call] = (struct faults){ .first = counts[call] + number, .count = count, .status = status, .bytes = bytes };
}

unsigned calls_struck(void)
{
    return struck;
}

void calls_set_edition(bool is_server)
{
    windows_calls.VerifyVersionInfoW = is_server ? on_a_server : on_a_workstation;
}
