/* Endpoints: what parses has one text, which parses to the same endpoint; what does not parse changes nothing. Then a socket
 * address, as a kernel gives it, has a text that fits. */
#include "base/endpoint.h"
#include "tests/fuzz/fuzz.h"

#include <jinduo/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The text is written as far as it fits, with a final zero, whatever the room. */
static void check_room(const jd_endpoint *endpoint, const char *text, size_t length)
{
    for (size_t size = 0; size <= length + 1; size += size < 8 ? 1 : 7) {
        char *room = malloc(size + 1);

        REQUIRE(room != NULL);
        room[size] = '#';
        REQUIRE(jd_endpoint_format(endpoint, room, size) == length);
        REQUIRE(room[size] == '#');
        if (size > 0) {
            size_t written = length < size - 1 ? length : size - 1;

            REQUIRE(memcmp(room, text, written) == 0 && room[written] == '\0');
        }
        free(room);
    }
}

/* Returns the length of the text. */
static size_t check_text(const jd_endpoint *endpoint, char text[JD_ENDPOINT_TEXT_BYTES])
{
    size_t length = jd_endpoint_format(endpoint, text, JD_ENDPOINT_TEXT_BYTES);

    REQUIRE(length > 0 && length < JD_ENDPOINT_TEXT_BYTES);
    REQUIRE(strlen(text) == length);
    check_room(endpoint, text, length);
    return length;
}

/* The text of an endpoint parses to an endpoint with the same text and the same address. */
static void check_round_trip(const jd_endpoint *endpoint)
{
    char text[JD_ENDPOINT_TEXT_BYTES], again[JD_ENDPOINT_TEXT_BYTES];
    const char *reason = NULL;
    jd_endpoint parsed;

    check_text(endpoint, text);
    REQUIRE(jd_endpoint_parse(&parsed, text, &reason) == 0);
    REQUIRE(jd_endpoint_equal(&parsed, endpoint));
    REQUIRE(jd_endpoint_port(&parsed) == jd_endpoint_port(endpoint));
    check_text(&parsed, again);
    REQUIRE(strcmp(text, again) == 0);
}

static void check_parse(const char *text)
{
    jd_endpoint before, endpoint, without_reason;
    const char *reason = NULL;
    struct host_port host_port;
    int result;

    memset(&before, 0x5a, sizeof(before));
    endpoint = without_reason = before;
    result = jd_endpoint_parse(&endpoint, text, &reason);
    REQUIRE(result == 0 || result == JD_EINVAL);
    REQUIRE(jd_endpoint_parse(&without_reason, text, NULL) == result);
    REQUIRE(memcmp(&endpoint, &without_reason, sizeof(endpoint)) == 0);
    if (result == 0) {
        check_round_trip(&endpoint);
    } else {
        REQUIRE(memcmp(&endpoint, &before, sizeof(endpoint)) == 0);
        REQUIRE(reason != NULL && reason[0] != '\0');
    }
    if (host_port_parse(&host_port, text) == 0)
        REQUIRE(strlen(host_port.host) < HOST_NAME_BYTES && strlen(host_port.port) < sizeof(host_port.port));
}

static void check_address(const uint8_t *data, size_t size)
{
    struct sockaddr_storage address = { 0 };
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint, parsed;
    struct peer_address peer;

    if (size > sizeof(address))
        size = sizeof(address);
    memcpy(&address, data, size);
    endpoint_from_sockaddr(&endpoint, (const struct sockaddr *)&address, (socklen_t)size);
    check_text(&endpoint, text);
    /* A path of 108 bytes, an unnamed socket and a name with zeros inside have texts that do not parse to them. */
    if (jd_endpoint_parse(&parsed, text, NULL) == 0)
        check_round_trip(&parsed);
    peer_address_from_sockaddr(&peer, (const struct sockaddr *)&address, (socklen_t)size);
    peer_address_to_endpoint(&peer, &endpoint);
    check_text(&endpoint, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    REQUIRE(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_parse(text);
    free(text);
    if (size >= sizeof(sa_family_t))
        check_address(data, size);
    return 0;
}
