// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Locks that are held, and waited for by threads, while the program waits for its
// event: they are the same afterwards, also in a clone.
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

static int a, b;
static volatile int got[2];

static int set(int fd, int cmd, int type, long start, long len) {
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}

static void *record(void *arg) {
	CHECK_EQ(set(b, F_OFD_SETLKW, F_WRLCK, 0, 10), 0);
	got[0] = 1;
	return arg;
}

static void *whole(void *arg) {
	CHECK_EQ(flock(b, LOCK_EX), 0);
	got[1] = 1;
	return arg;
}

int main(void) {
	scratch();
	a = open("f", O_RDWR | O_CREAT, 0644);
	b = open("f", O_RDWR);
	int c = open("f", O_RDWR);
	CHECK_EQ(set(a, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
	CHECK_EQ(set(a, F_OFD_SETLK, F_RDLCK, 20, 10), 0);
	CHECK_EQ(set(a, F_SETLK, F_WRLCK, 40, 10), 0);
	CHECK_EQ(flock(a, LOCK_EX), 0);
	pthread_t t[2];
	CHECK_EQ(pthread_create(&t[0], NULL, record, NULL), 0);
	CHECK_EQ(pthread_create(&t[1], NULL, whole, NULL), 0);
	sleep_ms(5);

	char event[16];
	CHECK_EQ(read(0, event, sizeof event), 5);

	CHECK_EQ(got[0] + got[1], 0);
	CHECK_ERR(set(c, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
	CHECK_ERR(set(c, F_OFD_SETLK, F_WRLCK, 25, 1), EAGAIN);
	CHECK_EQ(set(c, F_OFD_SETLK, F_RDLCK, 25, 1), 0);
	CHECK_ERR(set(c, F_OFD_SETLK, F_RDLCK, 45, 1), EAGAIN);
	CHECK_ERR(flock(c, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK_EQ(set(a, F_OFD_SETLK, F_UNLCK, 0, 10), 0);
	CHECK_EQ(pthread_join(t[0], NULL), 0);
	CHECK_EQ(got[1], 0);
	CHECK_ERR(set(c, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
	CHECK_EQ(close(a), 0);
	CHECK_EQ(pthread_join(t[1], NULL), 0);
	CHECK_EQ(set(c, F_OFD_SETLK, F_RDLCK, 45, 1), 0);
	CHECK_EQ(unlink("f"), 0);
	printf("%.5s: %d %d\n", event, got[0], got[1]);
	return 0;
}
