/* Breaks a disk for one process: loaded before libc (LD_PRELOAD), it fails calls on files whose path
 * holds a given text, as the file named by FAULTS_FILE says, line by line:
 *
 *     sync comity.db            fsync and fdatasync fail with EIO; nothing is flushed
 *     write comity.db-wal 4096  writes fail with ENOSPC once 4096 bytes have gone through
 *
 * Without that file nothing fails. Each call that failed adds a byte to FAULTS_FILE.hits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic long written; /* since the file appeared */

static ssize_t really_write(int fd, const void *bytes, size_t n) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "write");
    return next(fd, bytes, n);
}

/* Whether `call` on `fd` is to fail; `after` is the number of bytes that go through before. */
static int armed(const char *call, int fd, long *after) {
    const char *name = getenv("FAULTS_FILE");
    char text[512], link[64], path[1024];
    int was = errno, found = 0;
    if (!name) return 0;
    int control = open(name, O_RDONLY | O_CLOEXEC);
    if (control < 0) {
        written = 0;
        errno = was;
        return 0;
    }
    ssize_t n = read(control, text, sizeof text - 1);
    close(control);
    text[n > 0 ? n : 0] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char verb[16], part[256];
        *after = 0;
        if (sscanf(line, "%15s %255s %ld", verb, part, after) >= 2 && !strcmp(verb, call) &&
            strstr(path, part)) {
            found = 1;
            break;
        }
    }
    errno = was;
    return found;
}

static int fail(int error) {
    const char *name = getenv("FAULTS_FILE");
    char hits[1024];
    snprintf(hits, sizeof hits, "%s.hits", name);
    int fd = open(hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
        really_write(fd, ".", 1);
        close(fd);
    }
    errno = error;
    return -1;
}

#define SYNC(name)                                              \
    int name(int fd) {                                          \
        static int (*next)(int);                                \
        long after;                                             \
        if (!next) next = dlsym(RTLD_NEXT, #name);              \
        return armed("sync", fd, &after) ? fail(EIO) : next(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)

/* How many of `n` bytes still fit; all of them where nothing is armed. */
static long fits(int fd, size_t n) {
    long after;
    if (!armed("write", fd, &after)) return (long)n;
    long room = after - written;
    long taken = room <= 0 ? 0 : room < (long)n ? room : (long)n;
    written += taken;
    return taken;
}

#define WRITE(name, parameters, ...)                             \
    ssize_t name parameters {                                    \
        static ssize_t(*next) parameters;                        \
        if (!next) next = dlsym(RTLD_NEXT, #name);               \
        if (n == 0) return next(__VA_ARGS__);                    \
        n = (size_t)fits(fd, n);                                 \
        return n == 0 ? (ssize_t)fail(ENOSPC) : next(__VA_ARGS__); \
    }
WRITE(write, (int fd, const void *bytes, size_t n), fd, bytes, n)
WRITE(pwrite, (int fd, const void *bytes, size_t n, off_t at), fd, bytes, n, at)
WRITE(pwrite64, (int fd, const void *bytes, size_t n, off64_t at), fd, bytes, n, at)
