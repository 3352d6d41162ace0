/* Preloaded into a test process: reports and fails what SQLite asks of the system for the files of one database.

   Every completed sync writes "S" to standard error, every completed write "W"; the test adds its own letters there, and
   so sees what happened before what. `faults_arm(n, forever)` makes the n-th call from now fail with EIO, or that one
   and all after it; `faults_fired()` says how many did. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static long calls, fail_at, fired;
static int fail_forever, tracing;

void faults_arm(long nth, int forever) { calls = 0; fired = 0; fail_at = nth; fail_forever = forever; }
long faults_fired(void) { return fired; }
void faults_trace(int on) { tracing = on; }

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "vows.db") != NULL;
}

static int fails(int fd) {
    if (!fail_at || !ours(fd)) return 0;
    calls++;
    if (calls == fail_at || (fail_forever && calls > fail_at)) { fired++; errno = EIO; return 1; }
    return 0;
}

static void tell(int fd, const char *letter) {
    if (tracing && ours(fd)) syscall(SYS_write, 2, letter, 1);
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

#define SYNC(name) \
    int name(int fd) { \
        if (fails(fd)) return -1; \
        int result = REAL(name)(fd); \
        if (result == 0) tell(fd, "S"); \
        return result; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t n, offset_type offset) { \
        if (fails(fd)) return -1; \
        ssize_t result = REAL(name)(fd, data, n, offset); \
        if (result >= 0) tell(fd, "W"); \
        return result; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t n) {
    if (fails(fd)) return -1;
    ssize_t result = syscall(SYS_write, fd, data, n);
    if (result >= 0) tell(fd, "W");
    return result;
}

int ftruncate(int fd, off_t size) { return fails(fd) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return fails(fd) ? -1 : REAL(ftruncate64)(fd, size); }
