/* The table of system calls that move the bytes of sockets and files, as base/posix/system_calls.h. Only tests write to it: they
 * replace entries to inject faults and to count. */
#ifndef BASE_WINDOWS_WINDOWS_CALLS_H
#define BASE_WINDOWS_WINDOWS_CALLS_H

/* The order matters: <windows.h> needs <winsock2.h> before it. */
#include <winsock2.h>

#include <mswsock.h>
#include <windows.h>

struct windows_calls {
    BOOL(WINAPI *AcceptEx)
    (SOCKET listener, SOCKET accepted, void *buffer, DWORD receive_bytes, DWORD local_bytes, DWORD remote_bytes,
     DWORD *received, OVERLAPPED *overlapped);
    BOOL(WINAPI *CancelIoEx)(HANDLE handle, OVERLAPPED *overlapped);
    BOOL(WINAPI *ConnectEx)
    (SOCKET socket, const struct sockaddr *address, int length, void *data, DWORD size, DWORD *sent,
     OVERLAPPED *overlapped);
    HANDLE(WINAPI *CreateIoCompletionPort)(HANDLE handle, HANDLE port, ULONG_PTR key, DWORD concurrency);
    BOOL(WINAPI *GetQueuedCompletionStatusEx)
    (HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count, ULONG *removed, DWORD milliseconds, BOOL alertable);
    BOOL(WINAPI *PostQueuedCompletionStatus)(HANDLE port, DWORD bytes, ULONG_PTR key, OVERLAPPED *overlapped);
    BOOL(WINAPI *ReadFile)(HANDLE file, void *data, DWORD size, DWORD *count, OVERLAPPED *overlapped);
    BOOL(WINAPI *TransmitFile)
    (SOCKET socket, HANDLE file, DWORD bytes, DWORD bytes_per_send, OVERLAPPED *overlapped,
     TRANSMIT_FILE_BUFFERS *buffers, DWORD flags);
    BOOL(WINAPI *VerifyVersionInfoW)(OSVERSIONINFOEXW *version, DWORD types, DWORDLONG conditions);
    BOOL(WINAPI *WriteFile)(HANDLE file, const void *data, DWORD size, DWORD *count, OVERLAPPED *overlapped);
    int(WSAAPI *WSARecv)(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags,
                         OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
    int(WSAAPI *WSASend)(SOCKET socket, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
    SOCKET(WSAAPI *WSASocketW)
    (int family, int type, int protocol, WSAPROTOCOL_INFOW *information, GROUP group, DWORD flags);
    int(WSAAPI *recv)(SOCKET socket, char *data, int size, int flags);
};

extern struct windows_calls windows_calls;

/* Asks the system's provider of sockets for AcceptEx, ConnectEx and TransmitFile: ConnectEx is in no library, and the others in
 * mswsock.dll ask in each call. To be called before the first use; later calls do nothing. Returns 0 or a negative error. May be
 * called from any thread. */
int windows_calls_find(void);

/* Restores the system's functions. */
void windows_calls_reset(void);

#endif
