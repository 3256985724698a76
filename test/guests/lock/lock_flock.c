// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// flock(2): shared and exclusive locks of open files, conversions, what duplicates
// share, release by the last close, waiting in a thread, and errors.
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

static int a, b;
static volatile int got;

static void *waiter(void *arg) {
	(void)arg;
	CHECK_EQ(flock(b, LOCK_EX), 0);
	got = 1;
	CHECK_EQ(flock(b, LOCK_UN), 0);
	return NULL;
}

static void nothing(int sig, siginfo_t *si, void *uc) {
	(void)sig, (void)si, (void)uc;
}

static void *interrupted(void *arg) {
	(void)arg;
	CHECK_ERR(flock(b, LOCK_EX), EINTR);
	got = 2;
	return NULL;
}

int main(void) {
	scratch();
	a = open("f", O_RDWR | O_CREAT, 0644);
	b = open("f", O_RDONLY);
	CHECK(a >= 0 && b >= 0);

	// Two open files exclude each other, in one process too.
	CHECK_EQ(flock(a, LOCK_EX), 0);
	CHECK_EQ(flock(a, LOCK_EX | LOCK_NB), 0);
	CHECK_ERR(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	CHECK_ERR(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK_EQ(flock(a, LOCK_SH), 0); // down
	CHECK_EQ(flock(b, LOCK_SH | LOCK_NB), 0);
	CHECK_ERR(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	// A conversion that fails has lost the lock that there was.
	CHECK_EQ(flock(b, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(flock(b, LOCK_UN), 0);
	CHECK_EQ(flock(b, LOCK_UN), 0);

	// Duplicates share the lock; the last close ends it.
	int d = dup(a);
	CHECK_EQ(flock(d, LOCK_EX), 0);
	CHECK_EQ(flock(a, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(close(a), 0);
	CHECK_ERR(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK_EQ(close(d), 0);
	CHECK_EQ(flock(b, LOCK_SH | LOCK_NB), 0);
	CHECK_EQ(flock(b, LOCK_UN), 0);

	// Locks of fcntl and flock do not know each other.
	a = open("f", O_RDWR);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	CHECK_EQ(fcntl(a, F_SETLK, &l), 0);
	CHECK_EQ(flock(b, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(flock(b, LOCK_UN), 0);

	// Waiting.
	pthread_t t;
	CHECK_EQ(flock(a, LOCK_EX), 0);
	CHECK_EQ(pthread_create(&t, NULL, waiter, NULL), 0);
	for (int i = 0; i < 20; i++) {
		sleep_ms(1);
		CHECK_EQ(got, 0);
	}
	CHECK_EQ(flock(a, LOCK_UN), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(got, 1);
	on(SIGUSR1, nothing, 0);
	CHECK_EQ(flock(a, LOCK_EX), 0);
	CHECK_EQ(pthread_create(&t, NULL, interrupted, NULL), 0);
	while (got != 2) {
		pthread_kill(t, SIGUSR1);
		sleep_ms(1);
	}
	CHECK_EQ(pthread_join(t, NULL), 0);

	// A folder, and errors.
	int dir = open(".", O_RDONLY | O_DIRECTORY), dir2 = open(".", O_RDONLY | O_DIRECTORY);
	CHECK_EQ(flock(dir, LOCK_EX), 0);
	CHECK_ERR(flock(dir2, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK_ERR(flock(99, LOCK_SH), EBADF);
	CHECK_ERR(flock(a, 0), EINVAL);
	CHECK_ERR(flock(a, LOCK_SH | LOCK_EX), EINVAL);
	CHECK_ERR(flock(a, LOCK_NB), EINVAL);
	int path = open("f", O_PATH);
	CHECK_ERR(flock(path, LOCK_SH), EBADF);
	CHECK_EQ(unlink("f"), 0);
	puts("ok");
	return 0;
}
