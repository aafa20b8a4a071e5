#include "tests/behaviour/harness.h"
#include "tests/windows/handle_count.h"

/* A loop was made before they are counted for the first time: what it loads of the system keeps handles of its own. */
unsigned open_descriptors(void)
{
    static bool has_loaded;
    jd_event_loop *loop;

    if (!has_loaded && jd_event_loop_create(&loop, NULL) == 0)
        ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    has_loaded = true;
    return handle_count();
}
