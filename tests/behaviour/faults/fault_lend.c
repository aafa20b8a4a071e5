#include "tests/behaviour/faults/fault_lend.h"

#include "tests/behaviour/faults/fault_peer.h"

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic unsigned lent;

unsigned fault_lent(void)
{
    return atomic_load(&lent);
}

static void give_back(void *memory)
{
    atomic_fetch_sub(&lent, 1);
    free(memory);
}

static void give_back_file(void *descriptor)
{
    atomic_fetch_sub(&lent, 1);
    jd_release_close_fd(descriptor);
}

/* What the library has taken may be back before the call returns, in another thread. */
static void lend_begin(void)
{
    atomic_fetch_add(&lent, 1);
}

static int lend_end(int result)
{
    if (result < 0)
        atomic_fetch_sub(&lent, 1);
    return result;
}

static void *copy_of(const void *data, size_t length)
{
    void *copy = malloc(length);

    ck_assert_ptr_nonnull(copy);
    return memcpy(copy, data, length);
}

static int send_shared(jd_tcp_connection *connection, const void *data, size_t length)
{
    void *copy = copy_of(data, length);
    jd_shared *shared = NULL;
    int result;

    lend_begin();
    result = lend_end(jd_shared_create_owned(&shared, copy, length, give_back, copy));
    if (result < 0) {
        free(copy);
        return result;
    }
    result = jd_tcp_connection_send_shared(connection, shared, 0, JD_TO_END);
    jd_shared_unref(shared);
    return result;
}

static int send_owned(jd_tcp_connection *connection, const void *data, size_t length)
{
    void *copy = copy_of(data, length);
    int result;

    lend_begin();
    result = lend_end(jd_tcp_connection_send_reference(connection, copy, length, give_back, copy));
    if (result < 0)
        free(copy);
    return result;
}

static int send_file(jd_tcp_connection *connection, const void *data, size_t length)
{
    int fd = memfd_create("jinduo-faults", MFD_CLOEXEC);
    int result;

    ck_assert_int_eq(write(fd, data, length), (ssize_t)length);
    lend_begin();
    result = lend_end(jd_tcp_connection_send_file(connection, fd, 0, JD_TO_END, give_back_file, (void *)(intptr_t)fd));
    if (result < 0)
        close(fd);
    return result;
}

static int send_header(jd_tcp_connection *connection, size_t length)
{
    unsigned char header[FAULT_HEADER_BYTES];

    for (int i = 0; i < FAULT_HEADER_BYTES; i++)
        header[i] = (unsigned char)(length >> 8 * (FAULT_HEADER_BYTES - 1 - i));
    return jd_tcp_connection_send(connection, header, sizeof(header));
}

bool fault_lends(enum run_order order)
{
    return order == ORDER_SHARED || order == ORDER_OWNED || order == ORDER_FILE || order == ORDER_SHARED_FROM_AFAR ||
           order == ORDER_OWNED_FROM_AFAR || order == ORDER_FILE_FROM_AFAR;
}

int fault_lend(jd_tcp_connection *connection, const void *data, size_t length)
{
    enum run_order order = *(const unsigned char *)data;
    int result = send_header(connection, length);

    if (result < 0)
        return result;
    if (order == ORDER_SHARED || order == ORDER_SHARED_FROM_AFAR)
        return send_shared(connection, data, length);
    if (order == ORDER_OWNED || order == ORDER_OWNED_FROM_AFAR)
        return send_owned(connection, data, length);
    return send_file(connection, data, length);
}
