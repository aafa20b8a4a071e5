/* Connecting: one operation per connector. */
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

static uint64_t connector_token(const struct connector *connector)
{
    return proactor_token(COMPLETES_CONNECT, (uint64_t)(uintptr_t)connector);
}

static void connector_close_socket(struct proactor_engine *proactor, struct connector *connector)
{
    socket_close(connector->socket);
    connector->socket = SOCKET_NONE;
    proactor_descriptor_freed(proactor);
}

int proactor_connect(struct engine *engine, struct connector *connector)
{
    struct proactor_engine *proactor = proactor_of(engine);
    struct operation_request request = {
        .opcode = OPCODE_CONNECT,
        .token = connector_token(connector),
        .address = endpoint_sockaddr(&connector->endpoint),
        .address_length = connector->endpoint.length,
    };
    int result =
        socket_open_to_connect(&connector->socket, &connector->endpoint, &connector->local, &connector->options);

    if (result < 0)
        return result;
    connector->engine_data = NULL;
    request.fd = connector->socket;
    result = proactor_submit(proactor, &request);
    if (result < 0)
        connector_close_socket(proactor, connector);
    return result;
}

/* engine_data marks the connector as abandoned: its operation still completes, and the result is then JD_ECANCELED. */
void proactor_abandon(struct engine *engine, struct connector *connector)
{
    connector->engine_data = connector;
    proactor_cancel(proactor_of(engine), connector->socket, connector_token(connector));
}

void proactor_connected(struct proactor_engine *proactor, const struct completion *completion)
{
    struct connector *connector = (struct connector *)(uintptr_t)proactor_token_value(completion->token);
    int error = connector->engine_data != NULL ? JD_ECANCELED : completion->result < 0 ? (int)completion->result : 0;
    struct peer_address peer;
    socket_handle socket;

    if (error == 0)
        error = socket_finish_connect(connector->socket, &peer);
    if (error < 0)
        connector_close_socket(proactor, connector);
    socket = connector->socket;
    connector->socket = SOCKET_NONE;
    connector->connected(connector, error, socket, &peer);
}
