#include "tests/support/sockets.h"
#include "tests/windows/handle_count.h"

#include <check.h>
#include <jinduo/event_loop.h>

/* A loop was made before they are counted for the first time: what it loads of the system keeps handles of its own. */
int open_descriptors(void)
{
    static bool has_loaded;
    jd_event_loop *loop;

    if (!has_loaded && jd_event_loop_create(&loop, NULL) == 0)
        ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    has_loaded = true;
    return (int)handle_count();
}
