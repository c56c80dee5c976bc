/* What a network file system and a clock may do to a program, by LD_PRELOAD; see faults.py.

   While the file FAULT_NOW exists: the first FAULT_TIMES times that a file whose path holds FAULT_STALE is opened in a
   process, its handle is stale; and the clock is off by FAULT_CLOCK seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int now(void) {
    const char *flag = getenv("FAULT_NOW");
    int before = errno, there = flag && access(flag, F_OK) == 0;
    errno = before;
    return there;
}

static int stale(const char *path) {
    static int times;
    const char *part = getenv("FAULT_STALE"), *most = getenv("FAULT_TIMES");
    return part && most && path && strstr(path, part) && now() && __sync_fetch_and_add(&times, 1) < atoi(most);
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);    \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
        va_end(more);                                                     \
        if (stale(path)) {                                                \
            errno = ESTALE;                                               \
            return -1;                                                    \
        }                                                                 \
        return real(path, flags, mode);                                   \
    }
OPEN(open)
OPEN(open64)

static time_t jump(void) {
    const char *seconds = getenv("FAULT_CLOCK");
    return seconds && now() ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *told) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, told);
    if (clock == CLOCK_REALTIME) told->tv_sec += jump();
    return result;
}

time_t time(time_t *told) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (told) *told = found.tv_sec;
    return found.tv_sec;
}
