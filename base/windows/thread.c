#include "base/platform/thread.h"

#include <assert.h>
#include <jinduo/error.h>
#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

enum { NS_PER_MS = 1000000, NS_PER_FILE_TIME = 100 };

/* ---- threads ---- */

struct start {
    void *(*function)(void *);
    void *arg;
};

static unsigned __stdcall thread_run(void *arg)
{
    struct start start = *(struct start *)arg;

    free(arg);
    start.function(start.arg);
    return 0;
}

int thread_start(thread_handle *thread, void *(*function)(void *), void *arg)
{
    struct start *start = malloc(sizeof(*start));
    uintptr_t handle;

    if (start == NULL)
        return JD_ENOMEM;
    *start = (struct start){ .function = function, .arg = arg };
    handle = _beginthreadex(NULL, 0, thread_run, start, 0, NULL);
    if (handle == 0) {
        free(start);
        return JD_EAGAIN;
    }
    *thread = (thread_handle)handle;
    return 0;
}

int thread_start_detached(void *(*function)(void *), void *arg)
{
    thread_handle thread;
    int result = thread_start(&thread, function, arg);

    if (result == 0)
        CloseHandle(thread);
    return result;
}

void thread_join(thread_handle thread)
{
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

/* SetThreadDescription exists since Windows 10, 1607; the names are for debuggers only. */
void thread_set_name(const char *name)
{
    typedef HRESULT(WINAPI * set_description)(HANDLE thread, PCWSTR description);
    FARPROC address = GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "SetThreadDescription");
    wchar_t text[16];

    if (address == NULL)
        return;
    swprintf(text, sizeof(text) / sizeof(text[0]), L"%.15hs", name);
    ((set_description)(void (*)(void))address)(GetCurrentThread(), text);
}

void thread_set_numbered_name(const char *name, unsigned number)
{
    char text[16];

    snprintf(text, sizeof(text), "%.10s-%u", name, number % 1000);
    thread_set_name(text);
}

void thread_yield(void)
{
    SwitchToThread();
}

/* Rounded up to the system's milliseconds. */
void thread_sleep_ns(int64_t duration_ns)
{
    Sleep((DWORD)((duration_ns + NS_PER_MS - 1) / NS_PER_MS));
}

unsigned thread_processor_count(void)
{
    DWORD_PTR of_process, of_system;

    if (!GetProcessAffinityMask(GetCurrentProcess(), &of_process, &of_system) || of_process == 0)
        return 1;
    return (unsigned)__builtin_popcountll(of_process);
}

/* The thread's id. */
int64_t thread_cpu_clock(void)
{
    return GetCurrentThreadId();
}

static uint64_t file_time_ns(FILETIME time)
{
    return (((uint64_t)time.dwHighDateTime << 32) + time.dwLowDateTime) * NS_PER_FILE_TIME;
}

/* The system may have given the id of a thread that has ended to another process's. */
uint64_t thread_cpu_ns(int64_t clock)
{
    HANDLE thread = clock != 0 ? OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)clock) : NULL;
    FILETIME start, end, in_kernel, in_program;
    uint64_t ns = 0;

    if (thread == NULL)
        return 0;
    if (GetProcessIdOfThread(thread) == GetCurrentProcessId() &&
        GetThreadTimes(thread, &start, &end, &in_kernel, &in_program))
        ns = file_time_ns(in_kernel) + file_time_ns(in_program);
    CloseHandle(thread);
    return ns;
}

void thread_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
}

/* ---- once, mutexes, condition variables ---- */

static BOOL CALLBACK once_run(PINIT_ONCE once, PVOID parameter, PVOID *context)
{
    (*(void (**)(void))parameter)();
    return TRUE;
}

void thread_once(thread_once_flag *flag, void (*function)(void))
{
    InitOnceExecuteOnce((PINIT_ONCE)&flag->once, once_run, (void *)&function, NULL);
}

_Static_assert(sizeof(INIT_ONCE) == sizeof(void *) && sizeof(SRWLOCK) == sizeof(void *) &&
                   sizeof(CONDITION_VARIABLE) == sizeof(void *),
               "base/platform/thread.h has room for one pointer each");

void thread_mutex_init(thread_mutex *mutex)
{
    *mutex = (thread_mutex){ 0 };
}

void thread_mutex_init_recursive(thread_mutex *mutex)
{
    *mutex = (thread_mutex){ .recursive = true };
}

void thread_mutex_destroy(thread_mutex *mutex)
{
}

/* owner is this thread's id only while this thread holds the mutex. */
static uintptr_t mutex_owner(const thread_mutex *mutex)
{
    return __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
}

static void mutex_set_owner(thread_mutex *mutex, uintptr_t owner)
{
    __atomic_store_n(&mutex->owner, owner, __ATOMIC_RELAXED);
}

void thread_mutex_lock(thread_mutex *mutex)
{
    if (mutex->recursive && mutex_owner(mutex) == GetCurrentThreadId()) {
        mutex->depth++;
        return;
    }
    AcquireSRWLockExclusive((PSRWLOCK)&mutex->lock);
    if (mutex->recursive)
        mutex_set_owner(mutex, GetCurrentThreadId());
}

void thread_mutex_unlock(thread_mutex *mutex)
{
    if (mutex->recursive && mutex->depth > 0) {
        mutex->depth--;
        return;
    }
    if (mutex->recursive)
        mutex_set_owner(mutex, 0);
    ReleaseSRWLockExclusive((PSRWLOCK)&mutex->lock);
}

void thread_condition_init(thread_condition *condition)
{
    *condition = (thread_condition){ 0 };
}

void thread_condition_destroy(thread_condition *condition)
{
}

void thread_condition_wait(thread_condition *condition, thread_mutex *mutex)
{
    assert(!mutex->recursive);
    SleepConditionVariableSRW((PCONDITION_VARIABLE)&condition->variable, (PSRWLOCK)&mutex->lock, INFINITE, 0);
}

void thread_condition_signal(thread_condition *condition)
{
    WakeConditionVariable((PCONDITION_VARIABLE)&condition->variable);
}

void thread_condition_broadcast(thread_condition *condition)
{
    WakeAllConditionVariable((PCONDITION_VARIABLE)&condition->variable);
}
