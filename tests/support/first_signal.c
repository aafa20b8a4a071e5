/* Part of the example programs in builds with ThreadSanitizer. The runtime library of gcc 12 allocates a thread's
 * record of pending signals when it is first needed, and loses a signal that arrives during that allocation. A server
 * that is told to end as soon as it is ready would then never end. (LLVM has fixed this race and has a test of it in
 * compiler-rt/test/tsan.) Here kill makes the library allocate the record before main. */
#include <signal.h>
#include <unistd.h>

__attribute__((constructor)) static void allocate_signal_record(void)
{
    kill(getpid(), 0);
}
