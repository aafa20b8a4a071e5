/* Opens the shared library named by the argument with dlopen, uses it and closes it, repeatedly. No descriptor and no
 * heap memory may be left; only the library itself stays mapped (ld(1), -z nodelete). This program is not linked with
 * the library. */
#include <dirent.h>
#include <dlfcn.h>
#include <jinduo/jinduo.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

/* The first rounds may grow the heap: malloc keeps up to seven freed blocks of each size per thread and counts them as
 * in use (glibc manual, "Memory Allocation Tunables", glibc.malloc.tcache_count), and the dynamic linker's tables grow
 * at first. */
enum { OPENINGS = 30, WARM_UP = 12 };

static struct {
    __typeof__(jd_event_loop_create) *loop_create;
    __typeof__(jd_event_loop_run) *loop_run;
    __typeof__(jd_event_loop_destroy) *loop_destroy;
    __typeof__(jd_event_loop_quit) *loop_quit;
    __typeof__(jd_event_loop_queue_in_loop) *loop_queue;
    __typeof__(jd_tcp_server_create) *server_create;
    __typeof__(jd_tcp_server_start) *server_start;
    __typeof__(jd_memory_in_use) *memory_in_use;
    __typeof__(jd_memory_source) *memory_source;
} library;

static int find(void *handle, const char *name, void *function)
{
    void *address = dlsym(handle, name);

    memcpy(function, &address,
           sizeof(address)); /* ISO C has no cast from an object pointer to a function pointer (dlsym(3)) */
    return address != NULL;
}

static int find_all(void *handle)
{
    return find(handle, "jd_event_loop_create", &library.loop_create) &&
           find(handle, "jd_event_loop_run", &library.loop_run) &&
           find(handle, "jd_event_loop_destroy", &library.loop_destroy) &&
           find(handle, "jd_event_loop_quit", &library.loop_quit) &&
           find(handle, "jd_event_loop_queue_in_loop", &library.loop_queue) &&
           find(handle, "jd_tcp_server_create", &library.server_create) &&
           find(handle, "jd_tcp_server_start", &library.server_start) &&
           find(handle, "jd_memory_in_use", &library.memory_in_use) &&
           find(handle, "jd_memory_source", &library.memory_source);
}

static void quit(void *loop)
{
    library.loop_quit(loop);
}

/* With io threads: their stacks and thread-local variables must be freed, too. */
static int use_it(void)
{
    jd_tcp_server_options options = { .listen = "127.0.0.1:0", .io_threads = 2 };
    jd_event_loop *loop = NULL;
    jd_tcp_server *server;

    return library.loop_create(&loop, NULL) == 0 && library.server_create(&server, loop, &options) == 0 &&
           library.server_start(server, NULL) == 0 && library.loop_queue(loop, quit, loop) == 0 &&
           library.loop_run(loop) == 0 && library.loop_destroy(loop) == 0 && library.memory_in_use() == 0;
}

static size_t entries(const char *directory)
{
    size_t count = 0;
    DIR *opened = opendir(directory);

    while (opened != NULL && readdir(opened) != NULL)
        count++;
    if (opened != NULL)
        closedir(opened);
    return count;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why != NULL ? why : "");
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "";
    size_t descriptors = 0, heap = 0;

    for (int i = 0; i < OPENINGS; i++) {
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

        if (handle == NULL || !find_all(handle))
            return fail("cannot open the library", dlerror());
        if (!use_it())
            return fail("a function of the library failed", path);
        if (strcmp(library.memory_source(), "malloc") != 0)
            return fail("the allocator is not malloc but", library.memory_source());
        if (dlclose(handle) != 0)
            return fail("cannot close the library", dlerror());
        if (i >= WARM_UP && entries("/proc/self/fd") != descriptors)
            return fail("a descriptor is left open", path);
        if (i >= WARM_UP && mallinfo2().uordblks > heap)
            return fail("heap memory is not freed", path);
        if (i < WARM_UP) {
            descriptors = entries("/proc/self/fd");
            heap = mallinfo2().uordblks;
        }
    }
    printf("opened %d times\n", OPENINGS);
    return 0;
}
