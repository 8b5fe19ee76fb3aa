/* Put before libc by LD_PRELOAD: faults at system calls on files whose path holds a given text, and a clock that lies.

   Orders come from the environment for the whole life of a process:
     FAULT_CALL    sync (fsync, fdatasync, msync) or write (write, pwrite, writev, pwritev and their 64-bit names)
     FAULT_ACTION  kill: SIGKILL before the call; torn: about half of the first buffer is written, in whole sectors, then SIGKILL;
                   EIO, ENOSPC: this call and every later one of its kind fails so
     FAULT_PATH    the text
     FAULT_AT      at call number so much
     FAULT_WHILE   instead of FAULT_AT: only while this file exists
   or from a page that another process may write at any time: FAULT_CONTROL names the file, `struct page` is its form
   (chaos/machine/shim.py writes it).
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512 /* a disk writes it whole or not at all, and the kernel ends a killed write at a page */

enum call { NO_CALL, SYNC, WRITE };
enum action { NO_ACTION, KILL, TORN, FAIL, DELAY };

struct page {
    volatile int32_t call, action;
    volatile int64_t at;      /* of the calls since the order was given: the first to be hit (KILL and TORN: the only) */
    volatile int64_t value;   /* FAIL: the errno; DELAY: microseconds */
    volatile int64_t hits;    /* written here: how often the order was carried out, */
    volatile int64_t calls;   /* and how many calls there were */
    volatile int64_t offset;  /* nanoseconds added to CLOCK_REALTIME */
    volatile int64_t rate;    /* millionths: how fast CLOCK_MONOTONIC and CLOCK_REALTIME run; 0: as they do */
    volatile int64_t lies;    /* written here: how many readings of a clock were altered */
    char path[64];
};

static struct page environment, *page = &environment;
static const char *condition;

__attribute__((constructor)) static void begin(void) {
    const char *call = getenv("FAULT_CALL"), *action = getenv("FAULT_ACTION"), *file = getenv("FAULT_CONTROL");
    condition = getenv("FAULT_WHILE");
    if (file != NULL) {
        int fd = open(file, O_RDWR);
        void *found = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (found != MAP_FAILED) page = found;
        if (fd >= 0) close(fd);
    } else if (call != NULL && action != NULL) {
        page->action = strcmp(action, "kill") == 0 ? KILL : strcmp(action, "torn") == 0 ? TORN : FAIL;
        page->value = strcmp(action, "ENOSPC") == 0 ? ENOSPC : EIO;
        page->at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 1;
        snprintf(page->path, sizeof page->path, "%s", getenv("FAULT_PATH") ? getenv("FAULT_PATH") : "");
        page->call = strcmp(call, "sync") == 0 ? SYNC : WRITE;
    }
}

static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, page->path) != NULL;
}

static void die(void) {
    page->action = NO_ACTION; /* once: the next process on the same page lives */
    kill(getpid(), SIGKILL);
    pause();
}

/* Returns 0 to go on, or the errno to fail with. */
static int fault(int kind, int fd, const void *data, size_t length, off_t at) {
    int action = page->action;
    if (page->call != kind || action == NO_ACTION || (fd >= 0 && !is_ours(fd))) return 0;
    if (condition != NULL) {
        if (access(condition, F_OK) != 0) return 0;
    } else if (__sync_add_and_fetch(&page->calls, 1) < page->at) {
        return 0;
    }
    __sync_add_and_fetch(&page->hits, 1);
    if (action == FAIL) return (int)page->value;
    if (action == DELAY) {
        struct timespec wait = {page->value / 1000000, page->value % 1000000 * 1000};
        nanosleep(&wait, NULL);
        return 0;
    }
    if (action == TORN && data != NULL) {
        ssize_t (*real_pwrite)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
        ssize_t (*real_write)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
        off_t half = at < 0 ? (off_t)length / 2 : (at + (off_t)length / 2) / SECTOR * SECTOR - at;
        if (half > 0 && at >= 0) real_pwrite(fd, data, half, at);
        else if (half > 0) real_write(fd, data, half);
    }
    die();
    return 0;
}

#define GUARD(kind, fd, data, length, at) \
    do { int found = fault(kind, fd, data, length, at); if (found) { errno = found; return -1; } } while (0)
#define REAL(type, name) type = dlsym(RTLD_NEXT, name)

int fsync(int fd) { GUARD(SYNC, fd, NULL, 0, -1); int REAL((*real)(int), "fsync"); return real(fd); }
int fdatasync(int fd) { GUARD(SYNC, fd, NULL, 0, -1); int REAL((*real)(int), "fdatasync"); return real(fd); }
int msync(void *address, size_t length, int flags) {
    GUARD(SYNC, -1, NULL, 0, -1);
    int REAL((*real)(void *, size_t, int), "msync");
    return real(address, length, flags);
}
ssize_t write(int fd, const void *data, size_t length) {
    GUARD(WRITE, fd, data, length, -1);
    ssize_t REAL((*real)(int, const void *, size_t), "write");
    return real(fd, data, length);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    GUARD(WRITE, fd, parts[0].iov_base, parts[0].iov_len, -1);
    ssize_t REAL((*real)(int, const struct iovec *, int), "writev");
    return real(fd, parts, count);
}
#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t length, off_t at) { \
        GUARD(WRITE, fd, data, length, at); \
        ssize_t REAL((*real)(int, const void *, size_t, off_t), #name); \
        return real(fd, data, length, at); \
    }
#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t at) { \
        GUARD(WRITE, fd, parts[0].iov_base, parts[0].iov_len, at); \
        ssize_t REAL((*real)(int, const struct iovec *, int, off_t), #name); \
        return real(fd, parts, count, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)

/* Clocks. A changed rate goes on from what the clock showed, so that the monotonic one stays so. */
struct clock { int64_t rate, real, shown; };
static struct clock clocks[2] = {{1000000, 0, 0}, {1000000, 0, 0}};
static int locked;

static int64_t shown(struct clock *clock, int64_t now) {
    int64_t rate = page->rate ? page->rate : 1000000;
    while (__sync_lock_test_and_set(&locked, 1)) {}
    if (clock->real == 0) clock->real = clock->shown = now;
    int64_t time = clock->shown + (int64_t)((__int128)(now - clock->real) * clock->rate / 1000000);
    if (rate != clock->rate) {
        clock->real = now;
        clock->shown = time;
        clock->rate = rate;
    }
    __sync_lock_release(&locked);
    return time;
}

int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, out);
    if (failed || (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC)) return failed;
    int64_t now = out->tv_sec * 1000000000LL + out->tv_nsec;
    int64_t time = shown(&clocks[id == CLOCK_MONOTONIC], now) + (id == CLOCK_REALTIME ? page->offset : 0);
    if (time != now) page->lies++;
    out->tv_sec = time / 1000000000LL;
    out->tv_nsec = time % 1000000000LL;
    return 0;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) *out = now.tv_sec;
    return now.tv_sec;
}
