// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: descriptors are numbered lowest first; dup, dup2, dup3, fcntl, the
// close-on-exec and status flags, close_range, limits, and EBADF everywhere.
#include "guest.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int main(void) {
	int a = open("/dev/null", O_RDWR), b = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	CHECK(a == 3 && b == 4);
	CHECK_EQ(close(a), 0);
	CHECK_ERR(close(a), EBADF);
	CHECK_EQ(open("/dev/null", O_RDWR), 3);
	CHECK_EQ(dup(3), 5);
	CHECK_EQ(dup2(3, 9), 9);
	CHECK_EQ(dup2(9, 9), 9);
	CHECK_ERR(dup2(77, 9), EBADF);
	CHECK_ERR(dup2(77, 77), EBADF);
	CHECK_ERR(dup3(3, 3, 0), EINVAL);
	CHECK_EQ(dup3(3, 10, O_CLOEXEC), 10);
	CHECK_EQ(fcntl(10, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(3, F_GETFD), 0);
	CHECK_EQ(fcntl(4, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(3, F_DUPFD, 20), 20);
	CHECK_EQ(fcntl(3, F_DUPFD_CLOEXEC, 20), 21);
	CHECK_EQ(fcntl(21, F_SETFD, 0), 0);
	CHECK_EQ(fcntl(21, F_GETFD), 0);
	CHECK_EQ(fcntl(3, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR);
	CHECK_EQ(fcntl(3, F_SETFL, O_APPEND | O_NONBLOCK), 0);
	CHECK_EQ(fcntl(5, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR | O_APPEND | O_NONBLOCK);
	int fds[2];
	CHECK_EQ(pipe(fds), 0);
	int on_ = 1;
	CHECK_EQ(ioctl(fds[0], FIONBIO, &on_), 0);
	CHECK(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	CHECK_ERR(fcntl(3, 12345), EINVAL);
	CHECK_ERR(isatty(3) - 1, ENOTTY);

	char c;
	struct stat st;
	CHECK_ERR(read(100, &c, 1), EBADF);
	CHECK_ERR(write(-1, &c, 1), EBADF);
	CHECK_ERR(fstat(100, &st), EBADF);
	CHECK_ERR(lseek(100, 0, SEEK_SET), EBADF);
	CHECK_ERR(fcntl(100, F_GETFL), EBADF);
	CHECK_ERR(fsync(100), EBADF);
	CHECK_ERR(ftruncate(100, 0), EBADF);
	CHECK_ERR(ioctl(100, FIONREAD, &on_), EBADF);
	CHECK_ERR(dup(100), EBADF);
	CHECK_ERR(write(4, &c, 1), EBADF); // read only

	CHECK_EQ(syscall(SYS_close_range, 5, ~0u, 0), 0);
	CHECK_ERR(fcntl(9, F_GETFD), EBADF);
	CHECK_EQ(fcntl(4, F_GETFD), FD_CLOEXEC);
	struct rlimit lim = {16, 16};
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = 16;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &lim), 0);
	int n = 0;
	while (dup(3) >= 0)
		n++;
	CHECK_EQ(errno, EMFILE);
	CHECK_ERR(dup2(3, 16), EBADF);
	CHECK_ERR(pipe(fds), EMFILE);
	printf("%d more descriptors\n", n);
	return 0;
}
