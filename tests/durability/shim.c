/* Put before libc by LD_PRELOAD: counts calls on files whose path holds FAULT_PATH, and does FAULT_ACTION at number FAULT_AT.

   FAULT_CALL    sync (fsync, fdatasync, msync) or write (write, pwrite, writev, pwritev and their 64-bit names)
   FAULT_ACTION  kill: SIGKILL before the call; torn: about half of the first buffer is written, in whole sectors, then SIGKILL;
                 EIO, ENOSPC: this call and every later one of its kind fails so
   FAULT_WHILE   instead of FAULT_AT: only while this file exists
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512 /* a disk writes it whole or not at all, and the kernel ends a killed write at a page */

static long calls;

static int is_ours(int fd) {
    char link[64], path[4096];
    const char *wanted = getenv("FAULT_PATH");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || wanted == NULL) return 0;
    path[length] = 0;
    return strstr(path, wanted) != NULL;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    pause();
}

/* Returns 0 to go on, or the errno to fail with. */
static int fault(const char *kind, int fd, const void *data, size_t length, off_t at) {
    const char *call = getenv("FAULT_CALL"), *action = getenv("FAULT_ACTION"), *condition = getenv("FAULT_WHILE");
    if (call == NULL || action == NULL || strcmp(call, kind) != 0 || (fd >= 0 && !is_ours(fd))) return 0;
    if (condition != NULL) {
        if (access(condition, F_OK) != 0) return 0;
    } else if (__sync_add_and_fetch(&calls, 1) < atol(getenv("FAULT_AT"))) {
        return 0;
    }
    if (strcmp(action, "EIO") == 0) return EIO;
    if (strcmp(action, "ENOSPC") == 0) return ENOSPC;
    if (strcmp(action, "torn") == 0 && data != NULL) {
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

int fsync(int fd) { GUARD("sync", fd, NULL, 0, -1); int REAL((*real)(int), "fsync"); return real(fd); }
int fdatasync(int fd) { GUARD("sync", fd, NULL, 0, -1); int REAL((*real)(int), "fdatasync"); return real(fd); }
int msync(void *address, size_t length, int flags) {
    GUARD("sync", -1, NULL, 0, -1);
    int REAL((*real)(void *, size_t, int), "msync");
    return real(address, length, flags);
}
ssize_t write(int fd, const void *data, size_t length) {
    GUARD("write", fd, data, length, -1);
    ssize_t REAL((*real)(int, const void *, size_t), "write");
    return real(fd, data, length);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    GUARD("write", fd, parts[0].iov_base, parts[0].iov_len, -1);
    ssize_t REAL((*real)(int, const struct iovec *, int), "writev");
    return real(fd, parts, count);
}
#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t length, off_t at) { \
        GUARD("write", fd, data, length, at); \
        ssize_t REAL((*real)(int, const void *, size_t, off_t), #name); \
        return real(fd, data, length, at); \
    }
#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t at) { \
        GUARD("write", fd, parts[0].iov_base, parts[0].iov_len, at); \
        ssize_t REAL((*real)(int, const struct iovec *, int, off_t), #name); \
        return real(fd, parts, count, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)
