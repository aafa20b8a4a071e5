/* The table of system calls on Windows. The library calls an imported function NAME by the pointer __imp_NAME. Here are
 * pointers of those names, which the linker finds before the import library's: to functions that call what is in the table. */
#include "base/windows/windows_calls.h" /* before the macros of the next one */

#include "base/posix/system_calls.h"
#include "base/windows/error_code.h"

/* The system's functions, not those that the header's macros name. The table's members recv and shutdown have those names. */
#undef bind
#undef getaddrinfo
#undef recv
#undef shutdown

static void *system_function(const char *name)
{
    void *function = (void *)(intptr_t)GetProcAddress(LoadLibraryA("ws2_32.dll"), name);

    if (function == NULL)
        abort();
    return function;
}

#define SYSTEM_FUNCTION(name) ((__typeof__(&name))(intptr_t)system_function(#name))

/* For the error that a test's function has set in errno: a code of WSAGetLastError that the library takes for it. */
static int with_system_error(int result)
{
    unsigned long code = 1;

    if (result >= 0)
        return result;
    while (error_from_code(code) != -errno)
        if (++code > 20000)
            abort();
    WSASetLastError((int)code);
    return SOCKET_ERROR;
}

/* ---- the system's functions, as POSIX has them ---- */

int posix_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **addresses)
{
    return SYSTEM_FUNCTION(getaddrinfo)(node, service, hints, addresses);
}

static void real_freeaddrinfo(struct addrinfo *addresses)
{
    SYSTEM_FUNCTION(freeaddrinfo)(addresses);
}

static const struct system_calls real = {
    .bind = posix_bind,
    .freeaddrinfo = real_freeaddrinfo,
    .getaddrinfo = posix_getaddrinfo,
    .posix_recv = posix_recv,
    .posix_shutdown = posix_shutdown,
};

struct system_calls system_calls = real;

void system_calls_reset(void)
{
    system_calls = real;
}

/* ---- what the library calls ---- */

static int WSAAPI called_bind(SOCKET socket, const struct sockaddr *address, int length)
{
    if (system_calls.bind == real.bind)
        return SYSTEM_FUNCTION(bind)(socket, address, length);
    return with_system_error(system_calls.bind((int)socket, address, length));
}

static void WSAAPI called_freeaddrinfo(struct addrinfo *addresses)
{
    system_calls.freeaddrinfo(addresses);
}

static int WSAAPI called_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                                     struct addrinfo **addresses)
{
    return system_calls.getaddrinfo(node, service, hints, addresses);
}

static int WSAAPI called_recv(SOCKET socket, char *data, int size, int flags)
{
    if (system_calls.posix_recv == real.posix_recv)
        return SYSTEM_FUNCTION(recv)(socket, data, size, flags);
    return with_system_error((int)system_calls.posix_recv((int)socket, data, (size_t)size, flags));
}

static int WSAAPI called_shutdown(SOCKET socket, int how)
{
    if (system_calls.posix_shutdown == real.posix_shutdown)
        return SYSTEM_FUNCTION(shutdown)(socket, how);
    return with_system_error(system_calls.posix_shutdown((int)socket, how));
}

/* This one the library has in a table of its own. */
__attribute__((constructor)) static void replace_recv(void)
{
    windows_calls.recv = called_recv;
}

#define IMPORTED(name)                                                                                                 \
    extern const __typeof__(&called_##name) __imp_##name;                                                              \
    const __typeof__(&called_##name) __imp_##name = called_##name;

IMPORTED(bind)
IMPORTED(freeaddrinfo)
IMPORTED(getaddrinfo)
IMPORTED(shutdown)
