/* What outlives a connection: references, ids, contexts, duplicates of its descriptor. */
#include "base/endpoint.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const suite_name = "references";

static jd_tcp_connection *kept;
static unsigned contexts_destroyed;

static void count_context(void *context)
{
    ++*(unsigned *)context;
}

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept = jd_tcp_connection_ref(connection);
    jd_tcp_connection_set_context(connection, &contexts_destroyed, count_context);
}

static void expect_closed(jd_tcp_connection *connection)
{
    jd_endpoint endpoint;

    ck_assert(!jd_tcp_connection_is_connected(connection));
    ck_assert_int_eq(jd_tcp_connection_send(connection, "x", 1), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_reset(connection), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_local_endpoint(connection, &endpoint), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_peer_endpoint(connection, &endpoint), 0);
    ck_assert_ptr_eq(jd_tcp_connection_context(connection), &contexts_destroyed);
}

/* ---- references ---- */

START_TEST(a_kept_connection_says_that_it_is_closed)
{
    serve(&(struct service){ .on_up = keep });
    int client = client_connect_up();
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);

    pump_until_quiet();

    expect_closed(kept);
    ck_assert_uint_eq(contexts_destroyed, 0);
    jd_tcp_connection_unref(kept);
    pump_turns(1);
    ck_assert_uint_eq(contexts_destroyed, 1);
}
END_TEST

/* Pitfall 31. */
START_TEST(a_reference_may_outlive_the_loop)
{
    serve(&(struct service){ .on_up = keep });
    client_connect_up();

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(connections_down(), 1);
    expect_closed(kept);
    ck_assert_int_eq(jd_tcp_connection_post(jd_tcp_connection_id(kept), NULL, NULL), JD_ENOENT);
    ck_assert_uint_eq(contexts_destroyed, 0);
    jd_tcp_connection_unref(kept);
    ck_assert_uint_eq(contexts_destroyed, 1);
}
END_TEST

static void *unref_elsewhere(void *arg)
{
    jd_tcp_connection_unref(arg);
    return NULL;
}

START_TEST(the_last_reference_may_be_given_back_in_another_thread)
{
    pthread_t thread;
    serve(&(struct service){ .on_up = keep });
    client_close(client_connect_up());
    PUMP_UNTIL(connections_down() == 1);

    ck_assert_int_eq(pthread_create(&thread, NULL, unref_elsewhere, kept), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(contexts_destroyed, 0);

    PUMP_UNTIL(contexts_destroyed == 1);
}
END_TEST

START_TEST(the_last_reference_may_be_given_back_in_another_thread_after_the_loop)
{
    pthread_t thread;
    serve(&(struct service){ .on_up = keep });
    client_connect_up();
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_int_eq(pthread_create(&thread, NULL, unref_elsewhere, kept), 0);
    pthread_join(thread, NULL);

    ck_assert_uint_eq(contexts_destroyed, 1);
}
END_TEST

/* ---- contexts ---- */

static unsigned first_destroyed, second_destroyed;

static void replace_context(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_set_context(connection, &first_destroyed, count_context);
    ck_assert_ptr_eq(jd_tcp_connection_context(connection), &first_destroyed);
    jd_tcp_connection_set_context(connection, &second_destroyed, count_context);
    ck_assert_uint_eq(first_destroyed, 1);
}

static void expect_context(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_eq(jd_tcp_connection_context(connection), &second_destroyed);
    ck_assert_uint_eq(second_destroyed, 0);
}

START_TEST(a_context_is_destroyed_when_replaced_and_after_down)
{
    serve(&(struct service){ .on_up = replace_context, .on_down = expect_context });

    client_close(client_connect_up());

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(first_destroyed, 1);
    ck_assert_uint_eq(second_destroyed, 1);
}
END_TEST

/* ---- ids ---- */

static unsigned found, missed;

static void note_found(jd_tcp_connection *connection, void *arg)
{
    found += connection != NULL;
    missed += connection == NULL;
    if (connection != NULL)
        ck_assert(jd_tcp_connection_id(connection) == *(jd_connection_id *)arg);
}

static void find_itself(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_eq(jd_tcp_connection_find(jd_tcp_connection_id(connection)), connection);
}

static void find_nothing(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_null(jd_tcp_connection_find(jd_tcp_connection_id(connection)));
}

START_TEST(an_id_names_its_connection_until_down_and_then_nothing)
{
    jd_connection_id id;
    serve(&(struct service){ .on_up = find_itself, .on_down = find_nothing });
    int client = client_connect_up();
    id = connection_id(0);
    ck_assert(id != 0);

    ck_assert_int_eq(jd_tcp_connection_post(id, note_found, &id), 0);
    PUMP_UNTIL(found == 1);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(jd_tcp_connection_post(id, note_found, &id), 0);
    PUMP_UNTIL(missed == 1);

    /* Outside of the loop's callbacks there is no current loop. */
    ck_assert_ptr_null(jd_tcp_connection_find(id));
}
END_TEST

START_TEST(ids_are_never_used_again)
{
    enum { MANY = 100 };
    serve(&(struct service){ .on_up = find_itself });

    for (int i = 0; i < MANY; i++) {
        client_close(client_connect_up());
        PUMP_UNTIL(connections_down() == connections_up());
    }

    for (unsigned i = 0; i < MANY; i++)
        for (unsigned k = 0; k < i; k++)
            if (connection_id(i) == connection_id(k))
                ck_abort_msg("connections %u and %u have one id", k, i);
}
END_TEST

START_TEST(ids_of_a_loop_that_is_gone_are_not_those_of_the_next)
{
    jd_connection_id id;
    serve(&(struct service){ .on_up = find_itself });
    client_connect_up();
    id = connection_id(0);

    remake_the_loop(NULL);
    serve(&(struct service){ .on_up = find_itself });
    client_connect_up();

    ck_assert(connection_id(1) != id);
    if (jd_tcp_connection_post(id, note_found, &id) == 0)
        PUMP_UNTIL(missed == 1);
    ck_assert_uint_eq(found, 0);
}
END_TEST

START_TEST(posting_to_an_id_that_never_was_finds_nothing)
{
    ck_assert_int_eq(jd_tcp_connection_post(0, note_found, NULL), JD_ENOENT);
    ck_assert_int_eq(jd_tcp_connection_post(UINT64_MAX, note_found, NULL), JD_ENOENT);
    ck_assert_ptr_null(jd_tcp_connection_find(0));
}
END_TEST

/* ---- duplicates of the descriptor: pitfall 14 ---- */

static int duplicate;

static void take_duplicate(jd_tcp_connection *connection, void *arg)
{
    jd_socket handle;

    if (connections_up() > 0)
        return;
    ck_assert_int_eq(jd_tcp_connection_native_handle(connection, &handle), 0);
    duplicate = dup(handle);
    ck_assert_int_ge(duplicate, 0);
}

static void close_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(a_duplicate_of_the_descriptor_brings_no_events_of_a_closed_connection)
{
    serve(&(struct service){ .on_up = take_duplicate, .on_message = echo });
    int client = client_connect_up(), next;
    uint64_t events;
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), close_it, NULL), 0);
    PUMP_UNTIL(connections_down() == 1);
    client_expect_end(client); /* although closing a descriptor with a duplicate sends no FIN */
    pump_until_quiet();
    events = statistics().events;

    /* The socket lives on in the duplicate, and things happen on it. */
    for (int i = 0; i < 5; i++) {
        client_send(client, "anybody there?", 14);
        pump_until_quiet();
    }
    ck_assert_uint_eq(statistics().events, events);
    next = client_connect_up(); /* with the same number, perhaps */
    client_send(next, "hello", 5);
    client_expect(next, "hello", 5);

    ck_assert_str_eq(story(0), "up down");
    close(duplicate);
    PUMP_UNTIL(client_is_over(client));
}
END_TEST

START_TEST(a_duplicate_in_a_child_process_brings_no_events_of_a_closed_connection)
{
    int pipe_ends[2];
    pid_t child;
    char byte;
    ck_assert_int_eq(pipe(pipe_ends), 0);
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up(), next;

    /* The child has a duplicate of everything until it is told to exit. */
    child = fork();
    if (child == 0) {
        close(pipe_ends[1]);
        _exit(read(pipe_ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), close_it, NULL), 0);
    PUMP_UNTIL(connections_down() == 1);
    for (int i = 0; i < 5; i++) {
        client_send(client, "anybody there?", 14);
        pump_until_quiet();
    }
    next = client_connect_up();
    client_send(next, "hello", 5);
    client_expect(next, "hello", 5);
    ck_assert_str_eq(story(0), "up down");

    close(pipe_ends[0]);
    close(pipe_ends[1]);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

static int try_connect(const jd_endpoint *endpoint)
{
    const struct sockaddr *address = endpoint_sockaddr(endpoint);
    int client = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = connect(client, address, endpoint->length) < 0 ? -errno : 0;

    client_adopt(client);
    return result;
}

/* Of this process's descriptors. */
static bool listens_on_some(uint16_t port)
{
    enum { LOOKED_AT = 256 };

    for (int fd = 0; fd < LOOKED_AT; fd++) {
        int listens = 0;
        socklen_t length = sizeof(listens);
        struct sockaddr_in bound = { 0 };
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0 || !listens)
            continue;
        length = sizeof(bound);
        if (getsockname(fd, (struct sockaddr *)&bound, &length) == 0 && ntohs(bound.sin_port) == port)
            return true;
    }
    return false;
}

/* The child's duplicate still listens on the Reactor, which just closes its own; a Proactor has shut the socket down
 * (docs/engines.md), and whose the port is from then on nobody knows. */
START_TEST(a_duplicate_in_a_child_process_brings_no_events_of_a_closed_listener)
{
    bool goes_on = !engine_under_test()->is_proactor;
    int pipe_ends[2], status;
    uint64_t events;
    pid_t child;
    char byte;
    ck_assert_int_eq(pipe(pipe_ends), 0);
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    jd_endpoint endpoint = endpoint_of(server);
    ck_assert(listens_on_some(jd_endpoint_port(&endpoint)));
    child = fork();
    if (child == 0) {
        close(pipe_ends[1]);
        if (read(pipe_ends[0], &byte, 1) != 0)
            _exit(EXIT_FAILURE);
        _exit(listens_on_some(jd_endpoint_port(&endpoint)) == goes_on ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    ck_assert_int_gt(child, 0);
    jd_tcp_server_destroy(server, NULL, NULL);
    pump_until_quiet();

    events = statistics().events;
    for (int i = 0; i < 5 && goes_on; i++) {
        ck_assert_int_eq(try_connect(&endpoint), 0);
        pump_until_quiet();
    }

    ck_assert_uint_eq(connections_up(), 0);
    ck_assert_uint_eq(statistics().events, events);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "references");

    tcase_add_test(tests, a_kept_connection_says_that_it_is_closed);
    tcase_add_test(tests, a_reference_may_outlive_the_loop);
    tcase_add_test(tests, the_last_reference_may_be_given_back_in_another_thread);
    tcase_add_test(tests, the_last_reference_may_be_given_back_in_another_thread_after_the_loop);
    tcase_add_test(tests, a_context_is_destroyed_when_replaced_and_after_down);
    tcase_add_test(tests, an_id_names_its_connection_until_down_and_then_nothing);
    tcase_add_test(tests, ids_are_never_used_again);
    tcase_add_test(tests, ids_of_a_loop_that_is_gone_are_not_those_of_the_next);
    tcase_add_test(tests, posting_to_an_id_that_never_was_finds_nothing);
    tcase_add_test(tests, a_duplicate_of_the_descriptor_brings_no_events_of_a_closed_connection);
    tcase_add_test(tests, a_duplicate_in_a_child_process_brings_no_events_of_a_closed_connection);
    tcase_add_test(tests, a_duplicate_in_a_child_process_brings_no_events_of_a_closed_listener);
}
