// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Error tables of the calls on open files: EFAULT on every pointer, EBADF by mode,
// EINVAL, ESPIPE, ENOTTY, EISDIR.
#include "guest.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define BAD ((void *)8)
#define S(...) syscall(__VA_ARGS__)

int main(void) {
	char buf[64];
	int p[2], n;
	scratch();
	int rw = open("f", O_RDWR | O_CREAT, 0600), ro = open("f", O_RDONLY), wo = open("f", O_WRONLY), path = open("f", O_PATH), dir = open(".", O_RDONLY);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(write(rw, "0123456789", 10), 10);
	struct iovec v = {buf, sizeof buf}, bad = {BAD, 10}, negative = {buf, -1};

	static const int none[] = {99, -1};
	for (int i = 0; i < 3; i++) {
		int fd = i < 2 ? none[i] : path;
		CHECK_ERR(S(SYS_read, fd, buf, 1), EBADF);
		CHECK_ERR(S(SYS_write, fd, buf, 1), EBADF);
		CHECK_ERR(S(SYS_pread64, fd, buf, 1, 0L), EBADF);
		CHECK_ERR(S(SYS_pwrite64, fd, buf, 1, 0L), EBADF);
		CHECK_ERR(S(SYS_readv, fd, &v, 1), EBADF);
		CHECK_ERR(S(SYS_writev, fd, &v, 1), EBADF);
		CHECK_ERR(S(SYS_preadv, fd, &v, 1, 0L, 0L), EBADF);
		CHECK_ERR(S(SYS_pwritev, fd, &v, 1, 0L, 0L), EBADF);
		CHECK_ERR(S(SYS_lseek, fd, 0L, SEEK_SET), EBADF);
		CHECK_ERR(S(SYS_ftruncate, fd, 0L), EBADF);
		CHECK_ERR(S(SYS_fallocate, fd, 0, 0L, 1L), EBADF);
		CHECK_ERR(S(SYS_fadvise64, fd, 0L, 0L, 0), EBADF);
		CHECK_ERR(S(SYS_readahead, fd, 0L, 1L), EBADF);
		CHECK_ERR(S(SYS_ioctl, fd, FIONREAD, &n), EBADF);
		CHECK_ERR(S(SYS_getdents64, fd, buf, sizeof buf), EBADF);
		CHECK_ERR(S(SYS_fchmod, fd, 0600), EBADF);
		CHECK_ERR(S(SYS_fsync, fd), EBADF);
	}
	CHECK_ERR(read(wo, buf, 1), EBADF);
	CHECK_ERR(write(ro, buf, 1), EBADF);
	CHECK_ERR(pread(wo, buf, 1, 0), EBADF);
	CHECK_ERR(pwrite(ro, buf, 1, 0), EBADF);
	CHECK_ERR(read(p[1], buf, 1), EBADF);
	CHECK_ERR(write(p[0], buf, 1), EBADF);
	CHECK_ERR(ftruncate(ro, 0), EINVAL);
	CHECK_ERR(S(SYS_fallocate, ro, 0, 0L, 1L), EBADF);
	CHECK_ERR(read(dir, buf, 1), EISDIR);
	CHECK_ERR(write(dir, buf, 1), EBADF);

	// Addresses.
	CHECK_EQ(read(rw, BAD, 1), 0); // at the end
	CHECK_ERR(pread(rw, BAD, 1, 0), EFAULT);
	CHECK_ERR(pwrite(rw, BAD, 1, 0), EFAULT);
	CHECK_ERR(write(rw, BAD, 1), EFAULT);
	CHECK_ERR(write(p[1], BAD, 1), EFAULT);
	CHECK_ERR(readv(rw, BAD, 1), EFAULT);
	CHECK_ERR(writev(rw, BAD, 1), EFAULT);
	CHECK_ERR(preadv(rw, &bad, 1, 0), EFAULT);
	CHECK_ERR(pwritev(rw, &bad, 1, 0), EFAULT);
	CHECK_ERR(S(SYS_pipe2, BAD, 0), EFAULT);
	CHECK_ERR(ioctl(rw, FIONREAD, BAD), EFAULT);
	CHECK_ERR(ioctl(rw, FIONBIO, BAD), EFAULT);
	CHECK_ERR(fcntl(rw, F_SETLK, BAD), EFAULT);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK_ERR(read(p[0], BAD, 1), EFAULT);

	// Values.
	CHECK_ERR(pread(rw, buf, 1, -1), EINVAL);
	CHECK_ERR(pwrite(rw, buf, 1, -1), EINVAL);
	CHECK_ERR(readv(rw, &v, -1), EINVAL);
	CHECK_ERR(readv(rw, &v, 1025), EINVAL);
	CHECK_ERR(writev(rw, &negative, 1), EINVAL);
	CHECK_ERR(lseek(rw, -1, SEEK_SET), EINVAL);
	CHECK_ERR(lseek(rw, 0, 9), EINVAL);
	CHECK_ERR(lseek(rw, -100, SEEK_CUR), EINVAL);
	CHECK_ERR(lseek(rw, 100, SEEK_DATA), ENXIO);
	CHECK_ERR(lseek(rw, -1, SEEK_HOLE), ENXIO);
	CHECK_ERR(lseek(p[0], 0, SEEK_CUR), ESPIPE);
	CHECK_ERR(pread(p[0], buf, 1, 0), ESPIPE);
	CHECK_ERR(pwrite(p[1], buf, 1, 0), ESPIPE);
	CHECK_ERR(S(SYS_fallocate, rw, 0, -1L, 1L), EINVAL);
	CHECK_ERR(S(SYS_fallocate, rw, 0, 0L, 0L), EINVAL);
	CHECK_ERR(S(SYS_fallocate, rw, FALLOC_FL_PUNCH_HOLE, 0L, 1L), EOPNOTSUPP);
	CHECK_ERR(S(SYS_fallocate, p[1], 0, 0L, 1L), ESPIPE);
	CHECK_ERR(S(SYS_fadvise64, p[0], 0L, 0L, 0), ESPIPE);
	CHECK_ERR(S(SYS_fadvise64, rw, 0L, 0L, 77), EINVAL);
	CHECK_ERR(S(SYS_readahead, wo, 0L, 1L), EBADF);
	CHECK_ERR(S(SYS_pipe2, buf, 1), EINVAL);
	CHECK_ERR(S(SYS_dup3, rw, rw, 0), EINVAL);
	CHECK_ERR(S(SYS_dup3, rw, 50, 1), EINVAL);
	CHECK_ERR(S(SYS_dup2, 99, 50), EBADF);
	CHECK_ERR(S(SYS_dup2, rw, -1), EBADF);
	CHECK_ERR(S(SYS_close, 99), EBADF);
	CHECK_ERR(S(SYS_close_range, 5, 4, 0), EINVAL);
	CHECK_ERR(S(SYS_close_range, 50, 60, 0x100), EINVAL);
	CHECK_ERR(fcntl(rw, 12345), EINVAL);
	CHECK_ERR(fcntl(rw, F_DUPFD, -1), EINVAL);
	CHECK_ERR(fcntl(rw, F_GETPIPE_SZ), EBADF);
	CHECK_ERR(ioctl(rw, TCGETS, buf), ENOTTY);
	CHECK_ERR(ioctl(p[0], TIOCGWINSZ, buf), ENOTTY);
	CHECK_ERR(ioctl(dir, TCGETS, buf), ENOTTY);
	CHECK_ERR(ioctl(rw, 0x12345678, buf), ENOTTY);
	CHECK_EQ(ioctl(rw, FIOCLEX), 0);
	CHECK_EQ(fcntl(rw, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(unlink("f"), 0);
	puts("ok");
	return 0;
}
