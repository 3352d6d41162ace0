/* Preloaded into a process under test: reports and fails what SQLite asks of the system for the files of one database.

   Every completed sync writes "S" to standard error, every completed write "W"; the test adds its own letters there, and
   so sees what happened before what. `faults_arm(n, forever)` makes the n-th call from now fail with EIO, or that one
   and all after it; `faults_fired()` says how many did. Writes, syncs, truncations and renames are calls.

   A process that runs no code of the test is controlled by files in FAULTS_DIR: while `errno` is there every call
   fails with the number in it, and `clock` holds seconds that the time of day is off by. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static long calls, fail_at, fired;
static int fail_forever, tracing;

void faults_arm(long nth, int forever) { calls = 0; fired = 0; fail_at = nth; fail_forever = forever; }
long faults_fired(void) { return fired; }
void faults_trace(int on) { tracing = on; }

static long told(const char *name) {
    char path[4096], text[32];
    const char *folder = getenv("FAULTS_DIR");
    if (!folder) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int before = errno, file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    errno = before;
    if (file < 0) return 0;
    ssize_t n = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    text[n > 0 ? n : 0] = 0;
    return atol(text);
}

static int is_ours(const char *path) { return strstr(path, "vows.db") != NULL; }

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_ours(path);
}

static int counted(void) {
    long number = told("errno");
    if (number) { errno = (int)number; return 1; }
    if (!fail_at) return 0;
    calls++;
    if (calls == fail_at || (fail_forever && calls > fail_at)) { fired++; errno = EIO; return 1; }
    return 0;
}

/* FAULTS_RECORD names a file that gets every completed write, sync and truncation of the database's files, and the notes
   of the program: kind, offset, size, length of the name, name, data. bench/faults/power_cuts.py plays them back. */
static void record(char kind, int fd, const char *name, long offset, long size, const void *data) {
    static int out = -2;
    char link[64], path[4096];
    if (out == -2) {
        const char *file = getenv("FAULTS_RECORD");
        out = file ? syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (out < 0) return;
    if (!name) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        if (n < 0) return;
        path[n] = 0;
        name = strrchr(path, '/') + 1;
        if (!strncmp(name, "vows.db-shm", 11)) return;
    }
    int before = errno;
    long head[4] = {kind, offset, size, (long)strlen(name)};
    syscall(SYS_write, out, head, sizeof head);
    syscall(SYS_write, out, name, strlen(name));
    if (data) syscall(SYS_write, out, data, size);
    errno = before;
}

void faults_note(long number) { record('A', -1, "", number, 0, NULL); }

static int fails(int fd) { return ours(fd) && counted(); }

static void tell(int fd, const char *letter) {
    if (tracing && ours(fd)) syscall(SYS_write, 2, letter, 1);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += told("clock");
    return result;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

#define SYNC(name) \
    int name(int fd) { \
        if (fails(fd)) return -1; \
        int result = REAL(name)(fd); \
        if (result == 0) { tell(fd, "S"); if (ours(fd)) record('S', fd, NULL, 0, 0, NULL); } \
        return result; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *data, size_t n, offset_type offset) { \
        if (fails(fd)) return -1; \
        ssize_t result = REAL(name)(fd, data, n, offset); \
        if (result >= 0) { tell(fd, "W"); if (ours(fd)) record('W', fd, NULL, offset, result, data); } \
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

#define TRUNCATE(name, offset_type) \
    int name(int fd, offset_type size) { \
        if (fails(fd)) return -1; \
        int result = REAL(name)(fd, size); \
        if (result == 0 && ours(fd)) record('T', fd, NULL, size, 0, NULL); \
        return result; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
int unlink(const char *path) {
    int result = REAL(unlink)(path);
    if (result == 0 && is_ours(path)) record('U', -1, strrchr(path, '/') + 1, 0, 0, NULL);
    return result;
}
int rename(const char *from, const char *to) {
    return (is_ours(from) || is_ours(to)) && counted() ? -1 : REAL(rename)(from, to);
}
