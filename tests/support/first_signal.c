/* Part of the example programs in builds with the thread sanitizer. The runtime library of gcc 12 allocates what a thread's
 * signals are noted in at the first need, and loses a signal that comes in the middle of that: a server told to end as soon
 * as it is ready would never hear of it. (LLVM's has a test of that race since it was mended, in compiler-rt/test/tsan.)
 * Here the need comes before main. */
#include <signal.h>
#include <unistd.h>

__attribute__((constructor)) static void need_it(void)
{
    kill(getpid(), 0);
}
