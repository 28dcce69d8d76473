/* Preloaded, it lets every read of one sector of a file fail with EIO, as a dying disk does.
   IMGFIX_EIO_INODE names the file, IMGFIX_EIO_AT the sector's first byte. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, off64_t start, size_t size)
{
    struct stat found;
    const char *inode = getenv("IMGFIX_EIO_INODE"), *at = getenv("IMGFIX_EIO_AT");
    if (!inode || !at || fstat(fd, &found) || found.st_ino != strtoull(inode, NULL, 10))
        return 0;
    off64_t sector = strtoll(at, NULL, 10);
    if (start + (off64_t)size <= sector || sector + 512 <= start)
        return 0;
    errno = EIO;
    return 1;
}

static size_t length(const struct iovec *pieces, int count)
{
    size_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += pieces[i].iov_len;
    return sum;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pread64(int fd, void *buffer, size_t size, off64_t at)
{
    return fails(fd, at, size) ? -1 : NEXT(pread64)(fd, buffer, size, at);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t at)
{
    return fails(fd, at, size) ? -1 : NEXT(pread)(fd, buffer, size, at);
}

ssize_t preadv64(int fd, const struct iovec *pieces, int count, off64_t at)
{
    return fails(fd, at, length(pieces, count)) ? -1 : NEXT(preadv64)(fd, pieces, count, at);
}

ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t at)
{
    return fails(fd, at, length(pieces, count)) ? -1 : NEXT(preadv)(fd, pieces, count, at);
}

ssize_t preadv64v2(int fd, const struct iovec *pieces, int count, off64_t at, int flags)
{
    return fails(fd, at, length(pieces, count)) ? -1 : NEXT(preadv64v2)(fd, pieces, count, at, flags);
}

ssize_t preadv2(int fd, const struct iovec *pieces, int count, off_t at, int flags)
{
    return fails(fd, at, length(pieces, count)) ? -1 : NEXT(preadv2)(fd, pieces, count, at, flags);
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags)
{
    off64_t at = in_at ? *in_at : lseek64(in, 0, SEEK_CUR);
    return fails(in, at, size) ? -1 : NEXT(copy_file_range)(in, in_at, out, out_at, size, flags);
}

int ioctl(int fd, unsigned long request, ...)
{
    __builtin_va_list list;
    __builtin_va_start(list, request);
    void *argument = __builtin_va_arg(list, void *);
    __builtin_va_end(list);
    if (request == 0x40049409 && getenv("IMGFIX_EIO_INODE")) { /* FICLONE reads nothing: it would not fail */
        errno = EOPNOTSUPP;
        return -1;
    }
    return NEXT(ioctl)(fd, request, argument);
}
