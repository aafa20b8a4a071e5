/* Loads the DLL named by the argument, uses it and unloads it, repeatedly: it must stay, as its threads may still be running. This
 * program is not linked with it. */
#include <jinduo/jinduo.h>
#include <stdio.h>
#include <windows.h>

enum { LOADS = 3 };

static int fail(const char *what)
{
    fprintf(stderr, "%s (error %lu)\n", what, GetLastError());
    return 1;
}

int main(int argc, char **argv)
{
    __typeof__(jd_event_loop_create) *create;
    __typeof__(jd_event_loop_destroy) *destroy;
    HMODULE library = NULL, again;
    jd_event_loop *loop;

    for (int i = 0; i < LOADS; i++) {
        again = LoadLibraryA(argc > 1 ? argv[1] : "");
        if (again == NULL || (i > 0 && again != library))
            return fail("the library cannot be loaded, or is another one");
        library = again;
        create = (__typeof__(create))(void *)GetProcAddress(library, "jd_event_loop_create");
        destroy = (__typeof__(destroy))(void *)GetProcAddress(library, "jd_event_loop_destroy");
        if (create == NULL || destroy == NULL)
            return fail("a function is missing");
        if (create(&loop, NULL) != 0 || destroy(loop) != 0)
            return fail("a loop cannot be made, or destroyed");
        if (!FreeLibrary(library))
            return fail("the library cannot be unloaded");
        if (!GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                                (const char *)(uintptr_t)create, &again))
            return fail("the library has gone");
    }
    printf("loaded %d times\n", LOADS);
    return 0;
}
