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
    BOOL(WINAPI *GetQueuedCompletionStatusEx)
    (HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count, ULONG *removed, DWORD milliseconds, BOOL alertable);
    BOOL(WINAPI *ReadFile)(HANDLE file, void *data, DWORD size, DWORD *count, OVERLAPPED *overlapped);
    BOOL(WINAPI *TransmitFile)
    (SOCKET socket, HANDLE file, DWORD bytes, DWORD bytes_per_send, OVERLAPPED *overlapped,
     TRANSMIT_FILE_BUFFERS *buffers, DWORD flags);
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

/* Restores the system's functions. */
void windows_calls_reset(void);

#endif
