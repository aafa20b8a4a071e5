#include "tests/behaviour/gone_peers.h"

#include <signal.h>

void check_that_gone_peers_raise_no_signal(int endpoint, jd_connection_task send)
{
    const char *const endpoints[GONE_PEERS_ENDPOINTS] = { "127.0.0.1:0", own_unix_endpoint("@jinduo-test-") };
    struct sigaction action;
    ck_assert(signal(SIGPIPE, SIG_DFL) == SIG_DFL);
    serve(&(struct service){ .options = { .allow_half_open = true, .listen = endpoints[endpoint] } });

    for (unsigned i = 0; i < 20; i++) {
        int client = client_connect_up();
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(i), send, NULL), 0);
        pump_turns(i % 3);
        if (i % 2 == 0)
            client_close(client);
        else
            client_reset(client);
        for (int k = 0; k < 5; k++) {
            ck_assert_int_eq(jd_tcp_connection_post(connection_id(i), send, NULL), 0);
            pump_turns(1);
        }
        PUMP_UNTIL(connections_down() == i + 1);
    }

    ck_assert_int_eq(sigaction(SIGPIPE, NULL, &action), 0);
    ck_assert(action.sa_handler == SIG_DFL);
}
