// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Locks of processes (F_SETLK) as far as one process sees them: they never exclude
// each other, any close of the file ends them, and open files' locks see them.
#include "guest.h"

#include <fcntl.h>

static int set(int fd, int cmd, int type, long start, long len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}

// kind says what excludes a lock of an open file.
static const char *kind(int fd, long at) {
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
	CHECK_EQ(fcntl(fd, F_OFD_GETLK, &l), 0);
	if (l.l_type == F_UNLCK)
		return "none";
	CHECK(l.l_pid == getpid());
	return l.l_type == F_WRLCK ? "write" : "read";
}

int main(void) {
	scratch();
	int a = open("f", O_RDWR | O_CREAT, 0644), b = open("f", O_RDWR), c = open("f", O_RDWR);
	CHECK(a >= 0 && b >= 0 && c >= 0);
	CHECK_EQ(set(a, F_SETLK, F_WRLCK, 0, 10), 0);
	CHECK_EQ(set(b, F_SETLK, F_WRLCK, 0, 10), 0);
	CHECK_EQ(set(b, F_SETLKW, F_RDLCK, 5, 5), 0);
	printf("%s %s %s\n", kind(c, 0), kind(c, 7), kind(c, 20));
	CHECK_ERR(set(c, F_OFD_SETLK, F_RDLCK, 0, 0), EAGAIN);
	CHECK_EQ(set(c, F_OFD_SETLK, F_RDLCK, 5, 5), 0);
	CHECK_ERR(set(a, F_SETLK, F_WRLCK, 5, 1), EAGAIN);
	CHECK_EQ(set(c, F_OFD_SETLK, F_UNLCK, 0, 0), 0);

	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4, .l_pid = 77};
	CHECK_EQ(fcntl(a, F_GETLK, &l), 0);
	printf("own: %d %ld+%ld pid %d\n", l.l_type == F_UNLCK, (long)l.l_start, (long)l.l_len, l.l_pid);

	// A close of any descriptor of the file ends them, of another file does not.
	int other = open("g", O_RDWR | O_CREAT, 0644);
	CHECK_EQ(close(other), 0);
	printf("%s\n", kind(c, 0));
	int again = open("f", O_RDONLY);
	CHECK_EQ(close(again), 0);
	printf("%s\n", kind(c, 0));
	CHECK_EQ(set(a, F_SETLK, F_WRLCK, 0, 0), 0);
	CHECK_EQ(dup2(0, b), b);
	printf("%s\n", kind(c, 0));

	CHECK_ERR(set(a, F_GETLK, F_UNLCK, 0, 1), EINVAL);
	CHECK_ERR(set(a, F_SETLK, 9, 0, 1), EINVAL);
	CHECK_ERR(set(99, F_SETLK, F_RDLCK, 0, 1), EBADF);
	CHECK_ERR(fcntl(a, F_SETLK, (void *)8), EFAULT);
	CHECK_ERR(fcntl(a, F_SETLKW, (void *)8), EFAULT);
	CHECK_ERR(fcntl(a, F_GETLK, (void *)8), EFAULT);
	CHECK_EQ(unlink("f"), 0);
	CHECK_EQ(unlink("g"), 0);
	return 0;
}
