#ifndef TESTS_WINDOWS_NETINET_TCP_H
#define TESTS_WINDOWS_NETINET_TCP_H

#include "posix.h"

#ifndef TCP_FASTOPEN
enum { TCP_FASTOPEN = 15 };
#endif
#ifndef TCP_KEEPIDLE
enum { TCP_KEEPIDLE = 3, TCP_KEEPCNT = 16, TCP_KEEPINTVL = 17 };
#endif

/* Windows has no such options: getsockopt and setsockopt fail. */
enum { TCP_INFO = 1000, TCP_DEFER_ACCEPT, TCP_FASTOPEN_CONNECT, TCP_USER_TIMEOUT };
enum { TCP_CLOSE = 7, TCPI_OPT_SYN_DATA = 32 };

struct tcp_info {
    unsigned tcpi_state, tcpi_options, tcpi_data_segs_in;
};

#endif
