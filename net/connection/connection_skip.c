/* A frame longer than the maximum is skipped (skip_too_long): its bytes are dropped as they arrive, and it is reported at its end.
 * Meanwhile the connection's decoder is the one here; what is left to be dropped is in a profile of the connection's own. So
 * frames that are not skipped cost nothing. */
#include "net/codec/codec.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

/* Drops what is there of the frame, up to its end. frame->needed_bytes: whether that is reached. */
static int skipping_decode(const jd_codec *decoder, const uint8_t *data, size_t length, size_t *searched,
                           jd_frame *frame)
{
    struct connection_profile *profile = frame->connection->profile;
    const jd_codec *codec = profile->codec;
    bool ended = false;
    size_t used;

    if (profile->skip_left > 0) {
        used = profile->skip_left < length ? (size_t)profile->skip_left : length;
        profile->skip_left -= used;
        ended = profile->skip_left == 0;
    } else {
        used = codec->find_end(codec, data, length, &ended);
    }
    frame->needed_bytes = 0;
    if (used == 0 && !ended && length < codec->max_frame_bytes)
        return 0;
    if (used > length || used == 0) {
        frame->claimed_bytes = used;
        frame->reason = used > 0 ? "the codec found an end outside the bytes given"
                                 : "the codec neither finds an end nor lets bytes be dropped";
        return JD_EINVAL;
    }
    profile->skipped_bytes += used;
    frame->frame_bytes = used;
    frame->needed_bytes = ended;
    return FRAME_SKIPPED;
}

static const jd_codec skipping = { .decode = skipping_decode };

bool connection_begin_skip(jd_tcp_connection *connection, int result, const jd_frame *frame)
{
    const jd_codec *codec = connection->profile->codec;
    struct connection_profile *profile;

    if (result != JD_EMSGSIZE || !codec->skips || (codec->find_end == NULL && frame->needed_bytes == 0) ||
        connection_own_profile(connection, &profile) < 0)
        return false;
    profile->decoder = &skipping;
    profile->skip_left = codec->find_end == NULL ? frame->needed_bytes : 0;
    profile->skipped_bytes = 0;
    return true;
}

void connection_end_skip(jd_tcp_connection *connection)
{
    struct connection_profile *profile = connection->profile;

    profile->decoder = profile->codec;
    connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
}
