// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Locks of open files (F_OFD_SETLK): ranges that split, join and change their kind,
// shown by F_OFD_GETLK; waiting in threads; release by close; errors.
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>

static int a, b;

static struct flock range(int type, int whence, long start, long len) {
	struct flock l;
	memset(&l, 0, sizeof l);
	l.l_type = type, l.l_whence = whence, l.l_start = start, l.l_len = len;
	return l;
}

static int set(int fd, int type, long start, long len) {
	struct flock l = range(type, SEEK_SET, start, len);
	return fcntl(fd, F_OFD_SETLK, &l);
}

// show prints what excludes a lock of everything from each 10 bytes on.
static void show(const char *what, int fd) {
	printf("%s:", what);
	for (long at = 0; at < 100; at += 10) {
		struct flock l = range(F_WRLCK, SEEK_SET, at, 10);
		CHECK_EQ(fcntl(fd, F_OFD_GETLK, &l), 0);
		if (l.l_type == F_UNLCK)
			printf(" -");
		else
			printf(" %c%ld+%ld%s", l.l_type == F_WRLCK ? 'w' : 'r', (long)l.l_start, (long)l.l_len, l.l_pid == -1 ? "" : "?");
	}
	printf("\n");
}

static void *waiter(void *arg) {
	struct flock l = range(F_WRLCK, SEEK_SET, 0, 0);
	CHECK_EQ(fcntl(b, F_OFD_SETLKW, &l), 0);
	*(volatile int *)arg = 1;
	return NULL;
}

int main(void) {
	scratch();
	a = open("f", O_RDWR | O_CREAT, 0644);
	b = open("f", O_RDWR);
	CHECK(a >= 0 && b >= 0);
	CHECK_EQ(ftruncate(a, 50), 0);

	CHECK_EQ(set(a, F_WRLCK, 10, 50), 0);
	show("one", b);
	show("own", a);
	CHECK_EQ(set(a, F_UNLCK, 30, 10), 0);
	show("split", b);
	CHECK_EQ(set(a, F_RDLCK, 30, 10), 0);
	show("read in the middle", b);
	CHECK_EQ(set(a, F_WRLCK, 30, 10), 0);
	show("joined", b);
	CHECK_EQ(set(a, F_RDLCK, 0, 100), 0);
	show("all read", b);
	CHECK_EQ(set(b, F_RDLCK, 50, 20), 0);
	CHECK_ERR(set(a, F_WRLCK, 60, 1), EAGAIN);
	CHECK_EQ(set(a, F_WRLCK, 70, 1), 0);
	show("mixed", b);
	show("mixed, from the other side", a);
	CHECK_EQ(set(a, F_UNLCK, 0, 0), 0);
	show("gone", b);
	CHECK_EQ(set(b, F_UNLCK, 0, 0), 0);

	// Positions.
	CHECK_EQ(lseek(a, 20, SEEK_SET), 20);
	struct flock l = range(F_WRLCK, SEEK_CUR, -5, 10);
	CHECK_EQ(fcntl(a, F_OFD_SETLK, &l), 0);
	show("current", b);
	l = range(F_WRLCK, SEEK_END, 0, -10);
	CHECK_EQ(fcntl(a, F_OFD_SETLK, &l), 0);
	show("before the end", b);
	l = range(F_UNLCK, SEEK_SET, 0, 0);
	CHECK_EQ(fcntl(a, F_OFD_SETLK, &l), 0);
	l = range(F_RDLCK, SEEK_SET, 0x7ffffffffffffffe, 1);
	CHECK_EQ(fcntl(a, F_OFD_SETLK, &l), 0);
	l = range(F_WRLCK, SEEK_SET, 1000, 0);
	CHECK_EQ(fcntl(b, F_OFD_GETLK, &l), 0);
	printf("far: %d %lld+%lld\n", l.l_type == F_RDLCK, (long long)l.l_start, (long long)l.l_len);
	CHECK_EQ(set(a, F_UNLCK, 0, 0), 0);

	// A duplicate is the same owner, a close of it nothing, the last close the end.
	int d = dup(a);
	CHECK_EQ(set(a, F_WRLCK, 0, 0), 0);
	CHECK_EQ(set(d, F_WRLCK, 5, 5), 0);
	CHECK_EQ(close(d), 0);
	CHECK_ERR(set(b, F_RDLCK, 0, 1), EAGAIN);

	// Waiting.
	pthread_t t;
	volatile int got = 0;
	CHECK_EQ(pthread_create(&t, NULL, waiter, (void *)&got), 0);
	for (int i = 0; i < 20; i++) {
		sleep_ms(1);
		CHECK_EQ(got, 0);
	}
	CHECK_EQ(close(a), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(got, 1);
	CHECK_EQ(set(b, F_UNLCK, 0, 0), 0);

	// Errors.
	a = open("f", O_RDONLY);
	int w = open("f", O_WRONLY);
	CHECK_ERR(set(a, F_WRLCK, 0, 1), EBADF);
	CHECK_ERR(set(w, F_RDLCK, 0, 1), EBADF);
	CHECK_ERR(set(b, 17, 0, 1), EINVAL);
	CHECK_ERR(set(b, F_RDLCK, -1, 1), EINVAL);
	CHECK_ERR(set(99, F_RDLCK, 0, 1), EBADF);
	l = range(F_RDLCK, 9, 0, 1);
	CHECK_ERR(fcntl(b, F_OFD_SETLK, &l), EINVAL);
	l = range(F_RDLCK, SEEK_END, 0x7fffffffffffffff, 1);
	CHECK_ERR(fcntl(b, F_OFD_SETLK, &l), EOVERFLOW);
	l = range(F_RDLCK, SEEK_SET, 0, 1);
	l.l_pid = 1;
	CHECK_ERR(fcntl(b, F_OFD_SETLK, &l), EINVAL);
	CHECK_ERR(fcntl(b, F_OFD_SETLK, (void *)8), EFAULT);
	CHECK_ERR(fcntl(b, F_OFD_SETLKW, (void *)8), EFAULT);
	CHECK_ERR(fcntl(b, F_OFD_GETLK, (void *)8), EFAULT);
	CHECK_EQ(unlink("f"), 0);
	return 0;
}
